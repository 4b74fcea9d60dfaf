/* Flags of a tt, and what each event makes of them. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../../src/index.ts";
import {
  finiTt,
  kmapTt,
  type Pool,
  populateTtSync,
  shrinkTtSync,
  TT_FLAG_DONTNEED,
  TT_FLAG_EXTERNAL,
  TT_FLAG_EXTERNAL_MAPPABLE,
  TT_FLAG_PRIV_POPULATED,
  TT_FLAG_PRIV_SHRUNKEN,
  TT_FLAG_SWAPPED,
  TT_FLAG_ZERO_ALLOC,
  type Tt,
  unpopulateTt,
} from "../../../src/ttm.ts";
import { codeOf, Rig, stopAt } from "./rig.ts";
import { STATES, stopped } from "./states.ts";

/** Its state in a line: flags, whether there is a restore state, and the entries. */
function line(rig: Rig, tt: Tt): string {
  const flags = [
    ...(tt.populated ? ["populated"] : []),
    ...(tt.flags & TT_FLAG_PRIV_SHRUNKEN ? ["shrunken"] : []),
    ...(tt.flags & TT_FLAG_SWAPPED ? ["swapped"] : []),
    ...(tt.restore ? ["restoring"] : []),
  ];
  return `${flags.join(" ") || "empty"}: ${rig.shape(tt)}`;
}

describe("tt", () => {
  test("flags have the RFC's bits", () => {
    const bits = [
      TT_FLAG_SWAPPED,
      TT_FLAG_ZERO_ALLOC,
      TT_FLAG_EXTERNAL,
      TT_FLAG_EXTERNAL_MAPPABLE,
      TT_FLAG_DONTNEED,
      TT_FLAG_PRIV_SHRUNKEN,
      TT_FLAG_PRIV_POPULATED,
    ];
    expect(bits.map((flag) => 31 - Math.clz32(flag))).toEqual([0, 1, 2, 3, 4, 30, 31]);
    expect(bits.every((flag) => ((flag >>> 0) & ((flag >>> 0) - 1)) === 0)).toBe(true);
  });

  test("each event leaves the flags, the state and the entries it should", () => {
    using rig = new Rig();
    const tt = rig.tt(5); // orders 2 and 0
    const { pool, swap } = rig;
    const events: [string, () => unknown, string][] = [
      ["populated", () => populateTtSync(pool, tt), "populated: PPPPP"],
      ["written", () => rig.mark(tt), "populated: PPPPP"],
      ["nothing can leave", () => swap.failAt(true, 1), "populated: PPPPP"],
      ["shrunken", () => shrinkTtSync(pool, tt), "shrunken swapped: HHHHH"],
      ["unpopulated", () => unpopulateTt(pool, tt), "shrunken swapped: HHHHH"],
      ["restored", () => populateTtSync(pool, tt), "populated: PPPPP"],
      ["partly shrunken", () => shrunkBy(3), "shrunken swapped: HHHPP"],
      ["restored", () => populateTtSync(pool, tt), "populated: PPPPP"],
      ["shrunken", () => shrinkTtSync(pool, tt), "shrunken swapped: HHHHH"],
      ["stopped", () => stop(3), "shrunken swapped restoring: hhhhH"],
      ["stopped at a border", () => stop(3), "shrunken swapped restoring: PPPPH"],
      ["shrunken", () => shrinkTtSync(pool, tt), "shrunken swapped: HHHHH"],
      ["restored", () => populateTtSync(pool, tt), "populated: PPPPP"],
      ["purged", () => shrinkTtSync(pool, tt, { purge: true }), "empty: "],
      ["populated", () => populateTtSync(pool, tt), "populated: PPPPP"],
      ["unpopulated", () => unpopulateTt(pool, tt), "empty: "],
      ["ended", () => finiTt(pool, tt), "empty: "],
    ];
    function shrunkBy(pages: number): void {
      swap.failAt(true, pages + 1);
      shrinkTtSync(pool, tt);
      swap.forget();
    }
    function stop(k: number): void {
      expect(codeOf(() => populateTtSync(pool, tt, { signal: stopAt(k) }))).toBe("EINTR");
    }
    for (const [event, run, after] of events) {
      if (event === "nothing can leave") {
        run();
        expect(codeOf(() => shrinkTtSync(pool, tt))).toBe("EIO");
        swap.forget();
      } else run();
      expect(line(rig, tt), event).toBe(after);
    }
  });

  test("a shrink that released something clears POPULATED, any other leaves it", () => {
    using rig = new Rig();
    const tt = rig.filled(3);
    rig.swap.failAt(true, 1);
    expect(codeOf(() => shrinkTtSync(rig.pool, tt))).toBe("EIO");
    expect(tt.flags).toBe(TT_FLAG_PRIV_POPULATED);
    expect(shrinkTtSync(rig.pool, tt)).toBe(3);
    expect(tt.flags).toBe(TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED);
    expect(shrinkTtSync(rig.pool, tt)).toBe(0);
    expect(tt.flags).toBe(TT_FLAG_PRIV_SHRUNKEN | TT_FLAG_SWAPPED);
  });

  test("it is swapped, by one question, from the first page that leaves to the last that comes", () => {
    const answers: Record<string, boolean> = {};
    for (const [state, make] of STATES) {
      using rig = new Rig();
      answers[state] = make(rig).swapped;
    }
    expect(Object.values(answers)).toEqual([false, false, true, true, true, true, true, true]);
    using rig = new Rig();
    const tt = rig.filled(1);
    tt.flags = TT_FLAG_SWAPPED;
    expect(tt.swapped).toBe(true);
    tt.flags = TT_FLAG_PRIV_SHRUNKEN;
    expect(tt.swapped).toBe(true);
    tt.flags = TT_FLAG_PRIV_POPULATED;
  });

  test("POPULATED and SHRUNKEN are never both set, and a state means SHRUNKEN", () => {
    for (const [state, make] of STATES) {
      using rig = new Rig();
      const tt = make(rig);
      expect(tt.populated && tt.shrunken, state).toBe(false);
      expect(tt.shrunken).toBe((tt.flags & TT_FLAG_SWAPPED) !== 0);
      if (tt.restore) expect(tt.shrunken).toBe(true);
      expect(tt.populated).toBe(state === "populated");
    }
  });

  test("pages of counted tts are counted while they are held, and no others", () => {
    using rig = new Rig({ dma32: "4 MiB" });
    const { allocated } = rig.global;
    for (const [state, make] of STATES) {
      const tt = make(rig);
      expect(allocated.pages, state).toBe(tt.resident);
      for (let i = 0; i < 2; i++) {
        populateTtSync(rig.pool, tt);
        expect(allocated.pages).toBe(19);
        shrinkTtSync(rig.pool, tt);
        expect(allocated.pages).toBe(0);
      }
      finiTt(rig.pool, tt);
    }
    finiTt(rig.pool, stopped(rig, 4));
    expect(allocated).toEqual({ pages: 0, dma32Pages: 0 });
    rig.filled(3, { flags: TT_FLAG_EXTERNAL });
    expect(allocated.pages).toBe(0);
  });

  test("kmap: views on the pages themselves, a view for each stretch; what is mapped may be written", () => {
    using rig = new Rig({ keepClean: true });
    const tt = rig.filled(19);
    const views = kmapTt(rig.pool, tt);
    expect(views.reduce((sum, view) => sum + view.length, 0)).toBe(19 * PAGE_SIZE);
    const [part] = kmapTt(rig.pool, tt, 17, 1);
    expect(part?.byteOffset).toBe(rig.entries(tt)[17]);
    expect(part?.length).toBe(PAGE_SIZE);
    shrinkTtSync(rig.pool, tt);
    expect(codeOf(() => kmapTt(rig.pool, tt))).toBe("EFAULT");
    populateTtSync(rig.pool, tt);
    rig.swap.forget();
    kmapTt(rig.pool, tt, 3, 2)[0]?.fill(7);
    // Of the others swap has copies still.
    expect(shrinkTtSync(rig.pool, tt)).toBe(19);
    expect(rig.swap.writes.length).toBeGreaterThanOrEqual(2);
    expect(rig.swap.writes.length).toBeLessThan(19);
    populateTtSync(rig.pool, tt);
    expect(new Uint8Array(rig.words(tt, 3).buffer, rig.entries(tt)[3], 1)[0]).toBe(7);
    for (const [first, count] of [
      [-1, 1],
      [0, 0],
      [0, 20],
      [19, 1],
      [0.5, 1],
      [0, Number.NaN],
    ] as const) {
      expect(() => kmapTt(rig.pool, tt, first, count), `${first}, ${count}`).toThrow(RangeError);
    }
    for (const odd of [1n, Symbol("1"), "0", {}] as unknown as number[]) {
      expect(() => kmapTt(rig.pool, tt, odd)).toThrow(/^first must be a whole number/);
      expect(() => kmapTt(rig.pool, tt, 0, odd)).toThrow(/^count must be a whole number/);
    }
    for (const call of [populateTtSync, kmapTt, finiTt]) {
      expect(() => call({} as Pool, tt)).toThrow("pool must be a Pool");
      expect(() => call(rig.pool, undefined as unknown as Tt)).toThrow("tt must be a Tt");
    }
    finiTt(rig.pool, tt);
    expect(codeOf(() => kmapTt(rig.pool, tt))).toBe("EFAULT");
  });
});
