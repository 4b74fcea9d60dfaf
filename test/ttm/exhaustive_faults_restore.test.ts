/*
 * Whatever a restore needs is refused once, at every place where it is asked for: memory of every order,
 * DMA mappings, caching, reads. Method: the k-th call of a fault site fails, for every k until none
 * does.
 */
import { describe, expect, test } from "vitest";
import type { FaultSite } from "../../src/ttm.ts";
import { ALL_ORDERS, type Attempt, FAULT_CODES, withFault } from "./support/faults.ts";
import { SHAPES, type Shape, SMALLER_SHAPES, Subject, TITLE } from "./support/subject.ts";

const SITES: readonly { site: FaultSite; times: number }[] = [
  { site: "alloc", times: 1 },
  { site: "alloc", times: ALL_ORDERS },
  { site: "alloc", times: -1 },
  { site: "map", times: 1 },
  { site: "caching", times: 1 },
  { site: "read", times: 1 },
];

function shrunken(shape: Shape, content = true): Subject {
  const subject = new Subject(shape, content);
  subject.populate();
  subject.shrink();
  subject.expectInvariants();
  return subject;
}

/** Restores with a fault; says whether it was stopped by it. */
function attempt(subject: Subject, site: FaultSite, times: number, k: number): Attempt {
  const { global, tt } = subject;
  const before = { ...global.stats };
  const result = withFault(global, { site, k, times }, () => subject.populateTt());
  const { interrupted } = global.stats;
  expect(interrupted - before.interrupted).toBe(result.code === undefined ? 0 : 1);
  if (result.code !== undefined) {
    expect(result).toEqual({ fired: true, code: FAULT_CODES[site] });
    expect(tt.populated).toBe(false);
  } else {
    // A single chunk that cannot be had is had in halves.
    expect(result.fired && !(site === "alloc" && times === 1)).toBe(false);
    expect(tt.populated).toBe(true);
  }
  return result;
}

describe.each(SITES)(
  "a restore to which $site is refused, $times times, loses nothing",
  (fault) => {
    const { site, times } = fault;

    test.each(SHAPES)(`and goes on there: ${TITLE}`, (shape) => {
      const subject = shrunken(shape);
      const { swap, leaving } = subject;
      let k = 0;
      for (; ; k++) {
        swap.forget();
        const { fired } = attempt(subject, site, times, k);
        subject.expectInvariants();
        subject.restore();
        swap.expectEachReadOnce(leaving);
        subject.expectInvariants();
        subject.expectContent();
        if (!fired) break;
        subject.shrinkAgain();
      }
      if (site === "read") expect(k).toBe(leaving);
      subject.replace();
    });

    test.each(SHAPES)(`and can be destroyed there: ${TITLE}`, (shape) => {
      const subject = shrunken(shape, false);
      for (let k = 0; attempt(subject, site, times, k).fired; k++) {
        subject.replace();
        subject.populate();
        subject.shrink();
      }
      subject.replace();
    });
  },
);

describe("a restore to which something is refused in every attempt", () => {
  test.each(SMALLER_SHAPES)(`gets one page further each time: ${TITLE}`, (shape) => {
    const subject = shrunken(shape);
    const { swap, leaving, global } = subject;
    swap.forget();
    let attempts = 0;
    for (let done = false; !done; attempts++) {
      const fault = { site: "read", k: 1 } as const;
      const { code } = withFault(global, fault, () => subject.populateTt());
      done = code === undefined;
      subject.expectInvariants();
    }
    expect(attempts).toBeGreaterThanOrEqual(leaving);
    swap.expectEachReadOnce(leaving);
    subject.expectContent();
    subject.replace();
  });

  test.each(SMALLER_SHAPES)(`gets one chunk further each time: ${TITLE}`, (shape) => {
    const subject = shrunken(shape);
    const { swap, leaving, global, tt } = subject;
    swap.forget();
    for (let done = false; !done; ) {
      const before = tt.restore?.cursor ?? 0;
      const fault = { site: "alloc", k: 1, times: -1 } as const;
      const { code } = withFault(global, fault, () => subject.populateTt());
      done = code === undefined;
      if (!done) expect(tt.restore?.cursor).toBeGreaterThan(before);
      subject.expectInvariants();
    }
    swap.expectEachReadOnce(leaving);
    subject.expectContent();
    subject.replace();
  });
});
