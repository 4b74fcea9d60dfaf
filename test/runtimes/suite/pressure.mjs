import { createDevice, PAGE_SIZE, ramSwap } from "ttm-wasm";
import { assert, equal, pattern, same, test } from "../check.mjs";
import { mapSwap } from "../swap.mjs";

const SWAPS = {
  "RAM swap": () => ramSwap({ size: "4 MiB" }),
  "a synchronous device": () => mapSwap(),
  "an asynchronous device": () => mapSwap({ async: true }),
};

for (const [name, swap] of Object.entries(SWAPS)) {
  test(`on ${name}, four times the memory comes back`, async () => {
    const device = await createDevice({ memory: "1 MiB", swap: swap() });
    const buffers = Array.from({ length: 16 }, () => device.createBuffer("250 KiB"));
    for (const [i, buffer] of buffers.entries()) await buffer.write(0, pattern(i, buffer.size));
    for (const round of [0, 1]) {
      for (const [i, buffer] of buffers.entries()) {
        const bytes = await buffer.read(0, new Uint8Array(buffer.size));
        same(bytes, pattern(i, buffer.size), `buffer ${i} in round ${round}`);
      }
      device.check();
    }
    assert(device.stats().pagesIn > 0, "nothing came back from swap");
    await device.close({ force: true });
  });

  test(`on ${name}, operations at once on several buffers lose nothing`, async () => {
    const device = await createDevice({ memory: "1 MiB", swap: swap() });
    const buffers = Array.from({ length: 12 }, () => device.createBuffer("200 KiB"));
    await Promise.all(buffers.map((buffer, i) => buffer.write(0, pattern(i, buffer.size))));
    const reads = buffers.map((buffer) => buffer.read(0, new Uint8Array(buffer.size)));
    for (const [i, bytes] of (await Promise.all(reads)).entries()) {
      same(bytes, pattern(i, bytes.length), `buffer ${i}`);
    }
    device.check();
    await device.close({ force: true });
  });

  test(`on ${name}, a shrink gives back as much as was asked for`, async () => {
    const pool = { orders: [2, 0] };
    const device = await createDevice({ memory: "2 MiB", swap: swap(), pool });
    const buffer = device.createBuffer("1 MiB");
    await buffer.write(0, pattern(1, buffer.size));
    const some = await device.shrink({ pages: 16 });
    assert(some >= 16 && some < 256, `${some} pages were released`);
    equal(buffer.residentPages, 256 - some, "resident pages");
    equal(await buffer.shrink(), 256 - some, "pages released");
    equal(await device.shrink(), 0, "pages released when there are none");
    same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(1, buffer.size));
    await device.close({ force: true });
  });
}

test("the lowest priority leaves first, then the least recently used", async () => {
  const device = await createDevice({ memory: "1 MiB" });
  const make = async (priority) => {
    const buffer = device.createBuffer("100 KiB", { priority });
    await buffer.write(0, pattern(priority, buffer.size));
    return buffer;
  };
  const [high, first, second] = [await make(2), await make(0), await make(0)];
  await first.read(0, new Uint8Array(1));
  const resident = () => [high, first, second].map((buffer) => buffer.residentPages > 0).join();
  await device.shrink({ pages: 25 });
  equal(resident(), "true,true,false");
  await device.shrink({ pages: 25 });
  equal(resident(), "true,false,false");
  await device.shrink({ pages: 25 });
  equal(resident(), "false,false,false");
  await device.close({ force: true });
});

test("a restored page that was not written leaves without a transfer", async () => {
  const swap = mapSwap();
  const device = await createDevice({ memory: "1 MiB", swap });
  const buffer = device.createBuffer(20 * PAGE_SIZE);
  await buffer.write(0, pattern(1, buffer.size));
  await device.shrink();
  await buffer.populate();
  const { written } = swap;
  equal(await device.shrink(), 20, "pages released");
  equal(swap.written, written, "pages written");
  same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(1, buffer.size));
  await device.close({ force: true });
});

test("hibernate takes everything out, resume brings it back", async () => {
  const device = await createDevice({ memory: "1 MiB", swap: mapSwap({ async: true }) });
  const buffers = Array.from({ length: 4 }, () => device.createBuffer("200 KiB"));
  for (const [i, buffer] of buffers.entries()) await buffer.write(0, pattern(i, buffer.size));
  equal(await device.hibernate(), 200, "pages released");
  equal(device.stats().pages.free + device.stats().pages.pooled, 256, "free pages");
  await device.resume();
  for (const [i, buffer] of buffers.entries()) {
    equal(buffer.residentPages, 50, "resident pages");
    same(buffer.readSync(0, new Uint8Array(buffer.size)), pattern(i, buffer.size));
  }
  await device.close({ force: true });
});

test("the background loop keeps pages free above the watermarks", async () => {
  const watermarks = { min: 8, low: 64, high: 128 };
  const device = await createDevice({
    memory: "1 MiB",
    swap: mapSwap({ async: true }),
    watermarks,
  });
  const buffers = Array.from({ length: 12 }, () => device.createBuffer("80 KiB"));
  for (const [i, buffer] of buffers.entries()) await buffer.write(0, pattern(i, buffer.size));
  for (let i = 0; i < 2000 && device.stats().pages.free < watermarks.high; i++) {
    await new Promise((resolve) => setTimeout(resolve, 1));
  }
  const { free } = device.stats().pages;
  assert(free >= watermarks.high, `${free} pages are free`);
  for (const [i, buffer] of buffers.entries()) {
    same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(i, buffer.size), `buffer ${i}`);
  }
  await device.close({ force: true });
});
