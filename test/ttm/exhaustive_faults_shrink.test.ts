/*
 * Whatever a shrink needs is refused once, at every place where it is asked for: swap slots, by a fault and
 * because there are none, and writes, by a fault, a device, a signal.
 */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../../src/index.ts";
import {
  type FaultSite,
  finiTt,
  populateTtSync,
  shrinkTtSync,
  swapoutTtSync,
  Tt,
} from "../../src/ttm.ts";
import { CountingSignal } from "../support/signals.ts";
import { FAULT_CODES, withFault } from "./support/faults.ts";
import { expectInvariants } from "./support/invariants.ts";
import {
  expectContent,
  SHAPES,
  type Shape,
  SMALLER_SHAPES,
  Subject,
  TITLE,
  ttmErrorOf,
  writeContent,
} from "./support/subject.ts";

const SITES: readonly { site: FaultSite }[] = [{ site: "slot" }, { site: "write" }];

/** Populated; and, if the shape says so, shrunken in part before. */
function ready(subject: Subject): void {
  subject.populate();
  if (subject.shape.partly) subject.shrink();
}

/** Shrinks; what it returns is what left and what came into swap, and an error means: nothing. */
function shrinkWhole(subject: Subject): { released: number; code?: string } {
  const { tt, global } = subject;
  const { resident } = tt;
  const stored = global.stats.pagesOut + global.stats.pagesClean;
  let released = 0;
  const error = ttmErrorOf(() => {
    released = subject.shrinkTt();
    expect(released).toBeGreaterThan(0);
  });
  expect(resident - tt.resident).toBe(released);
  expect(global.stats.pagesOut + global.stats.pagesClean - stored).toBe(released);
  return error ? { released, code: error.code } : { released };
}

/** Shrinks with a fault at call `k` of a site; false when there was no such call. */
function attempt(subject: Subject, site: FaultSite, k: number): boolean {
  const { global, tt } = subject;
  const { resident } = tt;
  const { fired } = withFault(global, { site, k }, () => {
    const { released, code } = shrinkWhole(subject);
    if (code !== undefined) expect(code).toBe(FAULT_CODES[site]);
    expect(code === undefined).toBe(released > 0);
    if (site === "write") expect(released).toBe(Math.min(k, resident));
  });
  expect(tt.resident === 0).toBe(!fired);
  return fired;
}

describe.each(SITES)("a shrink to which $site is refused once releases what it had", ({ site }) => {
  test.each(SHAPES)(`and the rest in a second attempt: ${TITLE}`, (shape) => {
    const subject = new Subject(shape);
    ready(subject);
    let k = 0;
    for (; attempt(subject, site, k); k++) {
      subject.expectInvariants();
      subject.fast(() => shrinkWhole(subject));
      expect(subject.tt.resident).toBe(0);
      subject.expectInvariants();
      subject.restore();
      subject.expectContent();
      subject.pool.dirty(subject.tt, 0, shape.pages, false);
      if (shape.partly) subject.shrink();
    }
    if (site === "write")
      expect(k).toBe(shape.partly ? shape.pages - subject.leaving : shape.pages);
    subject.replace();
  });

  test.each(SHAPES)(`and can be restored: ${TITLE}`, (shape) => {
    const subject = new Subject(shape);
    ready(subject);
    for (let k = 0; attempt(subject, site, k); k++) {
      subject.restore();
      subject.expectInvariants();
      subject.expectContent();
      subject.pool.dirty(subject.tt, 0, shape.pages, false);
      if (shape.partly) subject.shrink();
    }
    subject.replace();
  });

  test.each(SHAPES)(`and can be destroyed: ${TITLE}`, (shape) => {
    const subject = new Subject(shape, false);
    ready(subject);
    for (let k = 0; attempt(subject, site, k); k++) {
      subject.replace();
      ready(subject);
    }
    subject.replace();
  });
});

const WHOLE = SMALLER_SHAPES.filter(({ partly }) => !partly);

describe("a shrink stopped at every look at its signal", () => {
  test.each(SMALLER_SHAPES)(`releases what it had: ${TITLE}`, (shape) => {
    const subject = new Subject(shape);
    const { pool } = subject;
    ready(subject);
    for (let look = 1, stopped = true; stopped; look++) {
      const { tt } = subject;
      const { resident } = tt;
      let released = 0;
      const signal = new CountingSignal(look);
      const error = ttmErrorOf(() => {
        released = subject.shrinkTt({ signal });
      });
      if (error) expect(error.code).toBe("EINTR");
      expect(error === undefined).toBe(released > 0);
      expect(resident - tt.resident).toBe(released);
      subject.expectInvariants();
      stopped = tt.resident > 0;
      subject.restore();
      subject.expectContent();
      pool.dirty(tt, 0, shape.pages, false);
      if (shape.partly) subject.shrink();
    }
    subject.replace();
  });
});

describe("a shrink for which there are too few slots, by every number of them,", () => {
  /** Single pages that leave one by one, each of which takes a slot. */
  function ballast(subject: Subject, count: number): Tt[] {
    const { pool } = subject;
    return Array.from({ length: count }, () => {
      const tt = new Tt(1);
      populateTtSync(pool, tt);
      writeContent(pool, tt, new Uint8Array(PAGE_SIZE).fill(1));
      shrinkTtSync(pool, tt);
      return tt;
    });
  }

  test.each(SMALLER_SHAPES)(
    `releases as many pages as there are slots: ${TITLE}`,
    (shape: Shape) => {
      const subject = new Subject(shape);
      const { pool, tt, global } = subject;
      ready(subject);
      const { resident } = tt;
      const others = ballast(subject, global.engine.freeSlots);
      for (let free = 0; free <= resident; free++) {
        expect(global.engine.freeSlots).toBe(free);
        const { released, code } = subject.fast(() => shrinkWhole(subject));
        expect({ released, code }).toEqual(
          free === 0 ? { released: 0, code: "ENOSPC" } : { released: free, code: undefined },
        );
        expectInvariants(global, [subject, ...others.map((other) => ({ pool, tt: other }))]);
        subject.restore();
        expectContent(global, tt, subject.bytes);
        pool.dirty(tt, 0, shape.pages, false);
        subject.step(() => finiTt(pool, others.pop() as Tt));
        if (shape.partly) break;
      }
      for (const other of others) finiTt(pool, other);
      subject.replace();
    },
  );
});

describe("a swapout that cannot move all moves nothing", () => {
  function expectNothingMoved(subject: Subject, error: unknown): void {
    expect(subject.tt.populated).toBe(error !== undefined);
    subject.expectInvariants();
    subject.restore();
    subject.expectContent();
    subject.pool.dirty(subject.tt, 0, subject.shape.pages, false);
  }

  test.each(SITES.flatMap(({ site }) => WHOLE.map((shape) => ({ ...shape, site }))))(
    `when a $site fails, at every one of them: ${TITLE}`,
    ({ site, ...shape }) => {
      const subject = new Subject(shape);
      const { pool, tt, global } = subject;
      subject.populate();
      for (let k = 0, fired = true; fired; k++) {
        const attempt = withFault(global, { site, k }, () => {
          expect(subject.step(() => swapoutTtSync(pool, tt))).toBe(shape.pages);
        });
        fired = attempt.fired;
        if (fired) expect(attempt.code).toBe(FAULT_CODES[site]);
        expectNothingMoved(subject, attempt.code);
      }
      subject.replace();
    },
  );

  test.each(WHOLE)(`when its signal is aborted, at every look at it: ${TITLE}`, (shape) => {
    const subject = new Subject(shape);
    const { pool, tt } = subject;
    subject.populate();
    for (let look = 1, stopped = true; stopped; look++) {
      const signal = new CountingSignal(look);
      const error = ttmErrorOf(() => {
        expect(subject.step(() => swapoutTtSync(pool, tt, { signal }))).toBe(shape.pages);
      });
      stopped = error !== undefined;
      if (error) expect(error.code).toBe("EINTR");
      expectNothingMoved(subject, error);
    }
    subject.replace();
  });
});
