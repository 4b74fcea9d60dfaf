import { afterEach, describe, expect, test, vi } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
} from "../../src/index.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { expectRest } from "../support/crowd.ts";
import { Gate, settles, until } from "../support/delays.ts";
import { defaultDevice } from "../support/devices.ts";
import { fails } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { CountingSignal } from "../support/signals.ts";
import { Given, HeardSignal, partsOf, rejection } from "../support/streams.ts";

let device: Device;

function ram(memory = "1 MiB", size = "8 MiB"): Device {
  device = createDeviceSync({ memory, swap: ramSwap({ size }) });
  return device;
}

/** A device whose memory is full of another buffer, on a swap that takes its time from now on. */
async function slow(): Promise<Gate> {
  const gate = new Gate();
  gate.open();
  device = defaultDevice(64, new MapSwap({ slots: 1024, delay: gate.pass }));
  await device.createBuffer(64 * PAGE_SIZE).write(0, pattern(99, 64 * PAGE_SIZE));
  gate.close();
  return gate;
}

afterEach(async () => {
  if (device.closed) return;
  await until(() => device.global.tasks.size === 0);
  device.check();
  expectRest(device);
  await device.close({ force: true });
});

describe("what is written", () => {
  test("is all that write takes, one after the other, from an offset on", async () => {
    const buffer = ram().createBuffer(9000);
    const bytes = pattern(1, 100).buffer;
    const shared = new SharedArrayBuffer(5);
    new Uint8Array(shared).set([1, 2, 3, 4, 5]);
    const writer = buffer.writable(4090).getWriter();
    await writer.write(new Uint8Array(bytes, 3, 20));
    await writer.write(bytes);
    await writer.write(new DataView(bytes, 7, 11));
    await writer.write(new Float64Array([1.5, -2]));
    await writer.write(new Uint8Array());
    await writer.write(shared);
    await writer.close();
    const model = new Uint8Array(9000);
    const of = (offset: number, length: number) => new Uint8Array(bytes, offset, length);
    model.set(of(3, 20), 4090);
    model.set(of(0, 100), 4110);
    model.set(of(7, 11), 4210);
    model.set(new Uint8Array(new Float64Array([1.5, -2]).buffer), 4221);
    model.set([1, 2, 3, 4, 5], 4237);
    expectSame(contentSync(buffer), model, "the buffer");
  });

  test("is in when write has settled", async () => {
    const buffer = ram().createBuffer("300 KiB");
    const writer = buffer.writable().getWriter();
    for (let i = 0; i < 3; i++) {
      const bytes = pattern(i, 100_000);
      await writer.write(bytes);
      expectSame(buffer.readSync(i * 100_000, new Uint8Array(100_000)), bytes, `chunk ${i}`);
    }
    await writer.close();
  });

  test("comes from another device, through little memory", async () => {
    const size = 900_000;
    using other = createDeviceSync({ memory: "1 MiB", swap: ramSwap({ size: "8 MiB" }) });
    ram("1 MiB");
    const sources = Array.from({ length: 4 }, () => other.createBuffer(size));
    const targets = Array.from({ length: 4 }, () => device.createBuffer(size));
    for (const [i, source] of sources.entries()) await source.write(0, pattern(i, size));
    await Promise.all(
      sources.map((each, i) => each.readable().pipeTo((targets[i] as BufferObject).writable())),
    );
    for (const [i, target] of targets.entries()) {
      expectSame(await content(target), pattern(i, size), `buffer ${i}`);
    }
  });

  test("may be the same buffer's own bytes, further on", async () => {
    const buffer = ram().createBuffer("600 KiB");
    await buffer.write(0, pattern(1, 300 * 1024));
    await buffer.readable({ length: 300 * 1024 }).pipeTo(buffer.writable(300 * 1024));
    const half = buffer.readSync(300 * 1024, new Uint8Array(300 * 1024));
    expectSame(half, pattern(1, 300 * 1024), "the second half");
  });
});

describe("backpressure", () => {
  test("while bytes are not in memory, the stream wants none, and the next ones wait", async () => {
    const gate = await slow();
    const buffer = device.createBuffer(32 * PAGE_SIZE);
    const write = vi.spyOn(buffer, "write");
    const writer = buffer.writable().getWriter();
    await writer.ready;
    expect(writer.desiredSize).toBe(1);
    const first = writer.write(pattern(1, 16 * PAGE_SIZE));
    const second = writer.write(pattern(2, 16 * PAGE_SIZE));
    await until(() => gate.waiting > 0);
    expect([writer.desiredSize, write.mock.calls.length]).toEqual([-1, 1]);
    gate.open();
    await first;
    await second;
    await writer.ready;
    expect([writer.desiredSize, write.mock.calls.length]).toEqual([1, 2]);
    await writer.close();
  });

  test("a source is asked for no more than what is being written, and one more", async () => {
    const gate = await slow();
    const buffer = device.createBuffer(32 * PAGE_SIZE);
    const given = new Given(partsOf(pattern(1, buffer.size), PAGE_SIZE));
    const piped = given.stream.pipeTo(buffer.writable());
    await until(() => gate.waiting > 0);
    expect(given.pulls).toBeLessThanOrEqual(2);
    gate.open();
    await piped;
    expectSame(await content(buffer), pattern(1, buffer.size), "the buffer");
  });
});

describe("it fails", () => {
  test("with a RangeError for the first chunk that does not fit, of which nothing is written", async () => {
    const buffer = ram().createBuffer(100);
    const signal = new HeardSignal();
    const writer = buffer.writable(10, { signal }).getWriter();
    writer.closed.catch(() => {});
    await writer.write(new Uint8Array(80).fill(1));
    const error = await rejection(writer.write(new Uint8Array(11).fill(2)));
    expect(error).toBeInstanceOf(RangeError);
    expect(String(error)).toContain("offset 90: the 11 bytes of source do not lie within the 100");
    expect(await rejection(writer.closed)).toBe(error);
    expect(signal.listeners.size).toBe(0);
    const model = new Uint8Array(100).fill(1, 10, 90);
    expectSame(contentSync(buffer), model, "the buffer");
  });

  test("and cancels what is piped to it", async () => {
    const buffer = ram().createBuffer(2 * PAGE_SIZE);
    const given = new Given(partsOf(pattern(1, 3 * PAGE_SIZE), PAGE_SIZE));
    const error = await rejection(given.stream.pipeTo(buffer.writable()));
    expect(error).toBeInstanceOf(RangeError);
    expect(given.cancelled).toBe(error);
  });

  test.each<[unknown, string]>([
    [
      "text",
      "source must be an ArrayBuffer, a SharedArrayBuffer, a typed array or a DataView; text",
    ],
    [5, "source must be an ArrayBuffer, a SharedArrayBuffer, a typed array or a DataView"],
    [undefined, "source must be an ArrayBuffer, a SharedArrayBuffer, a typed array or a DataView"],
  ])("with a TypeError for %o", async (chunk, text) => {
    const writer = ram().createBuffer(100).writable().getWriter();
    writer.closed.catch(() => {});
    await expect(writer.write(chunk as never)).rejects.toThrow(text);
  });

  test("with what the source of a pipe fails with, and what was written stays", async () => {
    const buffer = ram().createBuffer(2 * PAGE_SIZE);
    const cause = new Error("the source's");
    const given = new Given([pattern(1, 100)], cause);
    const signal = new HeardSignal();
    expect(await rejection(given.stream.pipeTo(buffer.writable(0, { signal })))).toBe(cause);
    expectSame(buffer.readSync(0, new Uint8Array(100)), pattern(1, 100), "what was written");
    expect(signal.listeners.size).toBe(0);
  });

  test("with ENOSPC, when swap is full", async () => {
    ram("64 KiB", "64 KiB");
    const buffers = Array.from({ length: 3 }, () => device.createBuffer("64 KiB"));
    let error: unknown;
    for (const buffer of buffers) {
      const given = new Given(partsOf(pattern(1, buffer.size), PAGE_SIZE));
      error ??= await given.stream.pipeTo(buffer.writable()).catch((reason) => reason);
    }
    expect(error).toMatchObject({ code: "ENOSPC" });
  });

  test("with what the buffer says, when it was destroyed or its device closed", async () => {
    const buffer = ram().createBuffer(100);
    const writer = buffer.writable().getWriter();
    const other = device.createBuffer(100).writable().getWriter();
    for (const each of [writer, other]) each.closed.catch(() => {});
    await writer.write(new Uint8Array(1));
    buffer.destroy();
    await expect(writer.write(new Uint8Array(1))).rejects.toThrow("this buffer is destroyed");
    await device.close({ force: true });
    await expect(other.write(new Uint8Array(1))).rejects.toThrow("this device is closed");
  });
});

describe("aborted", () => {
  test("it stops the write that is under way", async () => {
    const gate = await slow();
    const buffer = device.createBuffer(32 * PAGE_SIZE);
    const writer = buffer.writable().getWriter();
    const closed = rejection(writer.closed);
    const write = rejection(writer.write(pattern(1, 16 * PAGE_SIZE)));
    await until(() => gate.waiting > 0);
    const reason = new Error("why");
    await settles(writer.abort(reason));
    expect(await write).toMatchObject({ code: "EINTR", cause: reason });
    expect(await closed).toBe(reason);
    expect(await rejection(writer.write(new Uint8Array(1)))).toBe(reason);
    gate.open();
  });

  test("by its signal, before it was made, it has failed from the start", async () => {
    const signal = AbortSignal.abort("why");
    const buffer = ram().createBuffer(100);
    const writer = buffer.writable(0, { signal }).getWriter();
    expect((await settles(fails("EINTR", writer.closed))).cause).toBe("why");
    await fails("EINTR", writer.write(new Uint8Array(1).fill(1)));
    expect(contentSync(buffer)[0]).toBe(0);
  });

  test("by its signal, while nobody writes, it fails at once with EINTR", async () => {
    const signal = new HeardSignal();
    const writer = ram().createBuffer(100).writable(0, { signal }).getWriter();
    const closed = fails("EINTR", writer.closed);
    await writer.write(new Uint8Array(1));
    signal.abort();
    expect((await closed).cause).toBe(signal.reason);
    expect(signal.listeners.size).toBe(0);
  });

  test("by its signal, it stops the write that is under way, with EINTR", async () => {
    const gate = await slow();
    const controller = new AbortController();
    const { signal } = controller;
    const writer = device
      .createBuffer(32 * PAGE_SIZE)
      .writable(0, { signal })
      .getWriter();
    const closed = fails("EINTR", writer.closed);
    const write = fails("EINTR", writer.write(pattern(1, 16 * PAGE_SIZE)));
    await until(() => gate.waiting > 0);
    controller.abort("why");
    expect((await settles(write)).cause).toBe("why");
    expect((await settles(closed)).cause).toBe("why");
    gate.open();
  });

  test.each(Array.from({ length: 12 }, (_, i) => i + 1))(
    "at look %i of a signal that can only be looked at, it fails with EINTR",
    async (look) => {
      const signal = new CountingSignal(look);
      const writer = ram().createBuffer(100).writable(0, { signal }).getWriter();
      const closed = fails("EINTR", writer.closed);
      const writes = async () => {
        for (let i = 0; i < 20; i++) await writer.write(new Uint8Array(1));
      };
      await settles(fails("EINTR", writes()));
      await closed;
    },
  );
});

test("a stream that was closed lets go of the signal", async () => {
  const signal = new HeardSignal();
  const writer = ram().createBuffer(100).writable(0, { signal }).getWriter();
  expect(signal.listeners.size).toBe(1);
  await writer.close();
  expect(signal.listeners.size).toBe(0);
});

test.each<[unknown, unknown, string]>([
  [-1, undefined, "offset must be a whole number from 0 to 100, not -1"],
  [101, undefined, "offset must be a whole number from 0 to 100, not 101"],
  [{}, undefined, "offset must be a whole number from 0 to 100, not an object"],
  [0, { signals: 1 }, 'writable has no option "signals"; did you mean signal?'],
  [0, { signal: 1 }, "signal must be an AbortSignal, not 1"],
])("%o and %o are refused", (offset, options, text) => {
  const buffer = ram().createBuffer(100);
  expect(() => buffer.writable(offset as never, options as never)).toThrow(text);
});
