/*
 * A shrink that releases nothing leaves the tt exactly as it was: entries, slots, orders of chunks, the
 * caching of each page, DMA mappings and their addresses, flags, counters. In every state a tt can be
 * in, and for everything that can stop a shrink.
 */
import { describe, expect, test } from "vitest";
import { shrinkTtSync, TT_FLAG_EXTERNAL, Tt } from "../../src/ttm.ts";
import { CountingSignal } from "../support/signals.ts";
import { SHAPES, type Shape, Subject, TITLE, ttmErrorOf } from "./support/subject.ts";

/** All there is to see of a tt, and of what it shares; but where an interrupted restore goes on. */
function snapshot({ global, tt, swap }: Subject): unknown {
  const { engine, iommu, allocated } = global;
  const entries = Array.from({ length: tt.vector < 0 ? 0 : tt.numPages }, (_, i) => {
    const entry = engine.entry(tt.vector + i);
    const { order, caching } = entry % 2 === 0 ? engine.chunk(entry) : { order: -1, caching: -1 };
    return [entry, engine.shadow(tt.vector + i), order, caching].join();
  });
  return {
    flags: tt.flags,
    vector: tt.vector,
    resident: tt.resident,
    purged: tt.purged,
    dma: [...(tt.dma ?? [])],
    iommu: [iommu.size, iommu.pages],
    entries,
    engine: [engine.freePages, engine.usedSlots, engine.pooledPages, engine.cleanPages],
    chunks: engine.freeChunks(),
    caching: engine.cachingChanges,
    allocated: { ...allocated },
    known: global.clean.has(tt),
    moved: [swap.pagesIn],
  };
}

/** States of a tt in which a shrink can begin; whatever they are, some of its pages are in memory. */
const STATES: Readonly<Record<string, (subject: Subject) => void>> = {
  populated(subject) {
    subject.populate();
  },
  restored(subject) {
    subject.populate();
    subject.shrink();
    subject.restore();
  },
  "restored, and written in part"(subject) {
    subject.populate();
    subject.shrink();
    subject.restore();
    const { pool, tt } = subject;
    pool.dirty(tt, tt.numPages >> 1, tt.numPages - (tt.numPages >> 1), false);
  },
  "shrunken by a page"(subject) {
    subject.populate();
    const { swap } = subject;
    const signal = {
      get aborted() {
        return swap.pagesOut > 0;
      },
    };
    subject.shrinkTt({ signal });
  },
  "stopped while it was restored"(subject) {
    subject.populate();
    subject.shrink();
    const signal = new CountingSignal(subject.leaving);
    expect(ttmErrorOf(() => subject.populateTt({ signal }))).toBeDefined();
  },
  "stopped before its last page"(subject) {
    subject.populate();
    subject.shrink();
    subject.global.faults.set("read", { probability: 100, space: subject.leaving - 1 });
    expect(ttmErrorOf(() => subject.populateTt())).toBeDefined();
    subject.global.faults.set("read", {});
  },
};

/** What stops a shrink before it releases anything, if it needs a slot and a write for that. */
const OBSTACLES: Readonly<Record<string, { code: string; run(subject: Subject): void }>> = {
  "a failing write": {
    code: "EIO",
    run: (subject) => withFault(subject, "write"),
  },
  "a slot refused": {
    code: "ENOSPC",
    run: (subject) => withFault(subject, "slot"),
  },
  "a device that fails": {
    code: "EIO",
    run({ swap, pool, tt }) {
      swap.writeFailure = new Error("broken");
      try {
        shrinkTtSync(pool, tt);
      } finally {
        swap.writeFailure = undefined;
      }
    },
  },
  "a device that fails as if it were full": {
    code: "ENOSPC",
    run({ swap, pool, tt }) {
      swap.writeFailure = Object.assign(new Error("full"), { code: "ENOSPC" });
      try {
        shrinkTtSync(pool, tt);
      } finally {
        swap.writeFailure = undefined;
      }
    },
  },
  "a device that turns out to be asynchronous": {
    code: "EIO",
    run({ swap, pool, tt }) {
      const write = () => Promise.resolve();
      Object.assign(swap, { write });
      try {
        shrinkTtSync(pool, tt);
      } finally {
        Reflect.deleteProperty(swap, "write");
      }
    },
  },
  "a signal aborted before the first page": {
    code: "EINTR",
    run({ pool, tt }) {
      shrinkTtSync(pool, tt, { signal: new CountingSignal(3) });
    },
  },
  "pages that are not ours": {
    code: "EBUSY",
    run({ pool, tt }) {
      const { flags } = tt;
      tt.flags |= TT_FLAG_EXTERNAL;
      try {
        shrinkTtSync(pool, tt);
      } finally {
        tt.flags = flags;
      }
    },
  },
  "another operation in flight": {
    code: "EBUSY",
    run({ pool, tt }) {
      tt.lock.tryLock();
      try {
        shrinkTtSync(pool, tt);
      } finally {
        tt.lock.unlock();
      }
    },
  },
};

function withFault({ global, pool, tt }: Subject, site: "write" | "slot"): void {
  global.faults.set(site, { probability: 100 });
  try {
    shrinkTtSync(pool, tt);
  } finally {
    global.faults.set(site, {});
  }
}

const shapes = SHAPES.filter(({ pages, caching }) => pages < 1000 || caching === "wc");

describe.each(Object.entries(STATES))("a tt that was %s", (_, enter) => {
  test.each(shapes)(`is as it was: ${TITLE}`, (shape: Shape) => {
    for (const [what, { code, run }] of Object.entries(OBSTACLES)) {
      const subject = new Subject(shape);
      enter(subject);
      subject.swap.forget();
      const before = snapshot(subject);
      const { resident } = subject.tt;
      const held = subject.tt.restore !== undefined && subject.tt.restore.read > 0;
      const clean = subject.global.engine.cleanPages > 0;
      const error = ttmErrorOf(() => subject.step(() => run(subject)));
      if (error) {
        expect(error.code, what).toBe(code);
        expect(snapshot(subject), what).toEqual(before);
      } else {
        // A held chunk, or a clean page, is released without a write.
        expect(held || clean || resident === 0, what).toBe(true);
      }
      subject.expectInvariants();
      subject.restore();
      subject.expectInvariants();
      subject.expectContent();
      expect(Math.max(...subject.swap.reads), "reads of a slot").toBeLessThanOrEqual(1);
      subject.replace();
    }
  });
});

test("a tt that is empty stays so, and releases nothing", () => {
  const subject = new Subject(SHAPES[0] as Shape);
  const before = snapshot(subject);
  expect(shrinkTtSync(subject.pool, subject.tt)).toBe(0);
  expect(shrinkTtSync(subject.pool, subject.tt, { purge: true })).toBe(0);
  expect(snapshot(subject)).toEqual(before);
});

test("a tt of which all is in swap stays so, and releases nothing", () => {
  const subject = new Subject({ ...(SHAPES[0] as Shape), pages: 19 });
  subject.tt = new Tt(19);
  subject.populate();
  subject.shrink();
  const before = snapshot(subject);
  expect(shrinkTtSync(subject.pool, subject.tt)).toBe(0);
  expect(snapshot(subject)).toEqual(before);
  subject.restore();
  subject.expectContent();
});
