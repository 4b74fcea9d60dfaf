import { Buffer } from "node:buffer";
import { Readable } from "node:stream";
import { afterEach, beforeEach, describe, expect, test, vi } from "vitest";
import {
  type ByteSource,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
} from "../../src/index.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { expectRest } from "../support/crowd.ts";
import { Gate, settles, turn, until } from "../support/delays.ts";
import { defaultDevice, expectAllFree } from "../support/devices.ts";
import { fails, systemError } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { CountingSignal } from "../support/signals.ts";
import { bytesOf, Given, HeardSignal, partsOf, rejection } from "../support/streams.ts";

const SIZE = 300_000;
const BYTES = pattern(1, SIZE);

let device: Device;

beforeEach(() => {
  device = createDeviceSync({ memory: "1 MiB", swap: ramSwap({ size: "16 MiB" }) });
});

afterEach(async () => {
  if (device.closed) return;
  await until(() => device.global.tasks.size === 0);
  device.check();
  expectRest(device);
  await device.close({ force: true });
});

/** All that a failed call may leave: nothing. */
function expectNothingLeft(): void {
  expect(device.stats().buffers).toBe(0);
  expectAllFree(device);
}

async function* later(
  chunks: Iterable<Uint8Array<ArrayBuffer>>,
): AsyncGenerator<Uint8Array<ArrayBuffer>> {
  for (const chunk of chunks) {
    await turn();
    yield chunk;
  }
}

/** A body as other implementations make it, with a stream that is no ReadableStream of the host's. */
function foreignResponse(headers: Record<string, string>): ByteSource {
  const parts = partsOf(BYTES, 7777);
  const reader = {
    read: async () => {
      const { done = false, value } = parts.next();
      return done ? { done } : { done, value: value as Uint8Array };
    },
    cancel: async () => {},
    releaseLock: () => {},
  };
  return {
    body: { getReader: () => reader },
    bodyUsed: false,
    headers: { get: (name: string) => headers[name] ?? null },
    arrayBuffer: async () => BYTES.buffer,
  };
}

const SOURCES: Record<string, () => ByteSource> = {
  "a Uint8Array": () => BYTES,
  "a part of one": () => new Uint8Array([0, ...BYTES, 0]).subarray(1, SIZE + 1),
  "an ArrayBuffer": () => BYTES.buffer,
  "a DataView": () => new DataView(BYTES.buffer),
  "a Float32Array": () => new Float32Array(BYTES.buffer),
  "a Node Buffer": () => Buffer.from(BYTES),
  "a Blob": () => new Blob([BYTES.subarray(0, 1000), BYTES.subarray(1000)]),
  "a File": () => new File([BYTES], "name"),
  "a Response": () => new Response(BYTES),
  "a Response of a stream": () => new Response(new Given(partsOf(BYTES, 5000)).stream),
  "a Response that says too many": () =>
    new Response(new Given(partsOf(BYTES, 5000)).stream, {
      headers: { "content-length": "400000" },
    }),
  "a Response that says too few": () =>
    new Response(new Given(partsOf(BYTES, 5000)).stream, {
      headers: { "content-length": "12345" },
    }),
  "a Response that says what cannot be": () =>
    new Response(new Given(partsOf(BYTES, 5000)).stream, { headers: { "content-length": "many" } }),
  "a Request": () => new Request("http://localhost/", { method: "POST", body: BYTES }),
  "a response of another implementation": () => foreignResponse({ "content-length": "300000" }),
  "the same, compressed": () =>
    foreignResponse({ "content-encoding": "br", "content-length": "2000000000" }),
  "a ReadableStream": () => new Given(partsOf(BYTES, 4096)).stream,
  "a ReadableStream of one chunk": () => new Given([BYTES]).stream,
  "a ReadableStream of many kinds of chunks": () =>
    new Given([
      new Uint8Array(),
      BYTES.buffer.slice(0, 8000),
      new Float64Array(BYTES.buffer.slice(8000, 16_000)),
      new DataView(BYTES.buffer, 16_000),
    ]).stream as never,
  "an async generator": () => later(partsOf(BYTES, 50_000)),
  "a generator": () => partsOf(BYTES, 999),
  "an array": () => [...partsOf(BYTES, 100_000)],
  "a Readable of Node": () => Readable.from(partsOf(BYTES, 30_000)),
};

describe.each(Object.entries(SOURCES))("from %s", (_, source) => {
  test.each<[string, object]>([
    ["", {}],
    [", of as many bytes as was said", { size: SIZE }],
    [", of fewer than was said", { size: "512 KiB" }],
  ])("it is a buffer of its bytes%s", async (_, options) => {
    const buffer = await device.bufferFrom(source(), { ...options, priority: 2 });
    expect([buffer.size, buffer.priority]).toEqual([SIZE, 2]);
    expectSame(await content(buffer), BYTES, "the buffer");
    expect(device.stats().buffers).toBe(1);
    buffer.destroy();
    expectAllFree(device);
  });

  test("more bytes than was said are a RangeError, and nothing is left", async () => {
    const error = await rejection(device.bufferFrom(source(), { size: SIZE - 1 }));
    expect(error).toEqual(new RangeError("source has more bytes than size, which is 299999"));
    expectNothingLeft();
  });
});

describe("how it is filled", () => {
  const streamed = () =>
    new Response(new Given(partsOf(BYTES, 5000)).stream, {
      headers: { "content-length": "300000" },
    });

  test.each<[string, () => ByteSource, object]>([
    ["bytes", () => BYTES, {}],
    ["a blob", () => new Blob([BYTES]), {}],
    [
      "a stream of which the size was said",
      () => new Given(partsOf(BYTES, 9)).stream,
      { size: SIZE },
    ],
    ["a response that says it", streamed, {}],
  ])("%s: straight into the one buffer", async (_, source, options) => {
    const create = vi.spyOn(device, "createBuffer");
    await device.bufferFrom(source(), options);
    expect(create.mock.calls.map(([size]) => size)).toEqual([SIZE]);
  });

  test("a stream of who knows how much: in pieces, each given up when it was moved", async () => {
    await device.close();
    device = createDeviceSync({ memory: "8 MiB", swap: ramSwap({ size: "16 MiB" }) });
    const create = vi.spyOn(device, "createBuffer");
    const bytes = pattern(2, 5 * 2 ** 20);
    const buffer = await device.bufferFrom(new Given(partsOf(bytes, 70_001)).stream);
    const piece = 2 ** 21;
    expect(create.mock.calls.map(([size]) => size)).toEqual([piece, piece, piece, bytes.length]);
    expectSame(await content(buffer), bytes, "the buffer");
    expect(device.stats().buffers).toBe(1);
  });

  test("a piece is no larger than the memory", async () => {
    await device.close();
    device = createDeviceSync({ memory: "64 KiB", swap: ramSwap({ size: "1 MiB" }) });
    const bytes = pattern(3, 60_000);
    const buffer = await device.bufferFrom(partsOf(bytes, 777));
    expectSame(await content(buffer), bytes, "the buffer");
  });

  test("a chunk is asked for when the one before is in", async () => {
    const gate = new Gate();
    gate.open();
    device = defaultDevice(64, new MapSwap({ slots: 1024, delay: gate.pass }));
    await device.createBuffer(64 * PAGE_SIZE).write(0, pattern(9, 64 * PAGE_SIZE));
    gate.close();
    const given = new Given(partsOf(pattern(1, 32 * PAGE_SIZE), 8 * PAGE_SIZE));
    const running = device.bufferFrom(given.stream);
    await until(() => gate.waiting > 0);
    expect(given.pulls).toBe(1);
    gate.open();
    expectSame(await content(await running), pattern(1, 32 * PAGE_SIZE), "the buffer");
  });

  test("64 MiB go through 4 MiB of memory, in buffers and out of them again", async () => {
    device = createDeviceSync({ memory: "4 MiB", swap: ramSwap({ size: "72 MiB" }) });
    const size = 2 ** 21;
    const sources = Array.from({ length: 32 }, (_, i) => pattern(100 + i, size));
    const buffers = await Promise.all(
      sources.map((bytes, i) => {
        const source = i % 2 === 0 ? later(partsOf(bytes, 100_000)) : new Blob([bytes]);
        return device.bufferFrom(source);
      }),
    );
    for (const [i, buffer] of buffers.entries()) {
      expectSame(await bytesOf(buffer.readable()), sources[i] as Uint8Array, `buffer ${i}`);
      buffer.destroy();
    }
    expectAllFree(device);
  });
});

describe("a source of no bytes", () => {
  test.each<[string, () => ByteSource]>([
    ["bytes", () => new Uint8Array()],
    ["a blob", () => new Blob([])],
    ["a response without a body", () => new Response(null)],
    ["a response to HEAD", () => new Response(null, { headers: { "content-length": "5" } })],
    ["a stream", () => new Given([]).stream],
    ["a stream of empty chunks", () => new Given([new Uint8Array(), new Uint8Array()]).stream],
    ["an array", () => []],
  ])("is a RangeError: %s", async (_, source) => {
    const error = await rejection(device.bufferFrom(source()));
    expect(error).toEqual(new RangeError("source has no bytes; a buffer has one or more"));
    expectNothingLeft();
    expect(await rejection(device.bufferFrom(source(), { size: 100 }))).toEqual(error);
    expectNothingLeft();
  });
});

/** A source that notes what becomes of it. */
class Noted {
  returned = 0;
  next = 0;
  readonly #chunks: readonly unknown[];
  readonly #end: () => Promise<IteratorResult<unknown>>;

  constructor(chunks: readonly unknown[], end: () => Promise<IteratorResult<unknown>>) {
    this.#chunks = chunks;
    this.#end = end;
  }

  [Symbol.asyncIterator](): AsyncIterator<never> {
    return {
      next: async () => {
        const value = this.#chunks[this.next++];
        return (value === undefined ? this.#end() : { done: false, value }) as never;
      },
      return: async () => {
        this.returned++;
        return { done: true, value: undefined };
      },
    };
  }
}

const ends = async () => ({ done: true, value: undefined });
const hangs = () => new Promise<never>(() => {});

describe("when it fails, nothing is left", () => {
  test("with what a stream fails with", async () => {
    const cause = new Error("the source's");
    const given = new Given(partsOf(BYTES, 9000), cause);
    expect(await rejection(device.bufferFrom(given.stream))).toBe(cause);
    expectNothingLeft();
  });

  test("with what an iterator throws, which is not told to return", async () => {
    const cause = new Error("the source's");
    const source = new Noted([BYTES], () => Promise.reject(cause));
    expect(await rejection(device.bufferFrom(source))).toBe(cause);
    expect(source.returned).toBe(0);
    expectNothingLeft();
  });

  test.each<[unknown, string]>([
    ["text", 'source must give chunks of bytes, not "text"; text is bytes by new TextEncoder()'],
    [5, "source must give chunks of bytes, not 5"],
    [null, "source must give chunks of bytes, not null"],
    [[1, 2], "source must give chunks of bytes, not an array"],
  ])("with a TypeError for a chunk %o, and the source is stopped", async (chunk, text) => {
    const given = new Given([BYTES, chunk]);
    const error = await rejection(device.bufferFrom(given.stream));
    expect(error).toBeInstanceOf(TypeError);
    expect(String(error)).toContain(text);
    expect(given.cancelled).toBe(error);
    const source = new Noted([BYTES, chunk], ends);
    await expect(device.bufferFrom(source)).rejects.toThrow(text);
    expect(source.returned).toBe(1);
    expectNothingLeft();
  });

  test("with a RangeError for too many, and the source is stopped, and free for others", async () => {
    const given = new Given(partsOf(BYTES, 1000));
    const error = await rejection(device.bufferFrom(given.stream, { size: 5000 }));
    expect(error).toBeInstanceOf(RangeError);
    expect([given.cancelled, given.pulls, given.stream.locked]).toEqual([error, 6, false]);
    const source = new Noted([...partsOf(BYTES, 1000)], ends);
    await expect(device.bufferFrom(source, { size: 5000 })).rejects.toThrow(RangeError);
    expect([source.returned, source.next]).toEqual([1, 6]);
    expectNothingLeft();
  });

  test("that a source fails when it is stopped is not what is told", async () => {
    const stream = new ReadableStream<Uint8Array>({
      pull: (controller) => controller.enqueue(BYTES),
      cancel: () => Promise.reject(new Error("another")),
    });
    await expect(device.bufferFrom(stream, { size: 10 })).rejects.toThrow(RangeError);
    expectNothingLeft();
  });

  test("with ENOMEM for what does not fit the memory, before anything was read", async () => {
    const given = new Given([BYTES]);
    const error = await fails("ENOMEM", device.bufferFrom(given.stream, { size: "1 TiB" }));
    expect([given.cancelled, given.pulls]).toEqual([error, 0]);
    expectNothingLeft();
  });

  test("with ENOSPC, when memory and swap are full", async () => {
    await device.close();
    device = createDeviceSync({ memory: "256 KiB", swap: ramSwap({ size: "64 KiB" }) });
    const given = new Given(partsOf(pattern(1, 2 ** 20), 10_000));
    const error = await fails("ENOSPC", device.bufferFrom(given.stream));
    expect(given.cancelled).toBe(error);
    expectNothingLeft();
  });

  test("with EIO, when a piece cannot be moved", async () => {
    const swap = new MapSwap({ slots: 1024 });
    device = defaultDevice(32, swap);
    const cause = systemError("EIO");
    const chunks = partsOf(pattern(1, 30 * PAGE_SIZE), PAGE_SIZE);
    async function* source() {
      yield* chunks;
      await device.shrink();
      swap.before = ({ out }) => {
        if (!out) throw cause;
      };
    }
    expect((await fails("EIO", device.bufferFrom(source()))).cause).toBe(cause);
    swap.before = undefined;
    expectNothingLeft();
  });

  test("when its device is closed in the middle, with what the device says", async () => {
    const source = new Noted([BYTES], async () => {
      await device.close({ force: true });
      return { done: false, value: BYTES };
    });
    await expect(device.bufferFrom(source)).rejects.toThrow("this device is closed");
    expect(source.returned).toBe(1);
  });
});

describe("aborted", () => {
  test("before, it takes nothing from the source, and stops it", async () => {
    const given = new Given([BYTES]);
    const reason = new Error("why");
    const signal = AbortSignal.abort(reason);
    const error = await fails("EINTR", device.bufferFrom(given.stream, { signal }));
    expect(error.cause).toBe(reason);
    expect([given.cancelled, given.pulls]).toEqual([error, 0]);
    await fails("EINTR", device.bufferFrom(BYTES, { signal }));
    expectNothingLeft();
  });

  test("it does not wait for a stream that gives nothing", async () => {
    let cancelled: unknown;
    const stream = new ReadableStream<Uint8Array>({
      start: (controller) => controller.enqueue(BYTES),
      cancel: (reason) => {
        cancelled = reason;
        return hangs();
      },
    });
    const signal = new HeardSignal();
    const running = device.bufferFrom(stream, { signal });
    await until(() => signal.listeners.size === 1);
    signal.abort();
    const error = await settles(fails("EINTR", running));
    expect([error.cause, cancelled, signal.listeners.size]).toEqual([signal.reason, error, 0]);
    expectNothingLeft();
  });

  test("it does not wait for an iterator that gives nothing", async () => {
    const source = new Noted([BYTES], hangs);
    const controller = new AbortController();
    const running = device.bufferFrom(source, { signal: controller.signal });
    await turn();
    controller.abort("why");
    expect((await settles(fails("EINTR", running))).cause).toBe("why");
    expectNothingLeft();
  });

  test("it stops a write that is under way", async () => {
    const gate = new Gate();
    gate.open();
    device = defaultDevice(64, new MapSwap({ slots: 1024, delay: gate.pass }));
    const other = device.createBuffer(64 * PAGE_SIZE);
    await other.write(0, pattern(9, 64 * PAGE_SIZE));
    gate.close();
    const controller = new AbortController();
    const given = new Given(partsOf(BYTES, 100_000));
    const running = fails("EINTR", device.bufferFrom(given.stream, { signal: controller.signal }));
    await until(() => gate.waiting > 0);
    controller.abort("why");
    expect(given.cancelled).toBeUndefined();
    const error = await settles(running);
    expect([error.cause, given.cancelled]).toEqual(["why", error]);
    gate.open();
    await until(() => device.global.tasks.size === 0);
    expect(device.stats().buffers).toBe(1);
    expectSame(await content(other), pattern(9, 64 * PAGE_SIZE), "the other buffer");
  });

  test.each(Array.from({ length: 40 }, (_, i) => i + 1))(
    "at look %i of a signal that can only be looked at",
    async (look) => {
      const signal = new CountingSignal(look);
      const given = new Given(partsOf(BYTES, 50_000));
      const error = await device.bufferFrom(given.stream, { signal }).catch((reason) => reason);
      if (error.code !== "EINTR") {
        // It was looked at less often than that.
        expectSame(await content(error), BYTES, "the buffer");
        error.destroy();
      }
      expectNothingLeft();
    },
  );

  test("one that has succeeded lets go of the signal", async () => {
    const signal = new HeardSignal();
    await device.bufferFrom(new Given([BYTES]).stream, { signal });
    expect(signal.listeners.size).toBe(0);
  });
});

describe("misuse leaves the source alone", () => {
  test.each<[unknown, unknown, string]>([
    ["text", {}, 'a Blob, or an iterable of bytes, not "text"; text is bytes by new TextEncoder()'],
    [5, {}, "an iterable of bytes, not 5"],
    [undefined, {}, "an iterable of bytes, not undefined"],
    [null, {}, "an iterable of bytes, not null"],
    [{ length: 5 }, {}, "an iterable of bytes, not an object"],
    [BYTES, { sizes: 5 }, 'bufferFrom has no option "sizes"; did you mean size?'],
    [BYTES, { size: 0 }, "size must be a whole number of bytes above 0, not 0"],
    [BYTES, { size: "1 foot" }, "use a number and a unit of"],
    [BYTES, { signal: 7 }, "signal must be an AbortSignal, not 7"],
    [BYTES, { priority: 4 }, "priority must be 0 to 3, not 4"],
  ])("%o with %o", async (source, options, text) => {
    await expect(device.bufferFrom(source as never, options as never)).rejects.toThrow(text);
    expectNothingLeft();
  });

  test("a wrong option", async () => {
    const given = new Given([BYTES]);
    await expect(device.bufferFrom(given.stream, { size: -1 })).rejects.toThrow(RangeError);
    expect([given.stream.locked, given.cancelled]).toEqual([false, undefined]);
  });

  test("a stream that somebody else reads", async () => {
    const given = new Given([BYTES]);
    const reader = given.stream.getReader();
    await expect(device.bufferFrom(given.stream)).rejects.toThrow(TypeError);
    expect(given.cancelled).toBeUndefined();
    expect((await reader.read()).value).toBe(BYTES);
    expectNothingLeft();
  });

  test("a body that was used", async () => {
    const response = new Response(BYTES);
    await response.arrayBuffer();
    const running = device.bufferFrom(response);
    await expect(running).rejects.toThrow(new TypeError("source: its body was used already"));
    expectNothingLeft();
  });
});
