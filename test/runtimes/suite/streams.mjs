import { createDevice, ramSwap } from "ttm-wasm";
import { equal, fails, pattern, same, test } from "../check.mjs";

const SIZE = 700_001;

/** A device with less memory than what is on it. */
const pressed = () => createDevice({ memory: "1 MiB", swap: ramSwap({ size: "8 MiB" }) });

const content = (buffer) => buffer.read(0, new Uint8Array(buffer.size));

test("bytes go through streams, from buffer to buffer", async () => {
  const device = await pressed();
  const buffers = await Promise.all([1, 2].map((i) => device.bufferFrom(pattern(i, SIZE))));
  for (const [i, buffer] of buffers.entries()) {
    const copy = device.createBuffer(SIZE);
    await buffer.readable().pipeTo(copy.writable());
    same(await content(copy), pattern(i + 1, SIZE), `copy ${i}`);
  }
  device.check();
  await device.close({ force: true });
});

test("a Response, a Blob, a stream and a generator make buffers of their bytes", async () => {
  const device = await pressed();
  const bytes = pattern(3, SIZE);
  const made = await device.bufferFrom(bytes);
  const parts = function* () {
    for (let at = 0; at < SIZE; at += 99_999) yield bytes.subarray(at, at + 99_999);
  };
  const sources = [new Response(bytes), new Blob([bytes]), made.readable(), parts()];
  for (const [i, source] of sources.entries()) {
    const buffer = await device.bufferFrom(source);
    same(await content(buffer), bytes, `source ${i}`);
    buffer.destroy();
  }
  device.check();
  await device.close({ force: true });
});

test("a blob is a copy", async () => {
  const device = await pressed();
  const buffer = await device.bufferFrom(pattern(4, SIZE));
  const made = await buffer.blob({ offset: 1, type: "image/png" });
  buffer.destroy();
  equal(made.type, "image/png");
  const bytes = new Uint8Array(await new Response(made).arrayBuffer());
  same(bytes, pattern(4, SIZE).subarray(1), "the blob");
  await device.close();
});

test("a reader's own memory is filled, where the host has such readers", async () => {
  const device = await pressed();
  const buffer = await device.bufferFrom(pattern(5, SIZE));
  await device.shrink();
  const stream = buffer.readable();
  let reader;
  try {
    reader = stream.getReader({ mode: "byob" });
  } catch {
    reader = stream.getReader();
  }
  let at = 0;
  for (;;) {
    const { done, value } = await reader.read(new Uint8Array(50_000));
    if (done) break;
    same(value, pattern(5, SIZE).subarray(at, at + value.length), `bytes from ${at} on`);
    at += value.length;
  }
  equal(at, SIZE, "bytes");
  await device.close({ force: true });
});

test("too many bytes, and a stream that fails, leave nothing behind", async () => {
  const device = await pressed();
  const stream = () => new Response(pattern(6, SIZE)).body;
  await fails(RangeError, () => device.bufferFrom(stream(), { size: SIZE - 1 }));
  const broken = new ReadableStream({
    start(controller) {
      controller.enqueue(new Uint8Array(5));
    },
    pull: () => Promise.reject(new EvalError("the source's")),
  });
  await fails(EvalError, () => device.bufferFrom(broken));
  await fails(RangeError, () => stream().pipeTo(device.createBuffer(5).writable()));
  equal(device.stats().buffers, 1, "buffers");
  await device.close({ force: true });
});
