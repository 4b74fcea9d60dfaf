/*
 * What becomes of the caller's bytes while a call goes over several windows shows nobody another's: all frames are full of
 * a secret, and each window is waited for. A window has what it had or what was written, and what was read is the
 * buffer's own.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../src/index.ts";
import { content, expectSame } from "./support/bytes.ts";
import { Gate, settles, until } from "./support/delays.ts";
import { blockDevice, expectAllFree } from "./support/devices.ts";
import { MapSwap } from "./support/map_swap.ts";

const SECRET = 0x5e;
const OLD = 1;
const NEW = 2;
const FRAMES = 32;
/** Of a buffer that is larger than the memory. */
const WINDOW = 8 * PAGE_SIZE;
const SIZE = 5 * WINDOW;

/** Of a library of types that is newer than the one we compile with. */
type Resizable = ArrayBuffer & { resize(length: number): void };
type ResizableConstructor = new (length: number, options: { maxByteLength: number }) => Resizable;

/** Bytes of the caller's that can be taken away. */
function callersBytes(fill: number): { buffer: Resizable; bytes: Uint8Array<ArrayBuffer> } {
  const Buffer = ArrayBuffer as unknown as ResizableConstructor;
  const buffer = new Buffer(SIZE, { maxByteLength: 2 * SIZE });
  return { buffer, bytes: new Uint8Array(buffer).fill(fill) };
}

interface Scene {
  readonly device: Device;
  readonly gate: Gate;
  readonly bo: BufferObject;
  readonly secret: BufferObject;
}

/** A buffer full of old bytes, in swap, and frames full of a secret. */
async function sceneOf(): Promise<Scene> {
  const gate = new Gate();
  gate.open();
  const device = blockDevice(FRAMES, new MapSwap({ slots: 256, delay: gate.pass }));
  const bo = device.createBuffer(SIZE);
  expect(bo.windows.length).toBe(SIZE / WINDOW);
  await bo.write(0, new Uint8Array(SIZE).fill(OLD));
  await device.shrink();
  const secret = device.createBuffer(FRAMES * PAGE_SIZE);
  await secret.write(0, new Uint8Array(secret.size).fill(SECRET));
  gate.close();
  return { device, gate, bo, secret };
}

async function end({ device, bo, secret }: Scene): Promise<void> {
  device.check();
  for (const each of [bo, secret]) if (!each.destroyed) each.destroy();
  expectAllFree(device);
  await device.close();
}

const MEANWHILE: readonly [string, (buffer: Resizable) => void][] = [
  ["detached", (buffer) => void structuredClone(buffer, { transfer: [buffer] })],
  ["made shorter by a byte", (buffer) => buffer.resize(SIZE - 1)],
  ["made as short as a page", (buffer) => buffer.resize(PAGE_SIZE)],
  [
    "made shorter, and longer again",
    (buffer) => {
      buffer.resize(0);
      buffer.resize(SIZE);
    },
  ],
  ["made longer", (buffer) => buffer.resize(2 * SIZE)],
];

/** How often the device is let through before the bytes are taken away. */
const STEPS = [0, 1, 2, 3, 5, 8];
const TABLE = MEANWHILE.flatMap(([what, happens]) =>
  STEPS.map((step) => ({ what, happens, step })),
);

describe.each(TABLE)("bytes that are $what after $step calls", ({ happens, step }) => {
  /** Lets some calls of the device through, then has it happen, then all of them. */
  const meanwhile = async ({ gate }: Scene, running: Promise<unknown>, buffer: Resizable) => {
    let over = false;
    const settled = running.then(
      () => {
        over = true;
      },
      (error: unknown) => {
        over = true;
        expect(error).toBeInstanceOf(TypeError);
      },
    );
    for (let i = 0; i < step; i++) {
      await until(() => over || gate.waiting > 0);
      gate.open();
      gate.close();
    }
    happens(buffer);
    gate.open();
    await settles(settled);
  };

  test("while they are written", async () => {
    const scene = await sceneOf();
    const { bo } = scene;
    const { buffer, bytes } = callersBytes(NEW);
    await meanwhile(scene, bo.write(100, bytes.subarray(0, SIZE - 100)), buffer);
    const seen = await content(bo);
    expect(seen.every((byte) => byte === OLD || byte === NEW || byte === 0)).toBe(true);
    for (let at = 0; at < SIZE; at += WINDOW) {
      // Zeros are what a source holds that has become longer again.
      const kinds = new Set(seen.subarray(Math.max(at, 100), at + WINDOW));
      expect(kinds.size).toBe(1);
    }
    await end(scene);
  });

  test("while they are read into", async () => {
    const scene = await sceneOf();
    const { bo } = scene;
    const { buffer, bytes } = callersBytes(7);
    await meanwhile(scene, bo.read(0, bytes), buffer);
    const seen = new Uint8Array(buffer.byteLength === 0 ? new ArrayBuffer(0) : buffer);
    expect(seen.every((byte) => byte === OLD || byte === 7 || byte === 0)).toBe(true);
    expectSame(await content(bo), new Uint8Array(SIZE).fill(OLD), "content");
    await end(scene);
  });
});
