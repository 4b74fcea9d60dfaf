/* The pool's side of the contract of swap devices: many operations, several calls in flight, stores that fail. */
import { afterEach, describe, expect, test } from "vitest";
import { type BufferObject, PAGE_SIZE } from "../../src/index.ts";
import { type ScriptedSwap, scriptedSwap } from "../../src/testing.ts";
import { finiTt, Pool, populateTt, swapoutTt, Tt } from "../../src/ttm.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { expectRest } from "../support/crowd.ts";
import { Gate, settles, turn, until } from "../support/delays.ts";
import { fails, failsSync, systemError } from "../support/errors.ts";
import {
  endOf,
  expectContent,
  expectRulesKept,
  filled,
  inSwap,
  open,
  scripted,
} from "../support/scripted.ts";
import { expectContent as expectTt, writeContent } from "../ttm/support/subject.ts";

afterEach(expectRulesKept);

describe("a store that is full in the middle of several calls", () => {
  test("keeps what the others of them stored", async () => {
    for (let capacity = 1; capacity <= 31; capacity++) {
      const swap = scripted({ queueDepth: 4, capacity });
      const device = await open(swap, 64, { transferPages: 8 });
      const bo = await filled(device, 32, 1);
      let gate: Gate | undefined = new Gate();
      // The first one is the last to be served.
      swap.script = ({ kind, index }) =>
        kind === "write" && index === 1 && gate ? { wait: gate.pass() } : undefined;
      const shrinking = bo.shrink();
      await until(() => swap.calls.length === 4);
      await turn();
      gate.open();
      gate = undefined;
      expect(await settles(shrinking)).toBe(capacity);
      expect(device.stats().slots).toEqual({ total: capacity, free: 0 });
      await expectContent(bo, 1);
      bo.destroy();
      expect(swap.pages.size).toBe(0);
      await endOf(device, []);
    }
  });

  test("refuses in any order, with many buffers in memory", async () => {
    for (const queueDepth of [1, 2, 3, 8]) {
      const swap = scripted({ queueDepth, capacity: 100 });
      let call = 0;
      swap.script = () => ({ wait: [3, 0, 2, 1][call++ % 4] as number });
      const device = await open(swap, 256, { transferPages: 16 });
      const bos: BufferObject[] = [];
      for (let i = 0; i < 40; i++) bos.push(await filled(device, 6, i));
      expect(await settles(device.shrink())).toBe(100);
      expect(device.stats().slots).toEqual({ total: 100, free: 0 });
      for (const [i, bo] of bos.entries()) await expectContent(bo, i);
      await endOf(device, bos);
    }
  });

  test("is found out about once: what fails with EIO beside it is not lost", async () => {
    const swap = scripted({ queueDepth: 3 });
    const device = await open(swap, 64, { transferPages: 8 });
    const bo = await filled(device, 24, 1);
    swap.script = ({ index }) => (index === 2 ? { wait: 1, error: systemError("EIO") } : {});
    expect(await bo.shrink()).toBe(8);
    device.check();
    swap.script = undefined;
    expect(await bo.shrink()).toBe(16);
    await expectContent(bo, 1);
    await endOf(device, [bo]);
  });

  test("fails a swapout as full, when slots run out while pages of the same tt are on their way", async () => {
    const swap = scripted({ slots: 1024, queueDepth: 8 });
    const device = await open(swap, 2048);
    const pool = new Pool(device.global);
    const tt = new Tt(600);
    await populateTt(pool, tt);
    await swapoutTt(pool, tt);
    // It comes back clean, and is written: what it kept in swap is given up.
    await populateTt(pool, tt);
    writeContent(pool, tt, pattern(2, 600 * PAGE_SIZE));
    const [other] = (await inSwap(device, 512)) as [BufferObject];
    await fails("ENOSPC", swapoutTt(pool, tt));
    expect(tt.populated).toBe(true);
    expectTt(pool.global, tt, pattern(2, 600 * PAGE_SIZE));
    await expectContent(other, 0);
    finiTt(pool, tt);
    await endOf(device, [other]);
  });
});

test("a shrink goes on to the next buffer while all that the first one has is on its way", async () => {
  const swap = scripted({ slots: 4096, queueDepth: 8 });
  const device = await open(swap, 4096, { keepClean: false });
  const [first] = (await inSwap(device, 600)) as [BufferObject];
  let reads = 0;
  swap.script = ({ kind }) => (kind === "read" && ++reads > 2 ? { error: systemError("EIO") } : {});
  await fails("EIO", content(first));
  expect(first.residentPages).toBe(512);
  const second = await filled(device, 300, 1);
  const gate = new Gate();
  swap.script = ({ kind }) => (kind === "write" ? { wait: gate.pass() } : undefined);
  const shrinking = device.shrink();
  await until(() => gate.waiting === 4);
  gate.open();
  expect(await settles(shrinking)).toBe(812);
  swap.script = undefined;
  await expectContent(first, 0);
  await expectContent(second, 1);
  await endOf(device, [first, second]);
});

describe("a store with both pairs", () => {
  /** Slots above 8 are served by its slow part only. */
  function twoParts(gate: Gate): ScriptedSwap {
    return scripted({
      pairs: "both",
      queueDepth: 2,
      script: ({ runs, kind, sync }) =>
        kind !== "discard" && runs.some(({ slot, pages }) => slot + pages - 1 > 8)
          ? { wait: sync ? 1 : gate.pass() }
          : undefined,
    });
  }

  test("serves Sync calls where it can, and async ones always", async () => {
    const gate = new Gate();
    const swap = twoParts(gate);
    const device = await open(swap, 64, { transferPages: 4 });
    const bo = await filled(device, 16, 1);
    expect(bo.shrinkSync()).toBe(8);
    failsSync("EWOULDBLOCK", () => bo.shrinkSync());
    const shrinking = bo.shrink();
    await until(() => gate.waiting === 2);
    gate.open();
    expect(await settles(shrinking)).toBe(8);
    failsSync("EWOULDBLOCK", () => bo.readSync(0, new Uint8Array(bo.size)));
    expect(bo.residentPages).toBeGreaterThanOrEqual(8);
    await expectContent(bo, 1);
    await endOf(device, [bo]);
  });

  test("serves Sync calls while as many others are in flight as it likes", async () => {
    const gate = new Gate();
    const swap = twoParts(gate);
    const device = await open(swap, 64, { transferPages: 4 });
    const small = await filled(device, 4, 1);
    await small.shrink();
    const big = await filled(device, 16, 2);
    const shrinking = big.shrink();
    await until(() => gate.waiting === 2);
    expectSame(small.readSync(0, new Uint8Array(small.size)), pattern(1, small.size), "small");
    gate.open();
    await settles(shrinking);
    await expectContent(big, 2);
    await endOf(device, [small, big]);
  });
});

describe("hibernation with several calls in flight", () => {
  test("goes on after errors in the middle: no page is read twice that came back", async () => {
    const swap = scripted({ queueDepth: 8 });
    const device = await open(swap, 512, { transferPages: 4 });
    const bos: BufferObject[] = [];
    for (let i = 0; i < 40; i++) bos.push(await filled(device, 1 + (i % 9), i));
    const pages = bos.reduce((sum, { size }) => sum + size / PAGE_SIZE, 0);
    let calls = 0;
    swap.script = () => (++calls % 7 === 3 ? { wait: 1, error: systemError("EIO") } : { wait: 0 });
    let released = 0;
    while (released < pages) released += await device.hibernate().catch(() => 0);
    expect(device.stats().pages.free).toBe(512);
    for (let failures = 0; ; failures++) {
      const before = device.stats().pagesIn;
      const failed = await device.resume().then(
        () => false,
        () => true,
      );
      device.check();
      if (!failed) break;
      expect(failures).toBeLessThan(50);
      expect(device.stats().pagesIn).toBeGreaterThanOrEqual(before);
    }
    expect(device.stats().pagesIn).toBe(pages);
    swap.script = undefined;
    for (const [i, bo] of bos.entries()) await expectContent(bo, i);
    await endOf(device, bos);
  });

  test("is stopped by a signal, and the rest comes back later", async () => {
    const swap = scripted({ queueDepth: 8 });
    const device = await open(swap, 512, { transferPages: 4 });
    const bos: BufferObject[] = [];
    for (let i = 0; i < 60; i++) bos.push(await filled(device, 8, i));
    expect(await device.hibernate()).toBe(480);
    const abort = new AbortController();
    let reads = 0;
    swap.script = () => {
      if (++reads === 40) abort.abort("later");
      return { wait: 1, heeds: true };
    };
    const error = await fails("EINTR", device.resume({ signal: abort.signal }));
    expect(error.cause).toBe("later");
    expect(device.stats().pages.free).toBeGreaterThan(0);
    await settles(device.resume());
    expect(device.stats().pages.free).toBe(32);
    expect(swap.mostInFlight).toBe(8);
    for (const [i, bo] of bos.entries()) await expectContent(bo, i);
    await endOf(device, bos);
  });
});

test("reads that fail in the middle of several keep what came before, and go on there", async () => {
  const swap = scripted({ queueDepth: 3 });
  const device = await open(swap, 64, { transferPages: 8 });
  const [bo] = (await inSwap(device, 24)) as [BufferObject];
  let reads = 0;
  swap.script = ({ kind }) => {
    if (kind !== "read") return undefined;
    return ++reads === 2 ? { error: systemError("EIO") } : { wait: 1 };
  };
  await fails("EIO", content(bo));
  expect([reads, device.stats().pagesIn]).toEqual([3, 8]);
  device.check();
  await expectContent(bo, 0);
  expect([reads, device.stats().pagesIn]).toEqual([5, 24]);
  await endOf(device, [bo]);
});

test("a background loop whose writes never settle keeps nobody from closing", async () => {
  const swap = scriptedSwap({ slots: 256, pairs: "async", queueDepth: 2 });
  const device = await open(swap, 64, { watermarks: { min: 1, low: 16, high: 32 } });
  swap.script = ({ kind }) =>
    kind === "write" ? { wait: new Promise(() => {}), heeds: false } : undefined;
  const bos = Array.from({ length: 7 }, () => device.createBuffer(8 * PAGE_SIZE));
  for (const [i, bo] of bos.entries()) await bo.write(0, pattern(i, bo.size));
  await until(() => swap.calls.length > 0);
  const lacking = fails("EINTR", device.createBuffer(60 * PAGE_SIZE).populate());
  await turn();
  await settles(device.close({ force: true }).catch(() => {}));
  await settles(lacking);
  expect(swap.broken).toMatch(/^close with [12] calls in flight/);
});

test("hundreds of users of 32 pages of memory are all served", async () => {
  for (const pairs of ["async", "both"] as const) {
    const swap = scripted({ pairs, queueDepth: 8 });
    let calls = 0;
    swap.script = ({ sync }) => (sync && ++calls % 2 === 0 ? undefined : { wait: calls % 3 });
    const device = await open(swap, 32, { watermarks: { min: 1, low: 4, high: 8 } });
    const bos = Array.from({ length: 200 }, (_, i) =>
      device.createBuffer((1 + (i % 4)) * PAGE_SIZE),
    );
    await settles(Promise.all(bos.map((bo, i) => bo.write(0, pattern(i, bo.size)))));
    await settles(Promise.all(bos.map((bo, i) => expectContent(bo, i))));
    await settles(Promise.all([...bos].reverse().map((bo) => bo.write(0, pattern(7, 3)))));
    await until(() => !device.kswapd.running);
    expectRest(device);
    await endOf(device, bos);
  }
});

describe("the kernel's layer", () => {
  test("has several calls in flight for one tt, and brings back what a failed swapout moved", async () => {
    const swap = scripted({ queueDepth: 8 });
    const device = await open(swap, 256, { transferPages: 8 });
    const pool = new Pool(device.global);
    const tt = new Tt(100, { dma: true });
    const bytes = pattern(1, 100 * PAGE_SIZE);
    await populateTt(pool, tt);
    for (let failing = 1; failing <= 13; failing++) {
      writeContent(pool, tt, bytes);
      let writes = 0;
      swap.script = ({ kind, index }) => {
        const wait = index % 3;
        if (kind === "write" && ++writes === failing) return { wait, error: systemError("EIO") };
        return { wait };
      };
      await fails("EIO", swapoutTt(pool, tt));
      expect(tt.populated).toBe(true);
      expectTt(device.global, tt, bytes);
      device.check();
    }
    swap.script = ({ index }) => ({ wait: index % 3 });
    expect(await swapoutTt(pool, tt)).toBe(100);
    expect(swap.mostInFlight).toBe(8);
    await populateTt(pool, tt);
    expectTt(device.global, tt, bytes);
    finiTt(pool, tt);
    pool.close();
    await endOf(device, []);
  });
});

test("a write that waited for a discard waits for the next one, too, however soon that is begun", async () => {
  for (let delay = 0; delay < 12; delay++) {
    const swap = scripted({ queueDepth: 4 });
    const device = await open(swap, 64, { keepClean: false });
    const [first, second, rest] = (await inSwap(device, 60, 40, 1)) as [
      BufferObject,
      BufferObject,
      BufferObject,
    ];
    const leaving = await filled(device, 8, 7);
    const gates = [new Gate(), new Gate()];
    let discards = 0;
    swap.script = ({ kind }) =>
      kind === "discard" ? { wait: (gates[discards++] as Gate).pass() } : undefined;
    first.destroy();
    expect(discards).toBe(1);
    const shrinking = leaving.shrink();
    await turn();
    gates[0]?.open();
    for (let i = 0; i < delay; i++) await undefined;
    second.destroy();
    expect(discards).toBe(2);
    await turn();
    gates[1]?.open();
    expect(await settles(shrinking)).toBe(8);
    expect(swap.broken).toBeUndefined();
    await expectContent(leaving, 7);
    await expectContent(rest, 2);
    swap.script = undefined;
    await endOf(device, [leaving, rest]);
  }
});
