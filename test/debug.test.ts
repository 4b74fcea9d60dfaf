import { spawnSync } from "node:child_process";
import process from "node:process";
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDevice,
  createDeviceSync,
  type Device,
  type MapMisuse,
  type Mapping,
  PAGE_SIZE,
  ramSwap,
} from "../src/index.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { settles, turn, until } from "./support/delays.ts";
import { expectAllFree, scatterFrames } from "./support/devices.ts";
import { Random, seeded } from "./support/random.ts";

const POISON = 0xdb;

/** A device whose misuses are noted. */
function watched(): { device: Device; misuses: MapMisuse[] } {
  const misuses: MapMisuse[] = [];
  const debug = { report: (misuse: MapMisuse) => misuses.push(misuse) };
  const swap = ramSwap({ size: "1 MiB" });
  return { device: createDeviceSync({ memory: "256 KiB", swap, debug }), misuses };
}

function viewOf(mapping: Mapping): Uint8Array {
  return mapping.bytes as Uint8Array;
}

/** A view that is kept after its mapping was ended. */
function staleView(bo: BufferObject): Uint8Array {
  const mapping = bo.mapSync();
  const view = viewOf(mapping);
  view.fill(7);
  mapping.unmap();
  return view;
}

describe("a view that is used after unmap()", () => {
  test("reads as poison, and shows nothing of the buffer or of others", () => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(10 * PAGE_SIZE + 5);
    const view = staleView(bo);
    expect(new Set(view)).toEqual(new Set([POISON]));
    bo.destroy();
    const other = device.createBuffer("256 KiB");
    other.writeSync(0, new Uint8Array(other.size).fill(9));
    expect(new Set(view)).toEqual(new Set([POISON]));
    expect(misuses).toEqual([]); // to read is not noticed, but harmless
    device.closeSync({ force: true });
  });

  test("and written to is reported with buffer and byte, and where it was unmapped and mapped", () => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(10 * PAGE_SIZE);
    const view = staleView(bo);
    view[PAGE_SIZE + 3] = 1;
    device.check();
    expect(misuses.length).toBe(1);
    const [misuse] = misuses as [MapMisuse];
    expect(misuse.code).toBe("EFAULT");
    expect(misuse.message).toBe(
      `EFAULT: a view of buffer ${bo.id} was written to after it was unmapped (at byte ${PAGE_SIZE + 3} of the buffer)`,
    );
    const unmapped = misuse.cause as Error;
    expect(unmapped.stack).toContain("staleView");
    expect((unmapped.cause as Error).message).toBe("it was mapped here");
    expect((unmapped.cause as Error).stack).toContain("staleView");
    expectSame(contentSync(bo), new Uint8Array(bo.size).fill(7), "content");
    device.check();
    expect(misuses.length).toBe(1); // once
    device.closeSync({ force: true });
  });

  test.each<[string, (device: Device, bo: BufferObject) => unknown]>([
    ["the next map", (_, bo) => bo.mapSync()],
    ["the next unmap", (device) => device.createBuffer(1).mapSync().unmap()],
    ["close", (device) => device.closeSync({ force: true })],
    ["close, async", (device) => device.close({ force: true })],
    ["nothing: it is looked for in a moment", () => {}],
  ])("is noticed by %s", async (_, next) => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(100);
    staleView(bo)[5] = 1;
    await next(device, bo);
    await until(() => misuses.length > 0);
    expect(misuses[0]?.message).toContain("at byte 5 of the buffer");
  });

  test("of a device that was closed by force is poison, too, and may be unmapped", async () => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(100);
    const mapping = bo.mapSync();
    const view = viewOf(mapping);
    view.fill(7);
    await device.close({ force: true });
    expect(new Set(view)).toEqual(new Set([POISON]));
    mapping.unmap();
    view[0] = 1;
    await until(() => misuses.length > 0);
    expect(misuses[0]?.cause).toMatchObject({ message: "its buffer was gone here" });
  });

  test("throws when 8 MiB were unmapped since", () => {
    const { device } = watched();
    const view = staleView(device.createBuffer(100));
    const large = device.createBuffer("128 KiB");
    for (let i = 0; i < 70; i++) large.mapSync().unmap();
    expect(view.length).toBe(0);
    expect(() => view.fill(1)).toThrow(TypeError);
    device.closeSync({ force: true });
  });
});

const IN_NODE = !("Deno" in globalThis || "Bun" in globalThis);

test.skipIf(!IN_NODE)("by default a misuse is an error that nobody caught (needs Node)", () => {
  const dist = new URL("../dist/", import.meta.url);
  const code = `
    import { createDeviceSync } from "${dist}index.js";
    const device = createDeviceSync({ memory: "256 KiB", debug: true });
    const mapping = device.createBuffer(10).mapSync();
    const view = mapping.bytes;
    mapping.unmap();
    view[0] = 1;
    device.closeSync({ force: true });
    console.log("closed");
  `;
  const args = ["--input-type=module", "-e", code];
  const { status, stdout, stderr } = spawnSync(process.execPath, args, { encoding: "utf8" });
  expect(stdout).toBe("closed\n");
  expect(stderr).toContain("EFAULT: a view of buffer 1 was written to after it was unmapped");
  expect(stderr).toContain("it was mapped here");
  expect(status).toBe(1);
});

describe("also reported:", () => {
  test("a write to a mapping that is only to be read; it does not get through", () => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(5 * PAGE_SIZE);
    bo.writeSync(0, pattern(1, bo.size));
    const mapping = bo.mapSync({ write: false, offset: PAGE_SIZE, length: 100 });
    viewOf(mapping)[50] = (pattern(1, bo.size)[PAGE_SIZE + 50] as number) ^ 1;
    mapping.unmap();
    expect(misuses.map(({ message }) => message)).toEqual([
      `EFAULT: a view of buffer ${bo.id} was written to, and is of map({ write: false }) (at byte ${PAGE_SIZE + 50} of the buffer)`,
    ]);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    device.closeSync({ force: true });
  });

  test("that write, too, when the options are others by the time that it is mapped", async () => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(4 * PAGE_SIZE);
    bo.writeSync(0, pattern(1, bo.size));
    const options = { write: false, offset: PAGE_SIZE, length: PAGE_SIZE };
    const mapped = bo.map(options);
    Object.assign(options, { write: true, offset: 0 });
    const mapping = await mapped;
    viewOf(mapping)[5] = 1 + (viewOf(mapping)[5] as number);
    mapping.unmap();
    expect(misuses.map(({ message }) => message)).toEqual([
      expect.stringContaining(`(at byte ${PAGE_SIZE + 5} of the buffer)`),
    ]);
    expectSame(contentSync(bo), pattern(1, bo.size), "content");
    await device.close({ force: true });
  });

  test("a write beyond the end of a view, and before it", () => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(100);
    for (const beside of [-1, 100]) {
      const mapping = bo.mapSync();
      const { buffer, byteOffset } = viewOf(mapping);
      expect(byteOffset).toBeGreaterThan(0); // as of a view on pages
      new DataView(buffer).setUint8(byteOffset + beside, 1);
      mapping.unmap();
    }
    expect(misuses.length).toBe(2);
    for (const { message } of misuses) expect(message).toContain("beyond its ends");
    device.closeSync({ force: true });
  });

  test("a view that was transferred", () => {
    const { device, misuses } = watched();
    const mapping = device.createBuffer(100).mapSync();
    const { buffer } = viewOf(mapping);
    // Other code may have it by now, and use it as it likes.
    structuredClone(buffer, { transfer: [buffer as ArrayBuffer] });
    mapping.unmap();
    expect(misuses[0]?.message).toContain("was transferred");
    expect(misuses.length).toBe(1);
    device.closeSync({ force: true });
  });
});

describe("good programs run as they do without it", () => {
  test("what is written to a view is there when it is unmapped, and for whoever reads meanwhile", async () => {
    const { device, misuses } = watched();
    const bo = device.createBuffer(20 * PAGE_SIZE + 7);
    const [one, two] = [bo.mapSync(), await bo.map({ offset: 5, length: PAGE_SIZE })];
    viewOf(one)[10] = 1;
    expect(await bo.read(10, new Uint8Array(1))).toEqual(Uint8Array.of(1));
    expect(viewOf(two)[5]).toBe(1);
    viewOf(two)[6] = 2;
    bo.writeSync(12, Uint8Array.of(3));
    expect([...viewOf(one).subarray(10, 13)]).toEqual([1, 2, 3]);
    expect([...viewOf(two).subarray(5, 8)]).toEqual([1, 2, 3]);
    bo.discardSync({ offset: 11, length: 1 });
    expect([...viewOf(one).subarray(10, 13)]).toEqual([1, 0, 3]);
    viewOf(two)[6] = 9;
    one.unmap();
    one.unmap();
    two[Symbol.dispose]();
    expect([...contentSync(bo).subarray(10, 13)]).toEqual([1, 9, 3]);
    device.shrinkSync();
    expect([...contentSync(bo).subarray(10, 13)]).toEqual([1, 9, 3]);
    expect(misuses).toEqual([]);
    bo.destroy();
    expectAllFree(device);
    device.closeSync();
  });

  test("scattered pages are views of their own, here as there", () => {
    const { device } = watched();
    scatterFrames(device);
    const bo = device.createBuffer(4 * PAGE_SIZE);
    const mapping = bo.mapSync();
    expect(mapping.segments.length).toBe(4);
    expect(mapping.bytes).toBeUndefined();
    for (const [i, segment] of mapping.segments.entries()) segment.fill(i + 1);
    mapping.unmap();
    const bytes = contentSync(bo);
    for (let i = 0; i < 4; i++) expect(bytes[i * PAGE_SIZE]).toBe(i + 1);
    device.closeSync({ force: true });
  });

  test("streams, siblings, and errors of calls", async () => {
    const { device, misuses } = watched();
    const bytes = pattern(1, 100_000);
    const bo = await device.bufferFrom(bytes);
    const view = viewOf(bo.mapSync());
    view[0] = (view[0] as number) ^ 1;
    const read = new Uint8Array(await new Response(bo.readable() as never).arrayBuffer());
    expectSame(read.subarray(1), bytes.subarray(1), "the stream");
    expect(read[0]).toBe((bytes[0] as number) ^ 1);
    const sibling = device.createSibling();
    const other = sibling.createBuffer(10);
    staleView(other)[0] = 1;
    device.check();
    expect(misuses.length).toBe(1);
    expect(() => bo.readSync(0, new Uint8Array(100_001))).toThrow(RangeError);
    await expect(bo.write(-1, new Uint8Array(1))).rejects.toThrow(RangeError);
    sibling.closeSync({ force: true });
    await device.close({ force: true });
    expect(device.closed).toBe(true);
  });

  test("random programs give the same bytes with and without it", () =>
    seeded((random) => {
      for (let round = 0; round < 10; round++) {
        const { device, misuses } = watched();
        using plain = createDeviceSync({ memory: "256 KiB", swap: ramSwap({ size: "1 MiB" }) });
        const size = (1 + random.below(30)) * PAGE_SIZE - random.below(100);
        const seed = random.next();
        const [a, b] = [device, plain].map((each) => run(new Random(seed), each, size));
        expectSame(a as Uint8Array, b as Uint8Array, `round ${round}`);
        expect(misuses).toEqual([]);
        device.closeSync({ force: true });
      }
    }));
});

/** Maps, writes and reads a buffer at random, its mappings open or not, under pressure; returns all that it saw. */
function run(random: Random, device: Device, size: number): Uint8Array {
  const bo = device.createBuffer(size);
  const other = device.createBuffer("200 KiB");
  const seen: number[] = [];
  const open: Mapping[] = [];
  for (let step = 0; step < 200; step++) {
    const offset = random.below(size);
    const length = 1 + random.below(Math.min(size - offset, 5000));
    const value = random.below(256);
    const mapping = open[random.below(open.length + 1)];
    const kind = random.below(7);
    if (kind === 0 && open.length < 3) open.push(bo.mapSync({ offset, length }));
    else if (kind === 1 && mapping) open.splice(open.indexOf(mapping), 1)[0]?.unmap();
    else if (kind === 2 && mapping) {
      const segment = mapping.segments[0] as Uint8Array;
      segment[random.below(segment.length)] = value;
      bo.readSync(0, new Uint8Array(1)); // views of other mappings show it now
    } else if (kind === 3) bo.writeSync(offset, new Uint8Array(length).fill(value));
    else if (kind === 4) bo.discardSync({ offset, length });
    else if (kind === 5) seen.push(...bo.readSync(offset, new Uint8Array(length)));
    else if (open.length === 0) other.writeSync(0, new Uint8Array(other.size).fill(value));
    if (mapping && open.includes(mapping)) seen.push(...(mapping.segments[0] as Uint8Array));
  }
  for (const mapping of open) mapping.unmap();
  return Uint8Array.from([...seen, ...contentSync(bo)]);
}

describe("options", () => {
  test("that cannot be meant are refused by name", () => {
    const create = (debug: unknown) => () => createDeviceSync({ memory: "1 MiB", debug } as never);
    expect(create(1)).toThrow("debug must be a boolean, or an object with report, not 1");
    expect(create(null)).toThrow(TypeError);
    expect(create({ reports: 1 })).toThrow(/no option "reports"; did you mean/);
    expect(create({ report: 1 })).toThrow("report must be a function, not 1");
  });

  test("createDevice takes it, too", async () => {
    const device = await createDevice({ memory: "256 KiB", debug: true });
    const bo = device.createBuffer(10);
    const view = staleView(bo);
    expect(view[0]).toBe(POISON);
    await turn();
    await settles(device.close({ force: true }));
  });
});
