/*
 * What happens while an operation waits shows nobody another's bytes: a table of waits times what happens
 * meanwhile. All frames are full of a secret first, so whatever is not cleared shows it.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../src/index.ts";
import { content, expectSame, pattern } from "./support/bytes.ts";
import { Gate, settles, turn, until } from "./support/delays.ts";
import { blockDevice, expectAllFree } from "./support/devices.ts";
import { MapSwap } from "./support/map_swap.ts";

const SECRET = 0x5e;
const OLD = 1;
const NEW = 2;
const FRAMES = 16;
const PAGES = 8;
const SIZE = PAGES * PAGE_SIZE;

interface Scene {
  readonly device: Device;
  readonly gate: Gate;
  /** Full of secrets, in swap; and the buffer that is looked at. */
  readonly secret: BufferObject;
  readonly bo: BufferObject;
  /** What is under way beside it. */
  other: Promise<unknown>;
}

/** @param written whether the buffer has content, in swap; else it was never written */
async function sceneOf(written: boolean): Promise<Scene> {
  const gate = new Gate();
  gate.open();
  const device = blockDevice(FRAMES, new MapSwap({ slots: 128, delay: gate.pass }));
  const secret = device.createBuffer(FRAMES * PAGE_SIZE);
  const bo = device.createBuffer(SIZE);
  if (written) {
    await bo.write(0, new Uint8Array(SIZE).fill(OLD));
    await bo.shrink();
  }
  await secret.write(0, new Uint8Array(secret.size).fill(SECRET));
  gate.close();
  return { device, gate, secret, bo, other: Promise.resolve() };
}

/** Where an operation on the buffer waits, when it is started behind this. */
const WAITS: readonly [string, (scene: Scene) => Promise<void>][] = [
  [
    "for its turn",
    async (scene) => {
      scene.other = scene.bo.populate().catch(() => {});
      await until(() => scene.gate.waiting > 0);
    },
  ],
  [
    "to be let in",
    async (scene) => {
      scene.gate.open();
      await scene.secret.shrink();
      scene.gate.close();
      scene.other = scene.secret.read(0, new Uint8Array(1));
      await until(() => scene.gate.waiting > 0);
    },
  ],
  ["for others to leave", async () => {}],
  [
    "for its pages",
    async (scene) => {
      scene.gate.open();
      await scene.secret.shrink();
      scene.gate.close();
    },
  ],
];

/** Of a library of types that is newer than the one we compile with. */
type Resizable = ArrayBuffer & { resize(length: number): void };
type ResizableConstructor = new (length: number, options: { maxByteLength: number }) => Resizable;

/** A source of bytes that can be taken away. */
class Source {
  readonly buffer: Resizable = new (ArrayBuffer as unknown as ResizableConstructor)(SIZE, {
    maxByteLength: 2 * SIZE,
  });
  readonly bytes: Uint8Array = new Uint8Array(this.buffer).fill(NEW);

  detach(): void {
    structuredClone(this.buffer, { transfer: [this.buffer] });
  }

  resize(length: number): void {
    this.buffer.resize(length);
  }
}

type Meanwhile = (scene: Scene, source: Source, controller: AbortController) => void;

const MEANWHILE: readonly [string, Meanwhile][] = [
  ["nothing", () => {}],
  ["the source is detached", (_, source) => source.detach()],
  ["the source is made shorter", (_, source) => source.resize(PAGE_SIZE)],
  ["the source is made longer", (_, source) => source.resize(2 * SIZE)],
  ["the buffer is not needed", ({ bo }) => void bo.advise("dontneed")],
  [
    "the buffer is not needed, and the source detached",
    ({ bo }, source) => {
      bo.advise("dontneed");
      source.detach();
    },
  ],
  [
    "the buffer is not needed, needed again, and the source made shorter",
    ({ bo }, source) => {
      bo.advise("dontneed");
      bo.advise("willneed");
      source.resize(1);
    },
  ],
  ["the operation is aborted", (_s, _source, controller) => controller.abort()],
  [
    "the operation is aborted, and the buffer not needed",
    ({ bo }, _source, controller) => {
      controller.abort();
      bo.advise("dontneed");
    },
  ],
];

/** Bytes that are neither the buffer's own nor zero. */
function foreign(bytes: Uint8Array): number {
  return bytes.filter((byte) => byte !== 0 && byte !== OLD && byte !== NEW).length;
}

/** New buffers in all of memory show nothing. */
async function expectClean(device: Device): Promise<void> {
  const bo = device.createBuffer(FRAMES * PAGE_SIZE);
  await bo.write(5, new Uint8Array([NEW]));
  expect(foreign(await content(bo))).toBe(0);
  bo.destroy();
}

async function end({ device, secret, bo }: Scene): Promise<void> {
  device.check();
  secret.destroy();
  await expectClean(device);
  if (!bo.destroyed) bo.destroy();
  expectAllFree(device);
  await device.close();
}

type Start = (bo: BufferObject, source: Source, signal: AbortSignal) => Promise<unknown>;
const WRITES: readonly [string, Start][] = [
  ["write of all", (bo, { bytes }, signal) => bo.write(0, bytes, { signal })],
  [
    "write of a part",
    (bo, { buffer }, signal) =>
      bo.write(PAGE_SIZE / 2, new Uint8Array(buffer, 0, 5 * PAGE_SIZE), { signal }),
  ],
];

const TABLE = WRITES.flatMap(([write, start]) =>
  [true, false].flatMap((written) =>
    // Without content there are no pages to wait for; nor are there, if all of them are overwritten.
    WAITS.filter(([wait]) => (written && write !== "write of all") || wait !== "for its pages").map(
      ([wait, begin]) => ({
        ...{ write, start, written, wait, begin },
      }),
    ),
  ),
);

describe.each(TABLE)(
  "a $write, of content: $written, waits $wait;",
  ({ start, written, begin }) => {
    test.each(MEANWHILE)("meanwhile %s", async (_, happens) => {
      const scene = await sceneOf(written);
      await begin(scene);
      const source = new Source();
      const controller = new AbortController();
      const writing = start(scene.bo, source, controller.signal).catch(() => {});
      await turn();
      happens(scene, source, controller);
      scene.gate.open();
      await settles(Promise.all([writing, scene.other]));
      await until(() => scene.device.tasks.inFlight() === 0);
      const seen = await content(scene.bo);
      expect(foreign(seen)).toBe(0);
      // A page is one thing or another, never a mixture that was not asked for.
      for (let page = 0; page < PAGES; page++) {
        const bytes = seen.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE);
        const kinds = new Set(bytes);
        expect(kinds.size).toBeLessThanOrEqual(2);
      }
      await end(scene);
    });

    test("meanwhile the buffer is destroyed", async () => {
      const scene = await sceneOf(written);
      await begin(scene);
      const source = new Source();
      const writing = start(scene.bo, source, new AbortController().signal);
      writing.catch(() => {});
      await turn();
      scene.bo.destroy();
      scene.gate.open();
      await expect(settles(writing)).rejects.toThrow(/this buffer is destroyed/);
      await settles(scene.other.catch(() => {}));
      await until(() => scene.device.tasks.inFlight() === 0);
      await end(scene);
    });
  },
);

describe.each(WAITS)("a read that waits %s,", (_, begin) => {
  test.each([
    ["detached", (target: Source) => target.detach()],
    ["made shorter", (target: Source) => target.resize(10)],
  ] as const)("whose target is %s meanwhile, is a TypeError", async (_, happens) => {
    const scene = await sceneOf(true);
    await begin(scene);
    const target = new Source();
    const reading = scene.bo.read(0, target.bytes);
    reading.catch(() => {});
    await turn();
    happens(target);
    scene.gate.open();
    await expect(settles(reading)).rejects.toThrow(/target was detached or resized/);
    await settles(scene.other);
    expect(foreign(await content(scene.bo))).toBe(0);
    await end(scene);
  });

  test("of a buffer that is purged meanwhile, shows zeros, or what it was", async () => {
    const scene = await sceneOf(true);
    await begin(scene);
    const reading = content(scene.bo);
    await turn();
    scene.bo.advise("dontneed");
    scene.gate.open();
    const seen = await settles(reading);
    await settles(scene.other);
    expect(new Set(seen).size).toBe(1);
    expect([0, OLD]).toContain(seen[0]);
    await end(scene);
  });
});

test("a map that waits while its buffer is purged shows zeros, and takes what is written to it", async () => {
  const scene = await sceneOf(true);
  scene.gate.open();
  await scene.secret.shrink();
  scene.gate.close();
  const other = scene.secret.read(0, new Uint8Array(1));
  await until(() => scene.gate.waiting > 0);
  const mapping = scene.bo.map();
  await turn();
  expect(scene.bo.advise("dontneed")).toBe(false);
  scene.gate.open();
  await other;
  const { segments } = await mapping;
  let at = 0;
  for (const segment of segments) {
    expect(foreign(segment)).toBe(0);
    segment.set(pattern(3, SIZE).subarray(at, at + segment.length));
    at += segment.length;
  }
  (await mapping).unmap();
  expectSame(await content(scene.bo), pattern(3, SIZE), "content");
  await end(scene);
});
