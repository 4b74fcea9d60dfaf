import { createDevice, createDeviceSync, PAGE_SIZE, ramSwap, TtmError } from "ttm-wasm";
import { assert, equal, fails, pattern, same, test } from "../check.mjs";
import { mapSwap } from "../swap.mjs";

test("misuse throws TypeError or RangeError", async () => {
  await fails(TypeError, () => createDeviceSync({}));
  await fails(RangeError, () => createDeviceSync({ memory: 1 }));
  await fails(TypeError, () => createDeviceSync({ memory: "1 MiB", swap: {} }));
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer(100);
  await fails(RangeError, () => device.createBuffer(100, { priority: 4 }));
  await fails(RangeError, () => buffer.writeSync(99, new Uint8Array(2)));
  await fails(RangeError, () => buffer.read(-1, new Uint8Array(1)));
  await fails(TypeError, () => buffer.write(0, "text"));
  await fails(TypeError, () => buffer.unpin());
  buffer.destroy();
  await fails(TypeError, () => buffer.read(0, new Uint8Array(1)));
  await fails(TypeError, () => buffer.destroy());
  await device.close();
  await fails(TypeError, () => device.createBuffer(1));
});

test("ENOMEM: a buffer larger than the memory, and memory that is pinned", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const error = await fails("ENOMEM", () => device.createBuffer("8 MiB"));
  assert(error instanceof TtmError && error instanceof Error, "not a TtmError");
  equal(error.name, "TtmError");
  equal(error.errno, -12);
  const first = device.createBuffer("768 KiB");
  const second = device.createBuffer("512 KiB");
  await first.pin();
  await fails("ENOMEM", () => second.write(0, new Uint8Array(second.size)));
  first.unpin();
  await second.write(0, pattern(2, second.size));
  same(await second.read(0, new Uint8Array(second.size)), pattern(2, second.size));
  device.check();
  await device.close({ force: true });
});

test("ENOSPC: swap is full, and what is there stays", async () => {
  const device = await createDevice({ memory: "1 MiB", swap: ramSwap({ size: "256 KiB" }) });
  const buffers = Array.from({ length: 4 }, () => device.createBuffer("400 KiB"));
  const held = [];
  for (const [i, buffer] of buffers.entries()) {
    try {
      await buffer.write(0, pattern(i, buffer.size));
      held.push(i);
    } catch (error) {
      equal(error.code, "ENOSPC");
    }
  }
  assert(held.length >= 2 && held.length < 4, `${held.length} buffers were held`);
  for (const i of held) {
    const buffer = buffers[i];
    same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(i, buffer.size), `buffer ${i}`);
  }
  device.check();
  await device.close({ force: true });
});

test("EBUSY: mapped, pinned, alive", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer("64 KiB");
  const mapping = await buffer.map();
  await fails("EBUSY", () => buffer.shrink());
  await fails("EBUSY", () => buffer.destroy());
  mapping.unmap();
  await fails("EBUSY", () => device.close());
  buffer.destroy();
  await device.close();
  assert(device.closed, "not closed");
});

test("EWOULDBLOCK: a Sync form, and the device is asynchronous", async () => {
  const device = await createDevice({ memory: "1 MiB", swap: mapSwap({ async: true }) });
  const buffer = device.createBuffer("64 KiB");
  await buffer.write(0, pattern(1, buffer.size));
  same(buffer.readSync(0, new Uint8Array(buffer.size)), pattern(1, buffer.size));
  await fails("EWOULDBLOCK", () => device.shrinkSync());
  await device.shrink();
  await fails("EWOULDBLOCK", () => buffer.readSync(0, new Uint8Array(1)));
  same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(1, buffer.size));
  await device.close({ force: true });
});

test("EIO: a page that comes back changed is noticed, and a retry reads it again", async () => {
  const swap = mapSwap();
  const { read } = swap;
  const device = await createDevice({ memory: "1 MiB", swap });
  const buffer = device.createBuffer(10 * PAGE_SIZE);
  await buffer.write(0, pattern(1, buffer.size));
  await device.shrink();
  swap.read = (slot, views) => {
    read(slot, views);
    views[0][17] ^= 1;
  };
  const error = await fails("EIO", () => buffer.read(0, new Uint8Array(buffer.size)));
  assert(error instanceof TtmError, "not a TtmError");
  swap.read = read;
  same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(1, buffer.size));
  device.check();
  await device.close({ force: true });
});

test("a closed device closes its swap device, once", async () => {
  for (const async of [false, true]) {
    const swap = mapSwap({ async });
    const device = await createDevice({ memory: "1 MiB", swap });
    const buffer = device.createBuffer("64 KiB");
    await buffer.write(0, pattern(1, buffer.size));
    await device.close({ force: true });
    equal(swap.closed, 1, "times closed");
    assert(buffer.destroyed, "a buffer outlives its device");
    await fails(TypeError, () => device.close());
  }
});

test("Symbol.asyncDispose closes, Symbol.dispose destroys, where there are such symbols", async () => {
  if (!Symbol.asyncDispose || !Symbol.dispose) return;
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer("64 KiB");
  const mapping = buffer.mapSync();
  mapping[Symbol.dispose]();
  assert(!buffer.pinned, "still pinned");
  buffer[Symbol.dispose]();
  assert(buffer.destroyed, "not destroyed");
  await device[Symbol.asyncDispose]();
  assert(device.closed, "not closed");
});
