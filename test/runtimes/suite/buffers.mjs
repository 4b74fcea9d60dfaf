import { createDevice, createDeviceSync, PAGE_SIZE } from "ttm-wasm";
import { assert, equal, pattern, same, test, zeros } from "../check.mjs";

test("a page is 4 KiB", () => equal(PAGE_SIZE, 4096));

test("a new buffer reads as zeros and holds no memory", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer("100 KiB");
  zeros(await buffer.read(0, new Uint8Array(buffer.size)));
  equal(buffer.residentPages, 0, "resident pages");
  equal(device.stats().pages.free, 256, "free pages");
  await device.close({ force: true });
});

test("bytes come back as they were written, at any offset and of any length", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer(3 * PAGE_SIZE + 5);
  const model = new Uint8Array(buffer.size);
  const places = [
    [0, 1],
    [4095, 2],
    [4096, 4096],
    [1, 8191],
    [12292, 1],
    [0, 12293],
    [77, 0],
  ];
  for (const [i, [at, length]] of places.entries()) {
    const bytes = pattern(i, length);
    model.set(bytes, at);
    if (i % 2) await buffer.write(at, bytes);
    else buffer.writeSync(at, bytes);
    same(await buffer.read(0, new Uint8Array(buffer.size)), model, `after write ${i}`);
    same(buffer.readSync(at, new Uint8Array(length)), bytes, `bytes of write ${i}`);
  }
  device.check();
  await device.close({ force: true });
});

test("any typed array can be written and filled", async () => {
  const device = createDeviceSync({ memory: "1 MiB" });
  const buffer = device.createBuffer("64 KiB");
  const arrays = [
    new Int8Array([-1, 2]),
    new Uint16Array([1, 65535]),
    new Float32Array([1.5, -2]),
    new Float64Array([Math.PI, -0]),
    new BigInt64Array([-1n, 2n ** 40n]),
    new DataView(new Uint8Array([1, 2, 3]).buffer, 1),
  ];
  for (const array of arrays) {
    await buffer.write(3, array);
    const target = new array.constructor(
      array instanceof DataView ? new ArrayBuffer(array.byteLength) : array.length,
    );
    const read = await buffer.read(3, target);
    equal(read, target, "what read returns");
    const [a, b] = [array, target].map(
      (each) => new Uint8Array(each.buffer, each.byteOffset, each.byteLength),
    );
    same(b, a, array.constructor.name);
  }
  device.closeSync({ force: true });
});

test("buffers do not see each other's bytes, after one was destroyed either", async () => {
  const device = await createDevice({ memory: "256 KiB" });
  const secret = device.createBuffer("200 KiB");
  await secret.write(0, pattern(1, secret.size));
  secret.destroy();
  const next = device.createBuffer("200 KiB");
  await next.write(100, new Uint8Array([1]));
  const bytes = await next.read(0, new Uint8Array(next.size));
  equal(bytes[100], 1);
  bytes[100] = 0;
  zeros(bytes, "the rest of it");
  await device.close({ force: true });
});

test("a mapping is the buffer's own memory", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer("100 KiB");
  await buffer.write(0, pattern(1, buffer.size));
  const mapping = await buffer.map();
  assert(buffer.pinned, "a mapped buffer is not pinned");
  const lengths = mapping.segments.map((segment) => segment.length);
  equal(
    lengths.reduce((a, b) => a + b),
    buffer.size,
    "bytes mapped",
  );
  same(mapping.segments[0].slice(0, 100), pattern(1, 100));
  mapping.segments[0][5] = 99;
  mapping.unmap();
  mapping.unmap();
  assert(!buffer.pinned, "an unmapped buffer is pinned");
  equal((await buffer.read(5, new Uint8Array(1)))[0], 99);
  await device.shrink();
  equal(buffer.readSync(5, new Uint8Array(1))[0], 99);
  await device.close({ force: true });
});

test("a pinned buffer stays until it is unpinned", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const pinned = device.createBuffer("100 KiB");
  const other = device.createBuffer("100 KiB");
  await pinned.pin();
  await other.populate();
  equal(await device.shrink(), 25, "pages released");
  equal(pinned.residentPages, 25, "resident pages");
  pinned.unpin();
  equal(pinned.shrinkSync(), 25, "pages released");
  await device.close({ force: true });
});

test("what is not needed is thrown away without a write", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const buffer = device.createBuffer("100 KiB");
  await buffer.write(0, pattern(1, buffer.size));
  equal(buffer.advise("dontneed"), true);
  equal(await device.shrink(), 25, "pages released");
  equal(device.stats().pagesOut, 0, "pages out");
  equal(buffer.advise("willneed"), false);
  zeros(await buffer.read(0, new Uint8Array(buffer.size)));
  await buffer.write(0, pattern(2, buffer.size));
  buffer.advise("dontneed");
  equal(buffer.advise("willneed"), true);
  same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(2, buffer.size));
  await device.close({ force: true });
});
