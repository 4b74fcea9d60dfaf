/*
 * A restore is interrupted at every single page. Method: every page is one transfer; a signal that is
 * aborted from its k-th look on, for every k; a device that counts how often each slot is read.
 */
import { describe, expect, test } from "vitest";
import { finiTt } from "../../src/ttm.ts";
import { CountingSignal } from "../support/signals.ts";
import type { Trims } from "../support/trims.ts";
import { expectUntouched } from "./support/invariants.ts";
import {
  GROUNDS,
  SHAPES,
  type Shape,
  SMALLER_SHAPES,
  Subject,
  TITLE,
  ttmErrorOf,
} from "./support/subject.ts";

/** Populated once and shrunken as the shape says. */
function shrunken(shape: Shape, content = true): Subject {
  const subject = new Subject(shape, content);
  subject.populate();
  subject.shrink();
  subject.expectInvariants();
  return subject;
}

/** Interrupts a restore at look `look`; false when it came to its end before. */
function interrupt(subject: Subject, look: number): boolean {
  const { tt, global } = subject;
  const { interrupted } = global.stats;
  const error = ttmErrorOf(() => subject.populateTt({ signal: new CountingSignal(look) }));
  expect(global.stats.interrupted - interrupted).toBe(tt.restore ? 1 : 0);
  if (!error) return false;
  expect(error.code).toBe("EINTR");
  expect(tt.populated).toBe(false);
  return true;
}

/** Restores, and expects that it goes on where it was stopped, and that nothing is read twice. */
function resume(subject: Subject): void {
  const { global, swap, tt, leaving } = subject;
  const { resumed } = global.stats;
  const begun = tt.restore !== undefined && tt.restore.cursor + tt.restore.read > 0;
  subject.restore();
  expect(global.stats.resumed - resumed).toBe(begun ? 1 : 0);
  swap.expectEachReadOnce(leaving);
  subject.expectInvariants();
  subject.expectContent();
}

describe("interrupted at every look at the signal, a restore loses nothing", () => {
  test.each(SHAPES)(`and goes on there: ${TITLE}`, (shape) => {
    const subject = shrunken(shape);
    const { swap, leaving } = subject;
    let look = 1;
    for (; ; look++) {
      swap.forget();
      if (!interrupt(subject, look)) break;
      subject.expectInvariants();
      resume(subject);
      subject.shrinkAgain();
    }
    expect(look).toBeGreaterThan(leaving);
    subject.expectContent();
    subject.replace();
  });

  test.each(SHAPES)(`and can be destroyed there: ${TITLE}`, (shape) => {
    const subject = shrunken(shape, false);
    for (let look = 1; interrupt(subject, look); look++) {
      subject.replace();
      subject.populate();
      subject.shrink();
    }
    subject.replace();
  });

  test.each(SHAPES)(`and gets one page further in each attempt: ${TITLE}`, (shape) => {
    const subject = shrunken(shape);
    const { swap, leaving } = subject;
    swap.forget();
    let attempts = 0;
    for (let done = false; !done; ) {
      const { pagesIn } = swap;
      const signal = {
        get aborted() {
          return swap.pagesIn > pagesIn;
        },
      };
      const error = ttmErrorOf(() => subject.populateTt({ signal }));
      if (error) expect(error.code).toBe("EINTR");
      done = !error;
      attempts++;
      subject.expectInvariants();
      expect(swap.pagesIn).toBe(Math.min(attempts, leaving));
    }
    swap.expectEachReadOnce(leaving);
    subject.expectContent();
    subject.replace();
  });
});

describe("between an interruption of a restore and its resumption", () => {
  test.each(SMALLER_SHAPES)(`the tt can be shrunken by a page, or whole: ${TITLE}`, (shape) => {
    const subject = shrunken(shape);
    const { tt } = subject;
    for (let look = 1; interrupt(subject, look); look++) {
      for (const pages of [1, shape.pages]) {
        const { resident } = tt;
        const released = subject.fast(() => subject.shrinkTt({ pages }));
        expect(resident - tt.resident).toBe(released);
        if (resident > 0) expect(released).toBeGreaterThan(0);
        // Nothing of the restore is left, or nothing was there yet.
        const { cursor = 0, read = 0 } = tt.restore ?? {};
        expect(cursor + read).toBe(0);
        subject.expectInvariants();
      }
      expect(tt.resident).toBe(0);
      subject.restore();
      subject.expectInvariants();
      subject.expectContent();
      subject.shrink();
    }
    subject.replace();
  });

  /** A shrink that fails at its first write; a restore goes on as if it had not been. */
  function failing(shape: Shape, fail: (subject: Subject, on: boolean) => void): void {
    const subject = shrunken(shape);
    const { tt } = subject;
    for (let look = 1; interrupt(subject, look); look++) {
      const { resident } = tt;
      fail(subject, true);
      let released = 0;
      const error = ttmErrorOf(() => {
        released = subject.shrinkTt();
      });
      fail(subject, false);
      if (error) expect(error.code).toBe("EIO");
      expect(resident - tt.resident).toBe(released);
      subject.expectInvariants();
      subject.restore();
      subject.expectInvariants();
      subject.expectContent();
      subject.shrink();
    }
    subject.replace();
  }

  test.each(SMALLER_SHAPES)(`a shrink can fail for a fault: ${TITLE}`, (shape) => {
    failing(shape, ({ global }, on) => {
      global.faults.set("write", { probability: on ? 100 : 0 });
    });
  });

  test.each(SMALLER_SHAPES)(`a shrink can fail for its device: ${TITLE}`, (shape) => {
    failing(shape, ({ swap }, on) => {
      swap.writeFailure = on ? new Error("the disk is full of holes") : undefined;
    });
  });

  test.each(SMALLER_SHAPES)(`the content can be thrown away: ${TITLE}`, (shape) => {
    const subject = shrunken(shape, false);
    for (let look = 1; interrupt(subject, look); look++) {
      const { tt, global } = subject;
      const { resident } = tt;
      expect(subject.shrinkTt({ purge: true })).toBe(resident);
      subject.expectInvariants();
      expect(tt.restore).toBeUndefined();
      expect(global.iommu.size).toBe(0);
      expect(global.engine.freeSlots).toBe(global.engine.geometry.slots);
      subject.populate();
      subject.shrink();
    }
    finiTt(subject.pool, subject.tt);
    expectUntouched(subject.global);
  });
});

const trimmed = SHAPES.filter(({ on, pages }) => GROUNDS[on]?.trims && pages === 35);

test.each(trimmed)("trims found something to give back, and were declined within: $on", (shape) => {
  const subject = shrunken(shape);
  expect(interrupt(subject, subject.leaving)).toBe(true);
  resume(subject);
  const { given, declined } = subject.trims as Trims;
  expect(Math.min(given, declined)).toBeGreaterThan(0);
});
