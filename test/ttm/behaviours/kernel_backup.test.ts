/* What the kernel has today between a tt and its backup: here the swap device. */
import { describe, expect, test } from "vitest";
import { type BufferObject, PAGE_SIZE, TtmError } from "../../../src/index.ts";
import { finiTt, populateTt, populateTtSync, shrinkTt, shrinkTtSync } from "../../../src/ttm.ts";
import { abortAt, codeOf, codeOfAsync, Rig } from "./rig.ts";

/** The error that `run` throws. */
function errorOf(run: () => unknown): unknown {
  try {
    run();
  } catch (error) {
    return error;
  }
  return undefined;
}

describe("kernel today: backup", () => {
  test("what the device throws is told by its code, with the operation and the cause", () => {
    using rig = new Rig();
    const tt = rig.filled(2);
    const cause = Object.assign(new Error("the disk is full"), { code: "ENOSPC" });
    const odd = Object.assign(new Error("the disk is odd"), { code: "EODD" });
    let thrown: unknown = cause;
    rig.swap.before = () => {
      throw thrown;
    };
    const error = errorOf(() => shrinkTtSync(rig.pool, tt));
    expect(error).toBeInstanceOf(TtmError);
    expect(error).toMatchObject({ code: "ENOSPC", errno: -28, op: "shrink", cause });
    thrown = odd;
    expect(errorOf(() => shrinkTtSync(rig.pool, tt))).toMatchObject({ code: "EIO", cause: odd });
    rig.swap.forget();
    shrinkTtSync(rig.pool, tt);
    rig.swap.before = () => {
      throw thrown;
    };
    const side = { code: "EIO", op: "restore", cause: odd };
    expect(errorOf(() => populateTtSync(rig.pool, tt))).toMatchObject(side);
    rig.swap.forget();
  });

  test("reading a page back does not drop it: as often as it fails, it can be read again", () => {
    using rig = new Rig();
    const tt = rig.filled(3);
    shrinkTtSync(rig.pool, tt);
    for (let attempt = 0; attempt < 5; attempt++) {
      rig.swap.failAt(false, 1);
      expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EIO");
      expect(rig.facts().slots).toBe(3);
    }
    rig.swap.forget();
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("a page that comes back as another one is EIO and not shown; read right, it is", () => {
    using rig = new Rig({ checksums: true });
    const tt = rig.filled(4);
    shrinkTtSync(rig.pool, tt);
    const page = rig.swap.stored.get(3) as Uint8Array;
    page[100] = (page[100] as number) ^ 1;
    for (let attempt = 0; attempt < 2; attempt++) {
      const error = errorOf(() => populateTtSync(rig.pool, tt));
      expect(error).toMatchObject({ code: "EIO", op: "restore" });
      expect(String(error)).toContain("page 2");
      expect(String(error)).toContain("slot 3");
      expect(tt.restore).toMatchObject({ cursor: 0, read: 2 });
    }
    page[100] = (page[100] as number) ^ 1;
    populateTtSync(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("how much can still leave is known before anything is tried", () => {
    using rig = new Rig({ slots: 20 });
    const tt = rig.filled(19);
    expect(rig.device.stats().slots).toEqual({ total: 20, free: 20 });
    shrinkTtSync(rig.pool, tt);
    expect(rig.device.stats().slots).toEqual({ total: 20, free: 1 });
    finiTt(rig.pool, tt);
    expect(rig.device.stats().slots).toEqual({ total: 20, free: 20 });
  });

  test("nobody is asked to write back: swap ends with the process", async () => {
    await using rig = new Rig({ watermarks: { min: 0, low: 8, high: 16 } });
    rig.buffers(1, 30);
    expect(rig.device.shrinkSync()).toBe(30);
    const [bo] = rig.buffers(1, 60) as [BufferObject];
    expect(rig.device.kswapd.running).toBe(true);
    while (rig.device.kswapd.running) await new Promise((resolve) => setTimeout(resolve, 0));
    expect(rig.global.engine.freePages).toBeGreaterThanOrEqual(16);
    expect(rig.swap.flushed).toBe(0);
    rig.expectFilled(bo);
  });

  test("where nothing may be waited for it is EWOULDBLOCK, and nothing changed", async () => {
    await using rig = new Rig({ async: true });
    const tt = rig.filled(3);
    const before = rig.snapshot(tt);
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("EWOULDBLOCK");
    expect(rig.snapshot(tt)).toEqual(before);
    expect(await shrinkTt(rig.pool, tt)).toBe(3);
    const entries = rig.entries(tt);
    expect(codeOf(() => populateTtSync(rig.pool, tt))).toBe("EWOULDBLOCK");
    expect(rig.entries(tt)).toEqual(entries);
    await populateTt(rig.pool, tt);
    rig.expectMarked(tt);
    expect(shrinkTtSync(rig.pool, tt, { purge: true })).toBe(3);
  });

  test("an asynchronous read that fails or is stopped loses nothing either", async () => {
    await using rig = new Rig({ async: true });
    const tt = rig.filled(5);
    rig.swap.failAt(true, 3);
    expect(await shrinkTt(rig.pool, tt)).toBe(2);
    rig.swap.forget();
    expect(await shrinkTt(rig.pool, tt)).toBe(3);
    rig.swap.failAt(false, 2);
    expect(await codeOfAsync(populateTt(rig.pool, tt))).toBe("EIO");
    expect(await codeOfAsync(populateTt(rig.pool, tt, { signal: abortAt(3) }))).toBe("EINTR");
    rig.swap.forget();
    await populateTt(rig.pool, tt);
    rig.expectMarked(tt);
  });

  test("pages go to the device as they lie: views on the memory, nothing in between", () => {
    using rig = new Rig();
    const memory = rig.global.engine.view(0, PAGE_SIZE).buffer;
    const tt = rig.filled(1);
    const [address] = rig.entries(tt);
    shrinkTtSync(rig.pool, tt);
    expect(rig.swap.views.map((view) => [view.buffer === memory, view.byteOffset])).toEqual([
      [true, address],
    ]);
    populateTtSync(rig.pool, tt);
    expect(rig.swap.views.map((view) => [view.buffer === memory, view.byteOffset])).toEqual([
      [true, rig.entries(tt)[0]],
    ]);
  });
});
