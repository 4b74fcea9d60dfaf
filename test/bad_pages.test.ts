/* Pages that came back from swap other than they went: what is beside them can be read all the same. */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDevice, createDeviceSync, PAGE_SIZE } from "../src/index.ts";
import { expectSame, pattern } from "./support/bytes.ts";
import { filled } from "./support/devices.ts";
import { fails, failsSync } from "./support/errors.ts";
import { type OpenSwap, openAsyncSwap, openSwap } from "./support/open_swap.ts";
import { seeded } from "./support/random.ts";

/** Buffers of so many pages; chunks that are read together have up to as many. */
const SIZES = [2, 16, 40, 600];

function slotsOf(swap: Pick<OpenSwap, "pages">): number[] {
  return [...swap.pages.keys()].sort((a, b) => a - b);
}

function spoil(swap: Pick<OpenSwap, "pages">, slot: number): void {
  const page = swap.pages.of(slot);
  page[7] = (page[7] as number) ^ 1;
}

const ALL = pattern(1, Math.max(...SIZES) * PAGE_SIZE);

function expectPage(bo: BufferObject, page: number): void {
  const bytes = bo.readSync(page * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
  const all = ALL.subarray(0, bo.size);
  expectSame(bytes, all.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), `page ${page}`);
}

describe.each(SIZES)("of %i pages one is bad", (pages) => {
  test("all others can be read, in any order, before and after all were asked for", () =>
    seeded((random) => {
      for (let round = 0; round < 8; round++) {
        const swap = openSwap(1024);
        using device = createDeviceSync({ memory: "4 MiB", swap });
        const bo = filled(device, pages, 1);
        bo.shrinkSync();
        const bad = random.below(pages);
        spoil(swap, slotsOf(swap)[bad] as number);
        const order = random.shuffle(Array.from({ length: pages }, (_, page) => page));
        const ask = random.below(pages);
        for (const [i, page] of order.entries()) {
          if (i === ask) failsSync("EIO", () => bo.readSync(0, new Uint8Array(bo.size)));
          if (page !== bad) expectPage(bo, page);
          else failsSync("EIO", () => expectPage(bo, page));
        }
        spoil(swap, slotsOf(swap)[bad] as number); // the bit is back
        expectSame(bo.readSync(0, new Uint8Array(bo.size)), pattern(1, bo.size), "all of it");
        device.check();
      }
    }));

  test("the error names buffer, page and slot; and so it is with a device that waits", async () => {
    const swap = openAsyncSwap(1024);
    const device = await createDevice({ memory: "4 MiB", swap });
    const bo = device.createBuffer(pages * PAGE_SIZE);
    const bytes = pattern(1, bo.size);
    await bo.write(0, bytes);
    await bo.shrink();
    const bad = pages - 1;
    const slot = slotsOf(swap)[bad] as number;
    spoil(swap, slot);
    for (let round = 0; round < 2; round++) {
      const error = await fails("EIO", bo.read(0, new Uint8Array(bo.size)));
      expect(error.message).toContain(
        `checksum mismatch: page ${bad} of buffer ${bo.id} came back from slot ${slot}`,
      );
      for (let page = bad - 1; page >= 0; page -= 7) {
        const read = await bo.read(page * PAGE_SIZE, new Uint8Array(PAGE_SIZE));
        expectSame(read, bytes.subarray(page * PAGE_SIZE, (page + 1) * PAGE_SIZE), `page ${page}`);
      }
    }
    await device.close({ force: true });
  });
});

test("a call of a device that fails again and again leaves the pages of others alone", () => {
  const swap = openSwap(1024);
  const { readSync } = swap;
  let bad = 0;
  swap.readSync = (runs) => {
    for (const { slot, views } of runs) {
      const pages = views.reduce((sum, { length }) => sum + length / PAGE_SIZE, 0);
      if (bad >= slot && bad < slot + pages) throw new Error("a bad block");
    }
    readSync(runs);
  };
  using device = createDeviceSync({ memory: "4 MiB", swap, transferPages: 8 });
  const bo = filled(device, 256, 1);
  bo.shrinkSync();
  bad = slotsOf(swap)[100] as number; // in a chunk of 256, after 12 calls that went well
  failsSync("EIO", () => bo.readSync(0, new Uint8Array(bo.size)));
  for (let page = 255; page >= 0; page--) if (page !== 100) expectPage(bo, page);
  failsSync("EIO", () => expectPage(bo, 100));
});
