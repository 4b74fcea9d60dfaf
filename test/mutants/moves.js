/* Faults of the loops that move pages: populate and restore, overwrite, shrink, and their transfers. */

/** @type {import("../../scripts/mutants.js").Mutant[]} */
export const mutants = [
  {
    name: "cursor-too-far",
    what: "a restore takes more of a chunk for read than was",
    file: "src/ttm/restore.ts",
    find: "state.read = moved - committed;",
    put: "state.read = moved > committed ? batch.covered - committed : 0;",
  },
  {
    name: "cursor-forgotten",
    what: "an interrupted restore does not know where it stopped",
    file: "src/ttm/restore.ts",
    find: "this.state = tt.restore ?? { cursor: 0,",
    put: "this.state = { cursor: 0,",
  },
  {
    name: "interruption-drops-content",
    what: "a restore that fails throws away what the buffer holds",
    file: "src/ttm/restore.ts",
    find: `      if (restoring) countersOf(pool.global).interrupted++;
      else pool.release(tt);`,
    put: "      pool.release(tt);",
  },
  {
    name: "populate-not-undone",
    what: "a populate that fails keeps the frames that it got, neither cleared nor in use",
    file: "src/ttm/restore.ts",
    find: "      else pool.release(tt);\n",
    put: "",
  },
  {
    name: "held-chunk-forgotten",
    what: "a shrink does not give the chunk back that an interrupted restore holds",
    file: "src/ttm/shrink.ts",
    find: "for (const tt of this.#tts) this.released += dropHeld(tt);",
    put: "",
  },
  {
    name: "purge-keeps-cursor",
    what: "what was purged goes on where a restore of its last content stopped",
    file: "src/ttm/pool.ts",
    find: `    tt.restore = undefined;
    tt.gaps = false;`,
    put: "    tt.gaps = false;",
  },
  {
    name: "purge-untold",
    what: "nobody hears that content was thrown away",
    file: "src/ttm/pool.ts",
    find: "    tt.purged ||= tt.vector >= 0;\n",
    put: "",
  },
  {
    name: "resident-off-by-one",
    what: "a buffer that was shrunken counts one page more than it has",
    file: "src/ttm/shrink.ts",
    find: "pool.account(tt, -pages);",
    put: "pool.account(tt, 1 - pages);",
  },
  {
    name: "failed-write-counts",
    what: "what a call did not write counts as written",
    file: "src/ttm/transfer.ts",
    find: "const parts = failure && split(call, some);",
    put: "const parts = failure && !out && split(call, some);",
  },
  {
    name: "failed-call-passed-over",
    what: "the calls behind one that failed go on",
    file: "src/ttm/transfer.ts",
    find: "  return !failure;\n}",
    put: "  return true;\n}",
  },
  {
    name: "short-write-off-by-one",
    what: "of a write that stopped half-way one page more counts as written",
    file: "src/ttm/transfer.ts",
    find: "return { pages: short.pages, failure: callFailure(context, out, short.error) };",
    put: "return { pages: Math.min(short.pages + 1, pages), failure: callFailure(context, out, short.error) };",
  },
  {
    name: "flights-not-awaited",
    what: "a batch ends with one that failed, while other calls of it are still in flight",
    file: "src/ttm/transfer.ts",
    find: "const rest = await Promise.all(outcomes);",
    put: "const rest: undefined[] = [];",
  },
  {
    name: "bad-page-passed-over",
    what: "a page that came back with another checksum is used all the same",
    file: "src/ttm/transfer.ts",
    find: "const bad = out || !checksums ? undefined : findBad(context, extents);",
    put: "const bad = undefined as ReturnType<typeof findBad>;",
  },
  {
    name: "refusal-not-learnt",
    what: "what a store was too full for, or could not write, is tried again as if it had not been",
    file: "src/ttm/shrink.ts",
    find: "for (const { slot, pages } of refused?.runs ?? []) space.refused(slot, pages, codeOf(failure));",
    put: "",
  },
  {
    name: "scarce-batches-fly",
    what: "a batch begins beside one that got slots for a part of a chunk only",
    file: "src/ttm/shrink.ts",
    find: "if (this.#full || this.#scarce || store.width === 1) return 0;",
    put: "if (this.#full || store.width === 1) return 0;",
    was: "2bbde7c",
  },
  {
    name: "overwrite-stays-clean",
    what: "pages that were overwritten without being read still count as what swap has",
    file: "src/ttm/overwrite.ts",
    find: "      pool.dirty(tt, first, end - first, keeps && global.roomForClean);\n",
    put: "",
  },
  {
    name: "overwrite-holds-on",
    what: "a write that fails keeps the frames that it held for what it was to overwrite",
    file: "src/ttm/overwrite.ts",
    find: "      take({ pool, tt, state }, batch, moved > 0 && this.#isRead(batch) ? 1 : 0);\n",
    put: "",
  },
  {
    name: "claims-kept",
    what: "frames that an operation claimed are not given back when it ends",
    file: "src/ttm/frames.ts",
    find: `  end(): void {
    this.#drop(this.#frames);
    this.#all.taken`,
    put: `  end(): void {
    this.#all.taken`,
  },
  {
    name: "last-frame-taken",
    what: "new content takes the last page through which pages could be exchanged",
    file: "src/ttm/room.ts",
    find: "return free + space.spare + engine.cleanPages - want.fresh;",
    put: "return free + space.spare + engine.cleanPages - want.fresh + 1;",
  },
  {
    name: "trim-cuts-the-last-slots",
    what: "a store is told to end before slots that are in use",
    file: "src/swap/space.ts",
    find: "this.#discard(ranges, Math.max(engine.slotsReach - TRIM_SPARE, 0));",
    put: "this.#discard(ranges, Math.max(engine.slotsReach - TRIM_SPARE - 1, 0));",
  },
  {
    name: "cursor-inside-a-chunk",
    what: "a restore of all begins where one of a part stopped, although a chunk lies across that by now",
    file: "src/ttm/restore.ts",
    find: "      if (first !== cursor) this.#startAt(first);\n",
    put: "      if (first < cursor) this.#startAt(first);\n",
    was: "215bed1",
  },
];
