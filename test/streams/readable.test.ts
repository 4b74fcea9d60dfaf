import { afterEach, describe, expect, test, vi } from "vitest";
import { type BufferObject, createDeviceSync, type Device, ramSwap } from "../../src/index.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { expectRest } from "../support/crowd.ts";
import { Gate, settles, turn, until } from "../support/delays.ts";
import { defaultDevice } from "../support/devices.ts";
import { fails, systemError } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { CountingSignal } from "../support/signals.ts";
import { bytesOf, chunksOf, HeardSignal, joined, rejection } from "../support/streams.ts";

const CHUNK = 256 * 1024;
const SIZE = 3 * CHUNK + 12_345;

let device: Device;

/** A buffer that is in swap. */
async function swapped(seed: number, size = SIZE, swap?: MapSwap): Promise<BufferObject> {
  device = swap
    ? defaultDevice(512, swap)
    : createDeviceSync({ memory: "2 MiB", swap: ramSwap({ size: "8 MiB" }) });
  const buffer = device.createBuffer(size);
  await buffer.write(0, pattern(seed, size));
  await device.shrink();
  return buffer;
}

afterEach(async () => {
  if (device.closed) return;
  await until(() => device.global.tasks.size === 0);
  device.check();
  expectRest(device);
  await device.close({ force: true });
});

describe("the bytes", () => {
  test("are all there, in chunks of 256 KiB", async () => {
    const buffer = await swapped(1);
    const chunks = await chunksOf(buffer.readable());
    expect(chunks.map(({ length }) => length)).toEqual([CHUNK, CHUNK, CHUNK, 12_345]);
    expectSame(joined(chunks), pattern(1, SIZE), "the stream");
  });

  test.each([
    [0, 1],
    [4095, 2],
    [CHUNK - 1, CHUNK + 2],
    [SIZE - 1, 1],
    [SIZE, 0],
    [5, 0],
    [0, SIZE],
  ])("are those from %i on, %i of them", async (offset, length) => {
    const buffer = await swapped(2);
    const expected = pattern(2, SIZE).subarray(offset, offset + length);
    expectSame(await bytesOf(buffer.readable({ offset, length })), expected, "the stream");
    const rest = await bytesOf(buffer.readable({ offset }));
    expectSame(rest, pattern(2, SIZE).subarray(offset), "all of the rest");
  });

  test("can be iterated", async () => {
    const buffer = await swapped(3);
    const chunks: Uint8Array[] = [];
    for await (const chunk of buffer.readable()) chunks.push(chunk);
    expectSame(joined(chunks), pattern(3, SIZE), "the stream");
  });

  test("are what they are when they are read", async () => {
    const buffer = await swapped(4);
    const reader = buffer.readable().getReader();
    const first = (await reader.read()).value as Uint8Array;
    expectSame(first, pattern(4, SIZE).subarray(0, CHUNK), "before");
    await buffer.write(0, pattern(5, SIZE));
    const second = (await reader.read()).value as Uint8Array;
    expectSame(second, pattern(5, SIZE).subarray(CHUNK, 2 * CHUNK), "after");
    await reader.cancel();
  });

  test("are a stream each for many who read at once", async () => {
    const buffer = await swapped(6);
    const all = await Promise.all(Array.from({ length: 5 }, () => bytesOf(buffer.readable())));
    for (const each of all) expectSame(each, pattern(6, SIZE), "one of them");
  });

  test("go through tee to both", async () => {
    const buffer = await swapped(7);
    const [a, b] = buffer.readable().tee();
    const [bytes, same] = await Promise.all([bytesOf(a), bytesOf(b)]);
    expectSame(bytes, pattern(7, SIZE), "one");
    expectSame(same, pattern(7, SIZE), "the other");
  });

  test("go through gzip and back, into another buffer", async () => {
    const buffer = await swapped(8);
    const other = device.createBuffer(SIZE);
    await buffer
      .readable()
      .pipeThrough(new CompressionStream("gzip"))
      .pipeThrough(new DecompressionStream("gzip"))
      .pipeTo(other.writable());
    expectSame(await content(other), pattern(8, SIZE), "the other buffer");
  });

  test("are the body of a Response", async () => {
    const buffer = await swapped(9);
    const bytes = await new Response(buffer.readable()).arrayBuffer();
    expectSame(new Uint8Array(bytes), pattern(9, SIZE), "the body");
  });
});

describe("a reader with memory of its own", () => {
  test("gets the bytes in that memory", async () => {
    const buffer = await swapped(1);
    const reader = buffer.readable({ offset: 3 }).getReader({ mode: "byob" });
    let memory = new ArrayBuffer(100_000);
    const all = new Uint8Array(SIZE - 3);
    let at = 0;
    for (;;) {
      const { done, value } = await reader.read(new Uint8Array(memory, 10, 99_000));
      if (done) break;
      expect([value.byteOffset, value.buffer.byteLength]).toEqual([10, 100_000]);
      expect(value.length).toBe(Math.min(99_000, all.length - at));
      all.set(value, at);
      at += value.length;
      memory = value.buffer as ArrayBuffer;
    }
    expect(at).toBe(all.length);
    expectSame(all, pattern(1, SIZE).subarray(3), "what was read");
  });

  test("has one read for it, straight into that memory", async () => {
    const buffer = await swapped(2);
    const read = vi.spyOn(buffer, "read");
    const reader = buffer.readable().getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(9000));
    expect([read.mock.calls.length, value?.length]).toEqual([1, 9000]);
    // What the read filled was handed on to the reader, not copied.
    expect(read.mock.calls[0]?.[1].byteLength).toBe(0);
    await reader.cancel();
  });

  test("gets 1 MiB at most, however much memory it has", async () => {
    const buffer = await swapped(3, 1_500_000);
    const reader = buffer.readable().getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint8Array(4_000_000));
    expect(value?.length).toBe(2 ** 20);
    expectSame(value as Uint8Array, pattern(3, 1_500_000).subarray(0, 2 ** 20), "what was read");
    await reader.cancel();
  });

  test("gets whole elements", async () => {
    const buffer = await swapped(4, 4096);
    const reader = buffer.readable().getReader({ mode: "byob" });
    const { value } = await reader.read(new Uint32Array(10));
    expect(value).toEqual(new Uint32Array(pattern(4, 4096).buffer, 0, 10));
    await reader.cancel();
  });
});

describe("backpressure", () => {
  test("nothing is read before somebody asks, and then once for each time", async () => {
    const buffer = await swapped(1);
    const read = vi.spyOn(buffer, "read");
    const reader = buffer.readable().getReader();
    await turn();
    expect([read.mock.calls.length, buffer.residentPages]).toEqual([0, 0]);
    for (let asked = 1; asked <= 3; asked++) {
      await reader.read();
      await until(() => read.mock.calls.length >= asked);
      await turn();
      expect(read.mock.calls.length).toBe(asked);
    }
    await reader.cancel();
  });

  test("a writer that takes nothing has nothing read for it but what it holds", async () => {
    const buffer = await swapped(2);
    const read = vi.spyOn(buffer, "read");
    const gate = new Gate();
    const sink = new WritableStream<Uint8Array>({ write: () => gate.pass() });
    const piped = buffer.readable().pipeTo(sink);
    // One is being written.
    await until(() => gate.waiting === 1);
    expect(read.mock.calls.length).toBeLessThanOrEqual(2);
    gate.open();
    await piped;
    expect(read.mock.calls.length).toBe(4);
  });
});

describe("cancelled", () => {
  test("it reads no more", async () => {
    const buffer = await swapped(1);
    const read = vi.spyOn(buffer, "read");
    const reader = buffer.readable().getReader();
    await reader.read();
    await reader.cancel("enough");
    expect(await reader.read()).toEqual({ done: true, value: undefined });
    await until(() => read.mock.calls.length > 0);
    await turn();
    expect(read.mock.calls.length).toBe(1);
  });

  test("a read that is under way is stopped", async () => {
    const gate = new Gate();
    gate.open();
    const swap = new MapSwap({ slots: 1024, delay: gate.pass });
    const buffer = await swapped(2, SIZE, swap);
    gate.close();
    const reads = vi.spyOn(buffer, "read");
    const reader = buffer.readable().getReader();
    const read = reader.read();
    await until(() => gate.waiting > 0);
    let over = false;
    reads.mock.results[0]?.value.catch(() => {
      over = true;
    });
    await settles(reader.cancel("enough"));
    expect(over).toBe(true);
    expect(await read).toEqual({ done: true, value: undefined });
    gate.open();
    expectSame(await content(buffer), pattern(2, SIZE), "the buffer");
  });

  test("a signal whose own code fails is no reason to lose bytes, nor the end of it", async () => {
    const buffer = await swapped(4);
    const refuse = (): never => {
      throw new Error("the signal's");
    };
    class Odd extends HeardSignal {
      override removeEventListener(): void {
        refuse();
      }
    }
    expect((await bytesOf(buffer.readable({ signal: new Odd() }))).length).toBe(SIZE);
    const mute = Object.defineProperty(new HeardSignal(), "reason", { get: refuse });
    const reader = buffer.readable({ signal: mute }).getReader();
    mute.abort();
    expect(await rejection(reader.read())).toMatchObject({
      code: "EINTR",
      cause: { message: "the signal's" },
    });
  });

  test("it lets go of the signal", async () => {
    const buffer = await swapped(3);
    const signal = new HeardSignal();
    const stream = buffer.readable({ signal });
    expect(signal.listeners.size).toBe(1);
    await stream.cancel();
    expect(signal.listeners.size).toBe(0);
  });
});

describe("it fails", () => {
  test("with what the buffer says, when it is destroyed in the middle", async () => {
    const buffer = await swapped(1);
    const reader = buffer.readable().getReader();
    await reader.read();
    buffer.destroy();
    await expect(reader.read()).rejects.toThrow(new TypeError("this buffer is destroyed"));
    await expect(reader.closed).rejects.toThrow("this buffer is destroyed");
  });

  test("with what the buffer says, when its device is closed in the middle of a read", async () => {
    const gate = new Gate();
    gate.open();
    const buffer = await swapped(2, SIZE, new MapSwap({ slots: 1024, delay: gate.pass }));
    gate.close();
    const reader = buffer.readable().getReader();
    const read = rejection(reader.read());
    await turn();
    const closed = device.close({ force: true });
    expect(await settles(read)).toMatchObject({ code: "EINTR" });
    await expect(reader.read()).rejects.toMatchObject({ code: "EINTR" });
    gate.open();
    await closed;
  });

  test("with what the swap device fails with", async () => {
    const swap = new MapSwap({ slots: 1024 });
    const buffer = await swapped(3, SIZE, swap);
    const signal = new HeardSignal();
    const reader = buffer.readable({ signal }).getReader();
    await reader.read();
    const cause = systemError("EIO");
    swap.before = () => {
      throw cause;
    };
    const error = await fails(
      "EIO",
      reader.read().then(() => reader.read()),
    );
    expect(error.cause).toBe(cause);
    expect(signal.listeners.size).toBe(0);
    swap.before = undefined;
    expectSame(await bytesOf(buffer.readable()), pattern(3, SIZE), "another stream");
  });

  test("with EINTR, when the signal was aborted before", async () => {
    const buffer = await swapped(4);
    const reason = new Error("why");
    const stream = buffer.readable({ signal: AbortSignal.abort(reason) });
    const reader = stream.getReader();
    const error = await settles(fails("EINTR", reader.closed));
    expect(error.cause).toBe(reason);
    expect(await rejection(reader.read())).toBe(error);
  });

  test("with EINTR at once, when the signal is aborted while nobody reads", async () => {
    const buffer = await swapped(5);
    const signal = new HeardSignal();
    const reader = buffer.readable({ signal }).getReader();
    await reader.read();
    signal.abort();
    const error = await fails("EINTR", reader.closed);
    expect(error.cause).toBe(signal.reason);
    expect(signal.listeners.size).toBe(0);
  });

  test("with EINTR, when the signal is aborted in the middle of a read", async () => {
    const gate = new Gate();
    gate.open();
    const buffer = await swapped(6, SIZE, new MapSwap({ slots: 1024, delay: gate.pass }));
    gate.close();
    const controller = new AbortController();
    const read = rejection(bytesOf(buffer.readable({ signal: controller.signal })));
    await until(() => gate.waiting > 0);
    controller.abort("why");
    expect(await settles(read)).toMatchObject({ code: "EINTR", cause: "why" });
    gate.open();
  });

  test.each(Array.from({ length: 20 }, (_, i) => i + 1))(
    "with EINTR, or is read to its end, at look %i of a signal that can only be looked at",
    async (look) => {
      const buffer = await swapped(7);
      const signal = new CountingSignal(look);
      const outcome = await settles(bytesOf(buffer.readable({ signal })).catch((error) => error));
      if (outcome instanceof Uint8Array) expectSame(outcome, pattern(7, SIZE), "the stream");
      else expect(outcome).toMatchObject({ code: "EINTR", cause: signal.reason });
      // Each of four reads looks twice, at least.
      if (look <= 8) expect(outcome).toBeInstanceOf(Error);
    },
  );
});

test("a stream that was read to its end lets go of the signal", async () => {
  const buffer = await swapped(1);
  const signal = new HeardSignal();
  await bytesOf(buffer.readable({ signal }));
  expect(signal.listeners.size).toBe(0);
  await bytesOf(buffer.readable({ signal, length: 0 }));
  expect(signal.listeners.size).toBe(0);
});

test.each<[unknown, string]>([
  [{ ofset: 1 }, 'readable has no option "ofset"; did you mean offset?'],
  [5, "readable takes an object of options, not 5"],
  [{ offset: -1 }, `offset must be a whole number from 0 to ${SIZE}, not -1`],
  [{ offset: "1" }, `offset must be a whole number from 0 to ${SIZE}, not "1"`],
  [{ offset: 9, length: SIZE }, `length must be a whole number from 0 to ${SIZE - 9}`],
  [{ signal: 1 }, "signal must be an AbortSignal, not 1"],
])("%o is refused", async (options, text) => {
  const buffer = await swapped(1);
  expect(() => buffer.readable(options as never)).toThrow(text);
});
