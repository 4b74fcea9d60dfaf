/* Room for page vectors: while enough entries are free, wherever they lie, it is never why something fails. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { Engine } from "../../src/engine/engine.ts";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  type SwapRun,
  type SyncSwapDevice,
} from "../../src/index.ts";
import { finiTt, Pool, populateTtSync, shrinkTtSync, Tt } from "../../src/ttm.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { Gate, randomDelay, settles, until } from "../support/delays.ts";
import { expectAllFree, filled } from "../support/devices.ts";
import { MapSwap } from "../support/map_swap.ts";
import { type Random, seeded } from "../support/random.ts";
import { Crumbs } from "./support/crumbs.ts";
import { kit, written } from "./support/kit.ts";
import { expectContent } from "./support/subject.ts";

afterEach(() => {
  vi.restoreAllMocks();
});

/** How often vectors were moved from now on. */
function countPacks(): { readonly packs: number } {
  const spy = vi.spyOn(Engine.prototype, "vectorsPack");
  return {
    get packs() {
      return spy.mock.calls.length;
    },
  };
}

/** Buffers of which the first page holds the number that they were made with. */
class Marked {
  readonly device: Device;
  readonly live: { readonly bo: BufferObject; readonly mark: number; readonly pages: number }[] =
    [];
  #marks = 0;

  constructor(device: Device) {
    this.device = device;
  }

  make(pages: number): void {
    const bo = this.device.createBuffer(pages * PAGE_SIZE);
    const mark = ++this.#marks;
    bo.writeSync(0, Uint32Array.of(mark));
    this.live.push({ bo, mark, pages });
  }

  /** Destroys the buffer at a place among those alive. Returns its pages. */
  destroy(at: number): number {
    const [gone] = this.live.splice(at, 1);
    gone?.bo.destroy();
    return gone?.pages ?? 0;
  }

  mustHold(): void {
    for (const { bo, mark } of this.live) {
      const word = Uint32Array.from(bo.readSync(0, new Uint32Array(1)))[0];
      if (word !== mark) throw new Error(`buffer ${mark} has the mark ${word}`);
    }
    this.device.check();
  }
}

describe("buffers come and go", () => {
  const FRAMES = 65536;

  test("small ones that stay between large ones of the past are not in the way of a large one", () => {
    using device = createDeviceSync({ memory: FRAMES * PAGE_SIZE });
    const marked = new Marked(device);
    for (let i = 0; i < 4; i++) for (const pages of [32760, 1]) marked.make(pages);
    // Each is a little larger than the hole that another one left.
    for (let i = 0; i < 4; i++) {
      marked.destroy(i);
      for (const pages of [32761 + i, 1]) marked.make(pages);
    }
    for (let i = marked.live.length - 1; i >= 0; i--) {
      if ((marked.live[i]?.pages ?? 0) > 1) marked.destroy(i);
    }
    expect(marked.live.length).toBe(8);
    marked.make(32768);
    marked.mustHold();
  });

  test("of all sizes, at random, with nearly all pages that there can be", () =>
    seeded((random) => {
      const slots = 2 ** 23;
      using device = createDeviceSync({
        memory: FRAMES * PAGE_SIZE,
        swap: new MapSwap({ slots }),
        checksums: false,
      });
      const most = Math.floor((FRAMES + slots) * 0.97);
      const marked = new Marked(device);
      let pages = 0;
      for (let step = 0; step < 6000; step++) {
        const size = Math.floor(Math.exp(random.fraction() * Math.log(FRAMES / 2)));
        while (pages + size > most) pages -= marked.destroy(random.below(marked.live.length));
        marked.make(size);
        pages += size;
      }
      marked.mustHold();
    }));

  test("generations of them, each a page larger than the last, of which a small one stays behind", () => {
    const { device } = kit({ memory: 4096, swap: 16384 });
    const marked = new Marked(device);
    for (let size = 256; size < 316; size++) {
      const large: BufferObject[] = [];
      while ((large.length + 1) * size + marked.live.length < 0.9 * 20480) {
        const bo = device.createBuffer(size * PAGE_SIZE);
        bo.populateSync();
        large.push(bo);
        marked.make(1);
      }
      for (const bo of large) bo.destroy();
    }
    marked.mustHold();
  });
});

describe("vectors that move", () => {
  test("have what they had: pages, slots, copies of both, and none", () => {
    const { device, global } = kit({ memory: 256, swap: 256 });
    const pool = new Pool(global);
    const crumbs = new Crumbs(global, 32);
    crumbs.scatter();
    const counted = countPacks();
    const some = Array.from({ length: 6 }, (_, i) => written(pool, 20 + i, i));
    const [all, part, clean, late] = some as [
      (typeof some)[0],
      (typeof some)[0],
      (typeof some)[0],
      (typeof some)[0],
    ];
    shrinkTtSync(pool, all.tt);
    shrinkTtSync(pool, part.tt, { pages: 7 });
    shrinkTtSync(pool, clean.tt);
    populateTtSync(pool, clean.tt);
    expect(counted.packs).toBe(0);
    const before = some.map(({ tt }) => tt.vector);
    const large = written(pool, 33, 99);
    expect(counted.packs).toBe(1);
    expect(some.filter(({ tt }, i) => tt.vector !== before[i]).length).toBeGreaterThan(3);
    finiTt(pool, late.tt);
    for (const { tt, bytes } of [...some, large]) {
      if (tt === late.tt) continue;
      populateTtSync(pool, tt);
      expectContent(global, tt, bytes);
      finiTt(pool, tt);
    }
    crumbs.clear();
    expectAllFree(device);
  });

  test("are those of tts with pages on their way, too, out and in", async () => {
    const gate = new Gate();
    gate.open();
    const swap = new MapSwap({ slots: 512, delay: gate.pass });
    const device = createDeviceSync({ memory: 512 * PAGE_SIZE, swap });
    const crumbs = new Crumbs(device.global, 32);
    crumbs.scatter();
    const counted = countPacks();
    const bos = Array.from({ length: 8 }, (_, i) => filled(device, 24 + i, i));
    for (const bo of bos.slice(0, 4)) expect(await bo.shrink()).toBe(bo.size / PAGE_SIZE);
    gate.close();
    const pending = bos.map((bo, i) => (i < 4 ? bo.populate() : bo.shrink()));
    await until(() => gate.waiting === 8);
    expect(counted.packs).toBe(0);
    const before = bos.map(({ tt }) => tt.vector);
    const large = filled(device, 33, 99);
    expect(counted.packs).toBe(1);
    expect(bos.filter(({ tt }, i) => tt.vector !== before[i]).length).toBeGreaterThan(6);
    crumbs.clear();
    large.destroy();
    // While they are on their way they move a second time.
    crumbs.scatter();
    const other = filled(device, 33, 98);
    expect(counted.packs).toBe(2);
    gate.open();
    await settles(Promise.all(pending));
    expect(bos.map((bo) => bo.residentPages)).toEqual(
      bos.map((bo, i) => (i < 4 ? bo.size / PAGE_SIZE : 0)),
    );
    for (const [i, bo] of bos.entries()) expectSame(await content(bo), pattern(i, bo.size), `${i}`);
    expectSame(await content(other), pattern(98, other.size), "the other");
    expect(swap.broken).toBe(undefined);
    for (const bo of [...bos, other]) bo.destroy();
    crumbs.clear();
    expectAllFree(device);
    await device.close();
  });

  test("do so when a device calls back in the middle of a transfer", () => {
    const store = new Map<number, Uint8Array>();
    let meanwhile = () => {};
    const each = (runs: readonly SwapRun[], use: (slot: number, page: Uint8Array) => void) => {
      meanwhile();
      for (const { slot, views } of runs) {
        let next = slot;
        for (const view of views) {
          for (let at = 0; at < view.length; at += PAGE_SIZE) {
            use(next++, view.subarray(at, at + PAGE_SIZE));
          }
        }
      }
    };
    const swap: SyncSwapDevice = {
      name: "calls back",
      slots: 512,
      writeSync: (runs) => each(runs, (slot, page) => store.set(slot, page.slice())),
      readSync: (runs) => each(runs, (slot, page) => page.set(store.get(slot) as Uint8Array)),
    };
    using device = createDeviceSync({ memory: 512 * PAGE_SIZE, swap, transferPages: 16 });
    const crumbs = new Crumbs(device.global, 32);
    const counted = countPacks();
    const first = filled(device, 30, 1);
    const bo = filled(device, 31, 2);
    first.destroy();
    let calls = 0;
    meanwhile = () => {
      calls++;
      crumbs.scatter();
      const large = filled(device, 33, 100 + calls);
      expectSame(contentSync(large), pattern(100 + calls, large.size), "meanwhile");
      large.destroy();
    };
    expect(bo.shrinkSync()).toBe(31);
    expectSame(contentSync(bo), pattern(2, bo.size), "what came back");
    expect(calls).toBe(4);
    expect(counted.packs).toBeGreaterThanOrEqual(4);
    bo.destroy();
    crumbs.clear();
    expectAllFree(device);
  });
});

/** One of a few buffers, of which some user does something at any time. */
class Users {
  readonly #device: Device;
  readonly #random: Random;
  readonly #crumbs: Crumbs;
  #seeds = 0;

  constructor(device: Device, random: Random) {
    this.#device = device;
    this.#random = random;
    this.#crumbs = new Crumbs(device.global, 4);
  }

  async use(steps: number): Promise<void> {
    for (let step = 0; step < steps; step++) {
      const bo = this.#device.createBuffer((5 + this.#random.below(60)) * PAGE_SIZE);
      const bytes = pattern(++this.#seeds, bo.size);
      this.#crumbs.scatter();
      await bo.write(0, bytes);
      for (let i = this.#random.below(4); i > 0; i--) {
        if (this.#random.percent(50)) await bo.shrink();
        const from = this.#random.below(bo.size / PAGE_SIZE) * PAGE_SIZE;
        const part = bytes.subarray(from, from + 3 * PAGE_SIZE);
        const read = await bo.read(from, new Uint8Array(part.length));
        expectSame(read, part, `part of buffer ${bo.id}`);
      }
      expectSame(await content(bo), bytes, `buffer ${bo.id}`);
      bo.destroy();
    }
    this.#crumbs.clear();
  }
}

test("many at once lose nothing while vectors move all the time", () =>
  seeded(async (random) => {
    const swap = new MapSwap({ slots: 512, delay: randomDelay(random) });
    const device = createDeviceSync({ memory: 160 * PAGE_SIZE, swap });
    const counted = countPacks();
    await Promise.all(Array.from({ length: 5 }, () => new Users(device, random).use(12)));
    expect(counted.packs).toBeGreaterThan(0);
    expect(swap.broken).toBe(undefined);
    expectAllFree(device);
    await device.close();
  }));

test("what has no room says what for, and leaves no trace", () => {
  const { device, global } = kit({ memory: 64 });
  const { entries } = global.engine.geometry;
  const pool = new Pool(global);
  const ballast = new Tt(entries - 10);
  expect(global.vectors.add(ballast)).toBe(true);
  const tt = new Tt(11);
  expect(() => populateTtSync(pool, tt)).toThrow(
    /no room for the page vector of a buffer of 11 pages/,
  );
  expect(tt.vector).toBe(-1);
  const fits = written(pool, 10, 1);
  finiTt(pool, fits.tt);
  global.engine.vectorDrop(ballast.vector, ballast.numPages, 0);
  global.vectors.remove(ballast);
  expectAllFree(device);
});
