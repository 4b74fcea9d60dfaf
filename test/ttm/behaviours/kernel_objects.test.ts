/* What the kernel has today around objects: shrinking them, the LRU and its walk, hibernation. */
import { describe, expect, test } from "vitest";
import { type BufferObject, PAGE_SIZE } from "../../../src/index.ts";
import { Lru, type LruNode } from "../../../src/lru.ts";
import { runSync } from "../../../src/ttm/work.ts";
import { SHRINK_EMPTY, SHRINK_STOP } from "../../../src/ttm.ts";
import { abortAt, codeOf, codeOfAsync, idsOf, Rig, residentOf, stopAt } from "./rig.ts";

type Three = [BufferObject, BufferObject, BufferObject];
const control = (nrToScan: number) => ({ nrToScan, nrScanned: nrToScan, kswapd: false });

function scanOnce({ global, device }: Rig, how: ReturnType<typeof control>): number {
  const scan = device.reclaimer.scanObjects(how);
  if (typeof scan === "number") return scan;
  runSync(global, { op: "shrink", signal: undefined }, scan);
  return scan.freed;
}

class Node implements LruNode {
  readonly pages = 1;
  lruPrev: LruNode | undefined;
  lruNext: LruNode | undefined;
  lru: Lru<LruNode> | undefined;
  readonly name: string;

  constructor(name: string) {
    this.name = name;
  }
}

function listOf(names: string): { list: Lru<Node>; nodes: Record<string, Node> } {
  const list = new Lru<Node>();
  const nodes: Record<string, Node> = {};
  for (const name of names) {
    const node = new Node(name);
    nodes[name] = node;
    list.touch(node);
  }
  return { list, nodes };
}

const names = (list: Lru<Node>) => Array.from(list.walk(), (node) => node.name).join("");

describe("kernel today: objects", () => {
  test("a pinned or mapped buffer is not suitable: EBUSY by itself, passed over by a walk", () => {
    using rig = new Rig();
    const [a, b, c] = rig.buffers(3, 2) as Three;
    a.pinSync();
    using mapping = b.mapSync();
    for (const bo of [a, b]) expect(codeOf(() => bo.shrinkSync())).toBe("EBUSY");
    expect(rig.device.shrinkSync()).toBe(2);
    expect([a, b, c].map((bo) => bo.residentPages)).toEqual([2, 2, 0]);
    mapping.unmap();
    expect(rig.device.shrinkSync()).toBe(2);
    expect(b.residentPages).toBe(0);
  });

  test("one that somebody works on is not waited for: a walk only tries its lock", () => {
    using rig = new Rig();
    const [a, b, c] = rig.buffers(3, 2) as Three;
    a.tt.lock.tryLock();
    expect(rig.device.shrinkSync()).toBe(4);
    expect([a, b, c].map((bo) => bo.residentPages)).toEqual([2, 0, 0]);
    expect(codeOf(() => a.shrinkSync())).toBe("EBUSY");
    a.tt.lock.unlock();
  });

  test("errors keep their code instead of becoming EBUSY", () => {
    for (const code of ["EIO", "ENOSPC", "ENOMEM"] as const) {
      using rig = new Rig();
      const [bo] = rig.buffers(1, 2) as [BufferObject];
      rig.swap.failAt(true, 1, code);
      expect(codeOf(() => bo.shrinkSync())).toBe(code);
      rig.swap.failAt(true, 1, code);
      expect(codeOf(() => rig.device.shrinkSync())).toBe(code);
      expect(codeOf(() => bo.shrinkSync({ signal: stopAt(1) }))).toBe("EINTR");
    }
  });

  test("a shrink without a signal is not stopped, one with a signal may be", async () => {
    await using rig = new Rig({ async: true });
    const [bo] = rig.buffers(1, 4) as [BufferObject];
    const stopped = bo.shrink({ signal: abortAt(4) });
    expect(await stopped).toBe(1);
    expect(await codeOfAsync(bo.shrink({ signal: abortAt(1) }))).toBe("EINTR");
    expect(await bo.shrink()).toBe(3);
  });

  test("what a list of buffers says: evictable while it holds pages and is not pinned", () => {
    using rig = new Rig();
    const { reclaimer } = rig.device;
    expect(reclaimer.countObjects()).toBe(SHRINK_EMPTY);
    const [a, b] = rig.buffers(2, 3) as [BufferObject, BufferObject];
    expect(reclaimer.resources.counts).toEqual({ purgeable: 0, shrinkable: 2, unevictable: 0 });
    expect(reclaimer.countObjects()).toBe(6);
    a.pinSync();
    b.shrinkSync();
    expect(reclaimer.resources.counts).toEqual({ purgeable: 0, shrinkable: 0, unevictable: 2 });
    expect(reclaimer.countObjects()).toBe(SHRINK_EMPTY);
    a.unpin();
    b.populateSync();
    expect(reclaimer.resources.counts).toEqual({ purgeable: 0, shrinkable: 2, unevictable: 0 });
  });

  test("lower priorities leave first, then the least recently used", () => {
    using rig = new Rig();
    const [high] = rig.buffers(1, 16, { priority: 1 }) as [BufferObject];
    const [low, low2] = rig.buffers(2, 16, { priority: 0 }) as [BufferObject, BufferObject];
    low.readSync(0, new Uint8Array(1));
    const left = [];
    while (rig.device.shrinkSync({ pages: 1 }) > 0) {
      left.push([high, low, low2].map((bo) => bo.residentPages));
    }
    // One of them at a time: a reclaim takes 16 pages at least.
    expect(left).toEqual([
      [16, 16, 0],
      [16, 0, 0],
      [0, 0, 0],
    ]);
    for (const bo of [high, low, low2]) bo.populateSync();
    expect(residentOf(rig.device)).toEqual(idsOf([low, low2, high]));
    low.readSync(0, new Uint8Array(1));
    expect(residentOf(rig.device)).toEqual(idsOf([low2, low, high]));
  });

  test("a walk shows each member once, from the least recently used on", () => {
    const { list, nodes } = listOf("abcd");
    let seen = "";
    for (const node of list.walk()) {
      seen += node.name;
      list.touch(node);
      if (node.name === "b") list.touch(nodes.d as Node);
    }
    expect(seen).toBe("abc"); // d was used meanwhile
    expect(names(list)).toBe("abdc");
    expect(list.size).toBe(4);
  });

  test("a walk goes on whatever happens to the list between two members", () => {
    const { list, nodes } = listOf("abcdef");
    const other = new Lru<Node>();
    let seen = "";
    for (const node of list.walk()) {
      seen += node.name;
      if (node.name === "a") for (const name of "ab") list.remove(nodes[name] as Node);
      if (node.name === "c") other.touch(nodes.d as Node);
      if (node.name === "e") {
        expect(names(list)).toBe("cef");
        list.touch(new Node("g"));
      }
    }
    expect(seen).toBe("acef");
    expect(names(list)).toBe("cefg");
    expect(names(other)).toBe("d");
  });

  test("a walk that is left early leaves no trace, and an empty list has none", () => {
    const { list, nodes } = listOf("abc");
    for (const node of list.walk()) if (node.name === "b") break;
    expect(() => {
      for (const _ of list.walk()) throw new Error("left");
    }).toThrow("left");
    expect(names(list)).toBe("abc");
    expect(list.size).toBe(3);
    expect([nodes.a?.lruPrev, nodes.c?.lruNext]).toEqual([undefined, undefined]);
    expect(names(new Lru<Node>())).toBe("");
  });

  test("a walk ends when enough is released", () => {
    using rig = new Rig();
    const [a, b, c] = rig.buffers(3, 16) as Three;
    expect(rig.device.shrinkSync({ pages: 32 })).toBe(32);
    expect([a, b, c].map((bo) => bo.residentPages)).toEqual([0, 0, 16]);
  });

  test("one that is destroyed while it is worked on is freed by whoever holds it last", async () => {
    await using rig = new Rig({ async: true });
    const [a] = rig.buffers(1, 8) as [BufferObject];
    const shrinking = a.shrink();
    await Promise.resolve();
    a.destroy();
    await expect(shrinking).rejects.toThrow(TypeError);
    expect(rig.facts()).toMatchObject({ held: 0, slots: 0, broken: undefined });
    expect(rig.device.reclaimer.resources.counts).toEqual({
      purgeable: 0,
      shrinkable: 0,
      unevictable: 0,
    });
  });

  test("hibernation moves out what can be moved, first to last, and tells how much", async () => {
    using rig = new Rig();
    const [a, b, c] = rig.buffers(3, 4) as Three;
    b.pinSync();
    expect(await rig.device.hibernate()).toBe(8);
    expect([a, b, c].map((bo) => bo.residentPages)).toEqual([0, 4, 0]);
    expect(await rig.device.hibernate()).toBe(0);
  });

  test("what hibernation moved out comes back, and nothing else does", async () => {
    using rig = new Rig();
    const [a, b, c] = rig.buffers(3, 4) as Three;
    const [d] = rig.buffers(1, 4) as [BufferObject];
    a.shrinkSync();
    d.pinSync();
    expect(await rig.device.hibernate()).toBe(8);
    d.unpin();
    d.shrinkSync();
    rig.swap.failAt(false, 6);
    expect(await codeOfAsync(rig.device.resume())).toBe("EIO");
    await rig.device.resume();
    expect([a, b, c, d].map((bo) => bo.residentPages)).toEqual([0, 4, 4, 0]);
    for (const bo of [a, b, c]) rig.expectFilled(bo);
  });

  test("what hibernation moved out comes back whole, however many ask at once and fail on the way", async () => {
    for (let k = 1; k <= 16; k++) {
      using rig = new Rig();
      const buffers = rig.buffers(4, 4);
      expect(await rig.device.hibernate()).toBe(16);
      rig.swap.failAt(false, k);
      await Promise.allSettled([rig.device.resume(), rig.device.resume(), rig.device.resume()]);
      rig.swap.forget();
      await rig.device.resume();
      expect(
        buffers.map((bo) => bo.residentPages),
        `page ${k} failed`,
      ).toEqual([4, 4, 4, 4]);
      for (const bo of buffers) rig.expectFilled(bo);
    }
  });

  test("hibernation that cannot go on tells why when nothing was moved", async () => {
    using rig = new Rig();
    const [a] = rig.buffers(1, 4) as [BufferObject];
    rig.swap.failAt(true, 1);
    expect(await codeOfAsync(rig.device.hibernate())).toBe("EIO");
    expect(a.residentPages).toBe(4);
  });

  test("the shrinker counts what there may be, or says that there is nothing", () => {
    using rig = new Rig();
    const { reclaimer } = rig.device;
    expect(reclaimer.countObjects()).toBe(SHRINK_EMPTY);
    expect(scanOnce(rig, control(8))).toBe(SHRINK_STOP);
    const [bo] = rig.buffers(1, 4) as [BufferObject];
    expect(reclaimer.countObjects()).toBe(4);
    bo.advise("dontneed");
    expect(reclaimer.countObjects()).toBe(4);
    bo.pinSync();
    expect(reclaimer.countObjects()).toBe(SHRINK_EMPTY);
  });

  test("a scan purges before it shrinks, whatever was used when", () => {
    using rig = new Rig();
    const [a, b, c] = rig.buffers(3, 16) as Three;
    c.advise("dontneed");
    const scan = control(16);
    expect(scanOnce(rig, scan)).toBe(16);
    expect([a, b, c].map((bo) => bo.residentPages)).toEqual([16, 16, 0]);
    expect(rig.swap.writes).toEqual([]);
    expect(scan.nrScanned).toBe(16);
  });

  test("a scan tells apart what it tried and what it freed", () => {
    using rig = new Rig();
    rig.buffers(3, 16);
    rig.swap.failAt(true, 6);
    const scan: { nrScanned: number; failure?: unknown } = control(32);
    expect(scanOnce(rig, scan as ReturnType<typeof control>)).toBe(5);
    expect(scan.nrScanned).toBe(32);
    expect(scan.failure).toBeDefined();
  });

  test("dontneed and willneed: content goes only under pressure, and the answer says if it did", () => {
    using rig = new Rig();
    const [a, b] = rig.buffers(2, 4) as [BufferObject, BufferObject];
    expect(a.advise("dontneed")).toBe(true);
    expect(rig.device.reclaimer.resources.counts).toEqual({
      purgeable: 1,
      shrinkable: 1,
      unevictable: 0,
    });
    expect(a.advise("willneed")).toBe(true);
    expect(rig.device.reclaimer.resources.counts).toEqual({
      purgeable: 0,
      shrinkable: 2,
      unevictable: 0,
    });
    a.advise("dontneed");
    expect(rig.device.shrinkSync({ pages: 4 })).toBe(4);
    expect(a.advise("willneed")).toBe(false);
    rig.expectFilled(a, 0);
    a.writeSync(0, new Uint8Array(a.size).fill(7));
    expect(a.advise("willneed")).toBe(true); // it has content again
    a.shrinkSync();
    rig.expectFilled(a, 7);
    // In swap, it goes at once.
    b.shrinkSync();
    expect(b.advise("dontneed")).toBe(false);
    expect(rig.facts().slots).toBe(0);
  });

  test("every page and slot is accounted for when the last buffer is gone", () => {
    using rig = new Rig();
    const bos = rig.buffers(4, 5);
    bos[0]?.shrinkSync();
    rig.swap.failAt(true, 3);
    bos[1]?.shrinkSync();
    rig.swap.failAt(false, 3);
    expect(codeOf(() => bos[0]?.populateSync())).toBe("EIO");
    for (const bo of bos) bo.destroy();
    expect(rig.device.stats()).toMatchObject({
      buffers: 0,
      pages: { free: 64 },
      slots: { free: 64 },
    });
    expect(rig.global.allocated).toEqual({ pages: 0, dma32Pages: 0 });
    expect(bos[0]?.size).toBe(5 * PAGE_SIZE);
  });
});
