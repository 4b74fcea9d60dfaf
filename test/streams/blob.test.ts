import { afterEach, expect, test, vi } from "vitest";
import { createDeviceSync, type Device, PAGE_SIZE, ramSwap } from "../../src/index.ts";
import { expectSame, pattern } from "../support/bytes.ts";
import { Gate, settles, until } from "../support/delays.ts";
import { defaultDevice } from "../support/devices.ts";
import { fails, systemError } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import { bytesOf } from "../support/streams.ts";

const SIZE = 2 ** 20 + 70_000;

let device: Device;

function ram(): Device {
  device = createDeviceSync({ memory: "2 MiB", swap: ramSwap({ size: "8 MiB" }) });
  return device;
}

afterEach(async () => {
  await until(() => device.global.tasks.size === 0);
  device.check();
  await device.close({ force: true });
});

test("it has the bytes, which were read 1 MiB at a time", async () => {
  const buffer = ram().createBuffer(SIZE);
  await buffer.write(0, pattern(1, SIZE));
  await device.shrink();
  const read = vi.spyOn(buffer, "read");
  const made = await buffer.blob();
  expect(read.mock.calls.map(([offset]) => offset)).toEqual([0, 2 ** 20]);
  expect([made.size, made.type]).toEqual([SIZE, ""]);
  expectSame(new Uint8Array(await made.arrayBuffer()), pattern(1, SIZE), "the blob");
  expectSame(await bytesOf(made.stream()), pattern(1, SIZE), "its stream");
  const part = new Uint8Array(await made.slice(2 ** 20 - 10, 2 ** 20 + 10).arrayBuffer());
  expectSame(part, pattern(1, SIZE).subarray(2 ** 20 - 10, 2 ** 20 + 10), "a slice of it");
});

test.each([
  [0, 1],
  [4095, 4098],
  [SIZE - 1, 1],
  [SIZE, 0],
  [7, 0],
])("it has those from %i on, %i of them", async (offset, length) => {
  const buffer = ram().createBuffer(SIZE);
  await buffer.write(0, pattern(2, SIZE));
  const made = await buffer.blob({ offset, length, type: "image/png" });
  const expected = pattern(2, SIZE).subarray(offset, offset + length);
  expect([made.size, made.type]).toEqual([length, "image/png"]);
  expectSame(new Uint8Array(await made.arrayBuffer()), expected, "the blob");
});

test("it is a copy", async () => {
  const buffer = ram().createBuffer(SIZE);
  await buffer.write(0, pattern(3, SIZE));
  const made = await buffer.blob();
  await buffer.write(0, pattern(4, SIZE));
  buffer.destroy();
  expectSame(new Uint8Array(await made.arrayBuffer()), pattern(3, SIZE), "the blob");
});

test("there is none, when a part cannot be read", async () => {
  const swap = new MapSwap({ slots: 1024 });
  device = defaultDevice(512, swap);
  const buffer = device.createBuffer(SIZE);
  await buffer.write(0, pattern(5, SIZE));
  await device.shrink();
  const cause = systemError("EIO");
  swap.before = () => {
    throw cause;
  };
  expect((await fails("EIO", buffer.blob())).cause).toBe(cause);
});

test("there is none, when it was aborted", async () => {
  const gate = new Gate();
  gate.open();
  device = defaultDevice(64, new MapSwap({ slots: 1024, delay: gate.pass }));
  const buffer = device.createBuffer(64 * PAGE_SIZE);
  await buffer.write(0, pattern(6, buffer.size));
  await device.shrink();
  gate.close();
  const controller = new AbortController();
  const running = fails("EINTR", buffer.blob({ signal: controller.signal }));
  await until(() => gate.waiting > 0);
  controller.abort("why");
  expect((await settles(running)).cause).toBe("why");
  gate.open();
});

test.each<[unknown, string]>([
  [{ types: "" }, 'blob has no option "types"; did you mean type?'],
  [{ type: 1 }, "type must be a string, not 1"],
  [{ offset: 101 }, "offset must be a whole number from 0 to 100, not 101"],
  [{ length: 1.5 }, "length must be a whole number from 0 to 100, not 1.5"],
  [{ signal: "no" }, 'signal must be an AbortSignal, not "no"'],
])("%o is refused", async (options, text) => {
  const buffer = ram().createBuffer(100);
  await expect(buffer.blob(options as never)).rejects.toThrow(text);
});
