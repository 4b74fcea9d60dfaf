/*
 * A page that came back keeps its slot until it may have been written: it leaves again for nothing.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, PAGE_SIZE } from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { shrinkTtSync } from "../../src/ttm.ts";
import { contentSync, expectSame, pattern } from "../support/bytes.ts";
import { filled } from "../support/devices.ts";
import { failsSync } from "../support/errors.ts";
import { Random, seeded } from "../support/random.ts";
import { type Kit, kit, slotOf } from "./support/kit.ts";

/** What is written to a page, so that it is clean no longer. */
const ONE: Uint8Array = Uint8Array.of(1);

/** A buffer of 20 pages that came back from swap. */
function restored(options: Parameters<typeof kit>[1] = {}): Kit & { bo: BufferObject } {
  const made = kit({ memory: 64, swap: 256 }, options);
  const bo = filled(made.device, 20, 1);
  bo.shrinkSync();
  bo.populateSync();
  made.swap.forget();
  return { ...made, bo };
}

function expectContent(bo: BufferObject, bytes = pattern(1, bo.size)): void {
  expectSame(contentSync(bo), bytes, "content");
}

describe("a buffer that was only read since it came back", () => {
  test.each<[string, (bo: BufferObject) => void]>([
    ["not at all", () => {}],
    ["in part", (bo) => void bo.readSync(5000, new Uint8Array(1))],
    ["whole", (bo) => void contentSync(bo)],
    ["through a mapping to read", (bo) => bo.mapSync({ write: false }).unmap()],
    [
      "and pinned",
      (bo) => {
        bo.pinSync();
        bo.unpin();
      },
    ],
    [
      "and no longer needed, and needed again",
      (bo) => {
        bo.advise("dontneed");
        bo.advise("willneed");
      },
    ],
  ])("leaves without a transfer: %s", (_, use) => {
    const { device, swap, bo } = restored();
    expect(device.stats().pages.clean).toBe(20);
    expect(device.stats().slots.free).toBe(236);
    use(bo);
    expect(bo.shrinkSync()).toBe(20);
    expect(swap.pagesOut).toBe(0);
    expect(device.stats()).toMatchObject({
      pagesOut: 20,
      pagesClean: 20,
      pages: { clean: 0, free: 64 },
    });
    device.check();
    expectContent(bo);
  });

  test("leaves again and again without a transfer, also when nothing is asked for it", () => {
    const { device, swap, bo } = restored();
    for (let round = 0; round < 5; round++) {
      expect(device.shrinkSync()).toBe(20);
      expectContent(bo);
    }
    expect([swap.pagesOut, swap.pagesIn]).toEqual([0, 100]);
    expect(device.stats().pagesClean).toBe(100);
  });

  test("leaves without a transfer to make room for another one", () => {
    const { device, swap, bo } = restored();
    const other = filled(device, 60, 2);
    expect(bo.residentPages).toBeLessThan(20);
    expect(swap.pagesOut).toBe(0);
    expectContent(bo);
    expectContent(other, pattern(2, other.size));
  });
});

describe("what may have been written since is written out", () => {
  test.each<[string, number, (bo: BufferObject, model: Uint8Array) => void]>([
    [
      "a byte of a page",
      1,
      (bo, model) => {
        bo.writeSync(3 * PAGE_SIZE + 7, ONE);
        model[3 * PAGE_SIZE + 7] = 1;
      },
    ],
    [
      "bytes on both sides of a border of pages",
      2,
      (bo, model) => {
        bo.writeSync(5 * PAGE_SIZE - 1, new Uint8Array(2));
        model.fill(0, 5 * PAGE_SIZE - 1, 5 * PAGE_SIZE + 1);
      },
    ],
    [
      "whole pages, and no others",
      4,
      (bo, model) => {
        bo.writeSync(8 * PAGE_SIZE, new Uint8Array(4 * PAGE_SIZE).fill(5));
        model.fill(5, 8 * PAGE_SIZE, 12 * PAGE_SIZE);
      },
    ],
    ["the same bytes once more", 1, (bo, model) => bo.writeSync(0, model.slice(0, 10))],
    ["nothing, by a write of no bytes", 0, (bo) => bo.writeSync(10, new Uint8Array(0))],
    [
      "all of it, by a mapping to write",
      20,
      (bo, model) => {
        using mapping = bo.mapSync();
        (mapping.segments[0] as Uint8Array)[9] = 77;
        model[9] = 77;
      },
    ],
    [
      "all of it, by a mapping to write that was not used",
      20,
      (bo) => bo.mapSync({ write: true }).unmap(),
    ],
  ])("%s: %i pages", (_, pages, write) => {
    const { device, swap, bo } = restored();
    const model = pattern(1, bo.size);
    write(bo, model);
    expect(device.stats().pages.clean).toBe(20 - pages);
    // A part of it that is written goes back to where it came from.
    expect(device.stats().slots.free).toBe(pages < 20 ? 236 : 256);
    device.check();
    expect(bo.shrinkSync()).toBe(20);
    expect(swap.pagesOut).toBe(pages);
    expect(device.stats().pagesClean).toBe(20 - pages);
    expectContent(bo, model);
    device.check();
  });

  test("by a mapping that is still there when the buffer is written once more", () => {
    const { device, bo } = restored();
    const model = pattern(1, bo.size);
    const mapping = bo.mapSync();
    bo.writeSync(0, ONE);
    model[0] = 1;
    (mapping.segments[0] as Uint8Array)[1] = 5;
    model[1] = 5;
    failsSync("EBUSY", () => bo.shrinkSync());
    mapping.unmap();
    bo.shrinkSync();
    expectContent(bo, model);
    device.check();
  });

  test("page by page, in whatever order pages leave, come back and are written", () => {
    const { device, swap, bo, global } = restored({ transferPages: 1 });
    const model = pattern(1, bo.size);
    for (let round = 0; round < 40; round++) {
      const page = (round * 7) % 20;
      bo.writeSync(page * PAGE_SIZE, Uint8Array.of(round));
      model[page * PAGE_SIZE] = round;
      const { clean } = device.stats().pages;
      swap.forget();
      const stop = 1 + (round % 20);
      const signal = {
        get aborted() {
          return swap.pagesOut + swap.pagesIn >= stop;
        },
      };
      try {
        bo.shrinkSync({ signal });
      } catch (error) {
        expect(error).toMatchObject({ code: "EINTR" });
      }
      expect(swap.pagesOut).toBeLessThanOrEqual(20 - clean);
      if (round % 3 === 0) {
        try {
          bo.readSync(0, new Uint8Array(1), { signal });
        } catch (error) {
          expect(error).toMatchObject({ code: "EINTR" });
        }
      }
      device.check();
      expectContent(bo, model);
      expect(global.clean.size).toBeLessThanOrEqual(1);
    }
  });
});

describe("a buffer of which parts are written again and again", () => {
  test("stays in one piece in swap: each part goes back to where it came from", () => {
    const { device, swap, bo } = restored();
    const model = pattern(1, bo.size);
    const slots = Array.from({ length: 20 }, (_, i) => slotOf(device.global, bo.tt, i));
    for (let round = 0; round < 60; round++) {
      const page = (round * 7) % 20;
      bo.writeSync(page * PAGE_SIZE + round, Uint8Array.of(round));
      model[page * PAGE_SIZE + round] = round;
      swap.forget();
      expect(bo.shrinkSync()).toBe(20);
      expect(swap.pagesOut).toBe(1);
      expect(slots.map((_, i) => slotOf(device.global, bo.tt, i))).toEqual(slots);
      device.check();
      expectContent(bo, model);
    }
  });

  test("and whole gives its slots up, for a place where it leaves with others", () => {
    const { device, bo } = restored();
    bo.writeSync(0, pattern(2, bo.size));
    expect(device.stats().slots.free).toBe(256);
    bo.shrinkSync();
    device.check();
    expectContent(bo, pattern(2, bo.size));
  });

  test("keeps all bytes when a write to a slot that it keeps fails half-way", () => {
    const { device, swap, bo } = restored();
    const model = pattern(1, bo.size);
    for (const page of [3, 4, 11]) {
      bo.writeSync(page * PAGE_SIZE, Uint8Array.of(9));
      model[page * PAGE_SIZE] = 9;
    }
    swap.writeFailure = new Error("torn");
    expect(bo.shrinkSync()).toBe(3);
    swap.writeFailure = undefined;
    device.check();
    expectContent(bo, model);
    expect(bo.shrinkSync()).toBe(20);
    expectContent(bo, model);
  });

  test("gives the slots up to others that find none", () => {
    const { device } = kit({ memory: 64, swap: 48 });
    const bo = filled(device, 20, 1);
    const model = pattern(1, bo.size);
    bo.shrinkSync();
    bo.populateSync();
    for (let page = 0; page < 19; page++) {
      bo.writeSync(page * PAGE_SIZE, ONE);
      model[page * PAGE_SIZE] = 1;
    }
    const others = filled(device, 40, 2);
    expect(others.shrinkSync()).toBe(40);
    device.check();
    expectContent(bo, model);
    expectContent(others, pattern(2, others.size));
  });

  test("does not count as content that fills swap: new content still finds room", () => {
    const { device } = kit({ memory: 16, swap: 16 });
    const bo = filled(device, 8, 1);
    const model = pattern(1, bo.size);
    bo.shrinkSync();
    bo.pinSync();
    for (let page = 0; page < 8; page++) {
      bo.writeSync(page * PAGE_SIZE, ONE);
      model[page * PAGE_SIZE] = 1;
    }
    const gone = filled(device, 8, 2);
    gone.shrinkSync();
    expect(device.stats()).toMatchObject({ pages: { free: 8, clean: 0 }, slots: { free: 0 } });
    const fresh = filled(device, 8, 3);
    device.check();
    expectContent(bo, model);
    expectContent(gone, pattern(2, gone.size));
    expectContent(fresh, pattern(3, fresh.size));
  });
});

describe("clean pages", () => {
  test("are counted apart from those that were written out", () => {
    const { device, bo } = restored();
    bo.writeSync(0, ONE);
    bo.shrinkSync();
    expect(device.stats()).toMatchObject({ pagesOut: 21, pagesClean: 19, pagesIn: 20 });
  });

  test("are not kept when that is switched off", () => {
    const { device, swap, bo } = restored({ keepClean: false });
    expect(device.stats()).toMatchObject({ pages: { clean: 0 }, slots: { free: 256 } });
    bo.shrinkSync();
    expect(swap.pagesOut).toBe(20);
    expect(device.stats().pagesClean).toBe(0);
    expectContent(bo);
  });

  test("are not kept while nearly every slot holds all that there is of a page", () => {
    const { device } = kit({ memory: 64, swap: 64 });
    const bos = Array.from({ length: 8 }, (_, i) => filled(device, 8, i));
    device.shrinkSync();
    expect(device.stats().slots.free).toBe(0);
    bos[0]?.populateSync();
    expect(device.stats()).toMatchObject({ pages: { clean: 0 }, slots: { free: 8 } });
    for (const bo of bos.slice(1)) bo.populateSync();
    expect(device.stats()).toMatchObject({ pages: { clean: 56 }, slots: { free: 8 } });
    bos.forEach((bo, i) => {
      expectContent(bo, pattern(i, bo.size));
    });
  });

  test("give their slots up, the oldest first, when others need them", () => {
    const { device, swap } = kit({ memory: 128, swap: 64 });
    const bos = [1, 2, 3].map((seed) => filled(device, 16, seed));
    device.shrinkSync();
    for (const bo of bos) bo.populateSync();
    expect(device.stats()).toMatchObject({ pages: { clean: 48 }, slots: { free: 16 } });
    swap.forget();
    const other = filled(device, 40, 4);
    expect(other.shrinkSync()).toBe(40);
    // 24 slots were missing: those of the first buffer, and of the second.
    expect(device.stats()).toMatchObject({ pages: { clean: 16 }, slots: { free: 8 } });
    expect(swap.pagesOut).toBe(40);
    device.check();
    expect(bos[2]?.shrinkSync()).toBe(16);
    expect(swap.pagesOut).toBe(40);
    bos.forEach((bo, i) => {
      expectContent(bo, pattern(i + 1, bo.size));
    });
    expectContent(other, pattern(4, other.size));
  });

  test("leave although a page of the same buffer that stands before them finds no slot", () => {
    const { device, swap } = kit({ memory: 128, swap: 64 });
    const mixed = filled(device, 16, 1);
    mixed.shrinkSync();
    mixed.populateSync();
    const { free } = device.stats().slots;
    const others = filled(device, free, 2);
    others.shrinkSync();
    // One gives its slot up, and another page takes that.
    mixed.writeSync(0, ONE);
    expect(device.pool.dirty(mixed.tt, 0, 1, false)).toBe(1);
    const model = pattern(1, mixed.size);
    model[0] = 1;
    filled(device, 1, 3).shrinkSync();
    expect(device.stats()).toMatchObject({ pages: { clean: 15 }, slots: { free: 0 } });
    swap.forget();
    expect(mixed.shrinkSync()).toBe(15);
    expect(swap.pagesOut).toBe(0);
    expect(device.stats().slots.free).toBe(0);
    device.check();
    expectContent(mixed, model);
    expectContent(others, pattern(2, others.size));
  });

  test("or were written, and keep their slots, of which others make use then", () => {
    const { device } = kit({ memory: 128, swap: 64 });
    const mixed = filled(device, 40, 1);
    mixed.shrinkSync();
    mixed.populateSync();
    const others = filled(device, device.stats().slots.free, 2);
    others.shrinkSync();
    const model = pattern(1, mixed.size);
    for (let i = 1; i < 40; i++) {
      model[i * PAGE_SIZE] = i;
      device.pool.dirty(mixed.tt, i, 1, true);
      mixed.writeSync(i * PAGE_SIZE, Uint8Array.of(i));
    }
    // The first one gives its slot up, and another page takes that.
    expect(device.pool.dirty(mixed.tt, 0, 1, false)).toBe(1);
    filled(device, 1, 3).shrinkSync();
    expect(device.stats()).toMatchObject({ pages: { clean: 0 }, slots: { free: 0 } });
    expect(mixed.shrinkSync()).toBe(39);
    expect(device.stats().slots.free).toBe(0);
    device.check();
    expectContent(mixed, model);
    expectContent(others, pattern(2, others.size));
  });

  test("of a pinned buffer give their slots up as well", () => {
    const { device } = kit({ memory: 128, swap: 32 });
    const pinned = filled(device, 16, 1);
    pinned.shrinkSync();
    pinned.pinSync();
    expect(device.stats().pages.clean).toBe(16);
    const other = filled(device, 32, 2);
    expect(other.shrinkSync()).toBe(32);
    expect(device.stats().pages.clean).toBe(0);
    device.check();
    expectContent(pinned);
  });

  test("are gone when their buffer is purged, or destroyed", () => {
    for (const end of [
      (bo: BufferObject) => {
        bo.advise("dontneed");
        bo.shrinkSync();
      },
      (bo: BufferObject) => bo.destroy(),
    ]) {
      const { device, global, bo } = restored();
      end(bo);
      expect(device.stats()).toMatchObject({
        pages: { clean: 0, free: 64 },
        slots: { free: 256 },
      });
      expect(global.clean.size).toBe(0);
      device.check();
    }
  });

  test("stay with the part of a buffer that stays", () => {
    const { device, swap, bo } = restored({ pool: { orders: [0] } });
    bo.writeSync(10 * PAGE_SIZE, ONE);
    const model = pattern(1, bo.size);
    model[10 * PAGE_SIZE] = 1;
    expect(shrinkTtSync(device.pool, bo.tt, { pages: 7 })).toBe(7);
    expect(device.stats().pages.clean).toBe(12);
    expect(shrinkTtSync(device.pool, bo.tt, { pages: 7 })).toBe(7);
    expect(device.stats().pages.clean).toBe(6);
    expect(swap.pagesOut).toBe(1);
    bo.populateSync();
    expect(device.stats().pages.clean).toBe(20);
    expect(swap.pagesIn).toBe(14);
    device.check();
    expectContent(bo, model);
  });
});

describe("a copy in swap that is damaged while its page is in memory", () => {
  test("does not matter, until the page has left and comes back: EIO", () => {
    const { device, swap, bo } = restored();
    const slot = slotOf(device.global, bo.tt, 3);
    const at = (slot - 1) * PAGE_SIZE + 99;
    swap.bytes[at] = (swap.bytes[at] as number) ^ 1;
    expectContent(bo);
    expect(bo.shrinkSync()).toBe(20);
    const error = failsSync("EIO", () => contentSync(bo));
    expect(error.message).toContain(`page 3 of buffer ${bo.id} came back from slot ${slot}`);
    device.check();
    swap.bytes[at] = (swap.bytes[at] as number) ^ 1;
    expectContent(bo);
  });

  test("does not matter at all once the page was written", () => {
    const { device, swap, bo } = restored();
    swap.bytes.fill(0xee);
    const model = pattern(2, bo.size);
    bo.writeSync(0, model);
    bo.shrinkSync();
    expectContent(bo, model);
    device.check();
  });

  test("does not matter once its slot was given up", () => {
    const { device, swap, bo } = restored();
    swap.bytes.fill(0xee);
    expect(device.global.reclaimSlots(20)).toBe(20);
    bo.shrinkSync();
    expectContent(bo);
  });
});

describe("swap exactly as large as the data", () => {
  const BUFFERS = 64;
  const PAGES = 4;
  const DATA = BUFFERS * PAGES;
  const MEMORY = 64;

  /** Uses buffers at random, some far more than others: pages out, and what the content has to be. */
  function life(slots: number, writes: number, random: Random) {
    const { device } = kit({ memory: MEMORY, swap: slots });
    const bos = Array.from({ length: BUFFERS }, (_, i) => filled(device, PAGES, i));
    const models = bos.map((bo, i) => pattern(i, bo.size));
    for (let step = 0; step < 3000; step++) {
      const i = random.below(1 + random.below(BUFFERS));
      const bo = bos[i] as BufferObject;
      if (random.chance(writes)) {
        const at = random.below(bo.size);
        const byte = 1 + random.below(255);
        bo.writeSync(at, Uint8Array.of(byte));
        (models[i] as Uint8Array)[at] = byte;
      } else bo.readSync(random.below(bo.size), new Uint8Array(1));
      if (step % 100 === 0) device.check();
    }
    const { pagesOut, pagesClean } = device.stats();
    bos.forEach((bo, i) => {
      expectContent(bo, models[i]);
    });
    return { pagesOut, pagesClean };
  }

  test("what is only read is written once, as with any swap that is larger", async () => {
    await seeded((random) => {
      const { pagesOut, pagesClean } = life(DATA, 0, random);
      expect(pagesOut).toBe(DATA);
      expect(pagesClean).toBeGreaterThan(10 * DATA);
    });
  });

  test("what is written is written out as often as with twice that", async () => {
    await seeded((random) => {
      const seed = random.next();
      const [exact, twice] = [DATA, 2 * DATA].map((slots) => life(slots, 0.2, new Random(seed)));
      expect(exact).toEqual(twice);
    });
  });

  test("or smaller, by less than the memory: no slot is given up that nobody needs", async () => {
    await seeded((random) => {
      const short = 16;
      const { pagesOut, pagesClean } = life(DATA - short, 0, random);
      // Of the pages in memory so many have no slot, at most; each that gets one takes it from another.
      expect(pagesOut).toBeGreaterThan(DATA - short);
      expect(pagesClean).toBeGreaterThan(0.8 * pagesOut);
    });
  });
});

test("on a file as well", () => {
  using device = createDeviceSync({ memory: 64 * PAGE_SIZE, swap: fileSwap({ size: "1 MiB" }) });
  const bo = filled(device, 40, 1);
  for (let round = 0; round < 3; round++) {
    bo.shrinkSync();
    expectContent(bo);
  }
  expect(device.stats()).toMatchObject({ pagesOut: 40, pagesClean: 80, pagesIn: 120 });
});
