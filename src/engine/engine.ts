import * as abi from "../../assembly/abi.ts";
import { TtmError, type TtmOperation } from "../errors.ts";
import { isPage } from "./entry.ts";
import { Exchange, type Extent, type ShrinkItem, type VectorHolder } from "./exchange.ts";
import type { Exports } from "./exports.ts";
import { assertFits, bytesNeeded, type EngineGeometry } from "./geometry.ts";
import { instantiate, size } from "./instance.ts";
import { INVARIANTS } from "./invariants.ts";
import { drawKey } from "./sum_key.ts";
import { Trap } from "./trap.ts";

/** A stretch of one vector that is being filled. */
export interface FillWindow {
  readonly tt: VectorHolder;
  readonly entries: number;
  readonly start: number;
  /** Entries from `start` on already read into a held chunk. */
  readonly done: number;
}

/** What every use that finds a page, or brings one in, calls: through another function it takes twice as long. */
const OFTEN: readonly (keyof Exports)[] = [
  ...(["entriesBefore", "entriesCount", "vectorDirty", "slotsFree", "slotsReach"] as const),
  ...(["fillPrepare", "fillCommit", "shrinkPrepare", "shrinkCommit", "ramTransfer"] as const),
];

/** Entries that neither are pages nor have one held for them. */
const GAP = abi.KIND_SWAPPED | abi.KIND_EMPTY;

/** What giving memory back needs of an engine (trim.ts). */
interface EngineParts {
  readonly module: WebAssembly.Module;
  readonly wasm: Exports;
  /** A word of the header. */
  word(field: number): number;
  /** As they are now: `slot` is the page or the slot that is named. */
  extents(): Extent[];
  /** Goes over to another instance, in whose memory everything lies at the same addresses. */
  use(wasm: Exports): void;
}

export let partsOf: (engine: Engine) => EngineParts;

/**
 * The one place that sees WebAssembly. Linear memory is sized once and never grows, so views on it
 * stay valid; still nobody else keeps one beyond a transfer or a mapping.
 */
export class Engine {
  readonly geometry: EngineGeometry;
  readonly #module: WebAssembly.Module;
  readonly #trap = new Trap();
  #wasm!: Exports;
  #buffer!: ArrayBuffer;
  #header!: Uint32Array;
  #exchange!: Exchange;
  #entries!: Uint32Array;
  #shadows!: Uint32Array;
  #pages!: Uint8Array;
  #keyed = false;

  static {
    partsOf = (engine) => ({
      module: engine.#module,
      wasm: engine.#wasm,
      word: (field) => engine.#word(field),
      extents: () => engine.extents(),
      use: (wasm) => engine.#use(engine.#trap.watch(wasm, OFTEN)),
    });
  }

  /**
   * @throws RangeError when the sizes do not fit one memory
   * @throws TtmError ENOMEM when the host has no room for it
   */
  constructor(geometry: EngineGeometry, module: WebAssembly.Module) {
    const wasm = this.#trap.watch(instantiate(module, bytesNeeded(geometry)), OFTEN);
    const { frames, slots, entries, ram, dma32 } = geometry;
    const pages = wasm.memoryPages(frames, slots, entries, Number(ram));
    assertFits(geometry, pages);
    size(wasm, pages);
    const rc = wasm.init(frames, slots, entries, Number(ram), dma32);
    if (rc < 0) throw new RangeError(`engine sizes are out of range (errno ${rc})`);
    this.geometry = Object.freeze(geometry);
    this.#module = module;
    this.#use(wasm);
    Object.freeze(this);
  }

  /** From now on all is in the memory of that instance. */
  #use(wasm: Exports): void {
    const { frames, entries } = this.geometry;
    const buffer = wasm.memory.buffer as ArrayBuffer;
    this.#wasm = wasm;
    this.#buffer = buffer;
    this.#header = new Uint32Array(buffer, abi.HEADER, abi.HEADER_WORDS);
    this.#exchange = new Exchange(buffer);
    this.#entries = new Uint32Array(buffer, this.#word(abi.H_ENTRY), entries);
    this.#shadows = new Uint32Array(buffer, this.#word(abi.H_SHADOW), entries);
    const table = this.#word(abi.H_PAGE_TABLE);
    this.#pages = new Uint8Array(buffer, table, abi.PAGE_STRUCT_BYTES * frames);
  }

  /** What is said of it once it has trapped. */
  get trapped(): TtmError | undefined {
    return this.#trap.error;
  }

  /** Free page frames. */
  get freePages(): number {
    return this.#word(abi.H_FREE_PAGES);
  }

  /** Free swap slots: bad ones are among them, those that the store was too full for are not. */
  get freeSlots(): number {
    return this.goodSlots + this.#word(abi.H_BAD);
  }

  /** Free swap slots, but for such to which a write failed: these are used when there are no others. */
  get goodSlots(): number {
    try {
      return this.#wasm.slotsFree() >>> 0;
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** Swap slots that hold a page, or are reserved for one. */
  get usedSlots(): number {
    return this.#word(abi.H_SLOTS_USED);
  }

  /** Slots that are not all that there is of a page: of clean pages, of such that keep theirs, and of those on their way. */
  get keptSlots(): number {
    return Math.max(this.usedSlots - this.swappedPages, 0);
  }

  /** Pages in swap only. */
  get swappedPages(): number {
    return this.#word(abi.H_SWAPPED);
  }

  /** Free swap slots that the store has had a page in. */
  get backedFree(): number {
    return this.#word(abi.H_BACKED_FREE);
  }

  /** Swap slots that the store was too full for. */
  get lostSlots(): number {
    return this.#word(abi.H_LOST);
  }

  /** Slots from the first to the last that the store has had a page in: what it may hold. */
  get slotsEnd(): number {
    return this.#word(abi.H_SLOTS_END);
  }

  /** Free page frames of the DMA32 zone. */
  get freeDma32(): number {
    let pages = 0;
    for (let order = 0; order < abi.NR_ORDERS; order++) {
      pages += this.#word(abi.H_FREE_COUNT + order) << order;
    }
    return pages;
  }

  /** Pages in pools: free, but kept with their caching. */
  get pooledPages(): number {
    return this.#word(abi.H_POOLED);
  }

  /** Pages in memory that have a valid copy in swap. */
  get cleanPages(): number {
    return this.#word(abi.H_CLEAN);
  }

  /** Pages that the last commit of a shrink, or shrinkSaved, released without a slot, as they were zeros. */
  get zeroPages(): number {
    return this.#word(abi.H_ZEROS);
  }

  /** Pages being moved: those of prepares that no commit has ended yet. 0 while nothing is under way. */
  get movingPages(): number {
    return this.#word(abi.H_MOVING);
  }

  /** Frames held for entries, by a fill that is under way or one that was interrupted. */
  get heldFrames(): number {
    return this.#word(abi.H_HELD);
  }

  /** Pages whose caching was changed so far, and in how many runs. */
  get cachingChanges(): { readonly pages: number; readonly runs: number } {
    return { pages: this.#word(abi.H_CACHING_PAGES), runs: this.#word(abi.H_CACHING_RUNS) };
  }

  /** Frames that the host has memory for, as far as is known: they were handed out since it last got them back. */
  get residentFrames(): number {
    return this.#word(abi.H_FRESH_PFN) - this.#word(abi.H_FIRST_PFN) - this.#word(abi.H_REPORTED);
  }

  /** Bytes before the first frame: metadata, most of which may never have been touched. */
  get metadataBytes(): number {
    return this.#word(abi.H_FIRST_PFN) * abi.PAGE_SIZE;
  }

  /** Bytes of linear memory in all: metadata, page frames and RAM swap. */
  get memoryBytes(): number {
    return this.#buffer.byteLength;
  }

  /** Free chunks of each order, 0..9. */
  freeChunks(): number[] {
    // With constants, not with names looked up in `abi`: for that bundlers would keep all of it, as an object.
    return Array.from({ length: abi.NR_ORDERS }, (_, order) => {
      const first = this.#word(abi.H_FREE_COUNT + order);
      return first + this.#word(abi.H_FREE_COUNT + abi.NR_ORDERS + order);
    });
  }

  /** What entry `index` holds: a page, a handle (entry.ts), or 0. */
  entry(index: number): number {
    return this.#entries[index] as number;
  }

  /**
   * Address of the page that entry `index` is.
   *
   * @throws TtmError EFAULT when it is none: at the number of a handle lie others' bytes
   */
  pageAt(index: number): number {
    const entry = this.#entries[index];
    if (entry === undefined || !isPage(entry)) {
      throw new TtmError("EFAULT", "map", `entry ${index} is not a page in memory`);
    }
    return entry;
  }

  /** Order and caching of the chunk whose first page is at `address`, and whether it is pooled. */
  chunk(address: number): { order: number; caching: number; pooled: boolean } {
    const at = this.#pageStruct(address);
    const pages = this.#pages;
    return {
      order: pages[at + abi.P_ORDER] as number,
      pooled: pages[at + abi.P_STATE] === abi.POOLED,
      caching: pages[at + abi.P_CACHING] as number,
    };
  }

  /** Pages of the chunk that begins at `address`; 1 for a page inside one. */
  chunkPages(address: number): number {
    return 1 << (this.#pages[this.#pageStruct(address) + abi.P_ORDER] as number);
  }

  /** The shadow of entry `index`: the page held for it by a restore; or, if it is a page, its slot. */
  shadow(index: number): number {
    return this.#shadows[index] as number;
  }

  /** Chunks of an order in a pool type. */
  poolCount(type: number, order: number): number {
    return this.#wasm.poolCount(type, order);
  }

  /** Frees one pooled chunk; its address, or `undefined` when there is none of that order. */
  poolShrink(type: number, order: number): number | undefined {
    const pfn = this.#wasm.poolShrink(type, order);
    return pfn < 0 ? undefined : pfn * abi.PAGE_SIZE;
  }

  /** A view of `length` bytes at `address`. */
  view(address: number, length: number): Uint8Array<ArrayBuffer> {
    return new Uint8Array(this.#buffer, address, length);
  }

  /** Entries of a vector that are pages, and that a page is held for: a walk, for checks. */
  vectorCounts(vector: number, entries: number): { readonly pages: number; readonly held: number } {
    return {
      pages: this.#count(vector, 0, entries, abi.KIND_PAGE),
      held: this.#count(vector, 0, entries, abi.KIND_HELD),
    };
  }

  /** The first of entries [from, to) of a vector that is no page; `to` when all are. */
  firstMissing(vector: number, from: number, to: number): number {
    // What every small read asks, that finds its page in memory: no walk, and not worth a call.
    if (to - from === 1) return isPage(this.entry(vector + from)) ? to : from;
    return this.#first(vector, from, to, abi.KINDS - abi.KIND_PAGE);
  }

  /** The first of entries [from, to) of a vector that is a page; `to` when none is. */
  firstPage(vector: number, from: number, to: number): number {
    return this.#first(vector, from, to, abi.KIND_PAGE);
  }

  /** The first of entries [from, to) of a vector that neither is a page nor has one held for it; else `to`. */
  firstGap(vector: number, from: number, to: number): number {
    return this.#first(vector, from, to, GAP);
  }

  /** How many of entries [from, to) of a vector neither are pages nor have one held for them. */
  countGaps(vector: number, from: number, to: number): number {
    return this.#count(vector, from, to, GAP);
  }

  /** How many of entries [from, to) of a vector have no content yet, nor a page held for them. */
  countEmpty(vector: number, from: number, to: number): number {
    return this.#count(vector, from, to, abi.KIND_EMPTY);
  }

  /** Whether all entries of a vector are empty. */
  isBlank(vector: number, entries: number): boolean {
    return this.#first(vector, 0, entries, abi.KINDS - abi.KIND_EMPTY) === entries;
  }

  #first(vector: number, from: number, to: number, kinds: number): number {
    if (from >= to) return from;
    try {
      const before = this.#wasm.entriesBefore(vector + from, to - from, kinds);
      return from + this.#expect(before, "restore");
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  #count(vector: number, from: number, to: number, kinds: number): number {
    if (from >= to) return 0;
    try {
      return this.#expect(this.#wasm.entriesCount(vector + from, to - from, kinds), "restore");
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** First entry of a new vector; -ENOMEM; or -EBUSY: there is room, once vectors are packed. */
  vectorAlloc(entries: number): number {
    return this.#wasm.vectorAlloc(entries);
  }

  /**
   * Moves all vectors, which have `used` entries, to the front, in the order in which they lie: each begins where
   * the entries of those before it end.
   */
  vectorsPack(used: number): void {
    this.#expect(this.#wasm.vectorsPack(used), "populate");
  }

  /** Empties a vector and takes it back. Returns frames freed, to pools or the system. */
  vectorDrop(vector: number, entries: number, flags: number): number {
    const freed = this.#expect(this.#wasm.vectorDrop(vector, entries, flags), "destroy");
    this.#expect(this.#wasm.vectorFree(vector, entries), "destroy");
    return freed;
  }

  /**
   * Empties entries [start, start + count) of a vector; a chunk that reaches beyond them is split. Returns frames
   * freed, to pools or the system.
   */
  vectorPunch(
    vector: number,
    entries: number,
    start: number,
    count: number,
    flags: number,
  ): number {
    return this.#expect(this.#wasm.vectorPunch(vector, entries, start, count, flags), "discard");
  }

  /**
   * Pages of entries [start, start + count) may have been written: they lose their slots, or with `keep`
   * keep them, though what lies there is out of date. Returns slots freed.
   */
  vectorDirty(
    vector: number,
    entries: number,
    start: number,
    count: number,
    keep: boolean,
  ): number {
    try {
      const rc = this.#wasm.vectorDirty(vector, entries, start, count, Number(keep));
      return this.#expect(rc, "populate");
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** Gives all pages of a vector their caching. Returns pages changed. */
  vectorCaching(vector: number, entries: number, caching: number): number {
    return this.#expect(this.#wasm.vectorCaching(vector, entries, 0, caching), "populate");
  }

  /** Where entries [start, start + count) lie; all of them must be in memory. */
  vectorExtents(vector: number, entries: number, start: number, count: number): Extent[] {
    const extents: Extent[] = [];
    for (let at = 0; at < count; ) {
      const rc = this.#wasm.vectorExtents(vector, entries, start + at, count - at);
      const covered = this.#expect(rc, "map");
      for (let i = 0; i < this.extentCount; i++) extents.push(this.#exchange.extent(i, at));
      at += covered;
    }
    return extents;
  }

  /** Holds chunks for up to `budget` entries or so. Returns entries covered, or -ENOMEM. */
  fillPrepare(w: FillWindow, budget: number, flags: number, from: number, to: number): number {
    const { tt, entries, start, done } = w;
    const wasm = this.#wasm;
    try {
      const rc = wasm.fillPrepare(tt.vector, entries, start, done, budget, flags, from, to);
      return rc === -abi.ENOMEM ? rc : this.#expect(rc, "restore");
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** Makes the chunks visible whose entries are all read. Returns entries that now are pages. */
  fillCommit(w: FillWindow, covered: number, read: number, flags: number): number {
    const { tt, entries, start, done } = w;
    const wasm = this.#wasm;
    try {
      const rc = wasm.fillCommit(tt.vector, entries, start, done, covered, read, flags);
      return this.#expect(rc, "restore");
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** Reserves slots for about `budget` pages of the items. Returns pages prepared, or -ENOSPC. */
  shrinkPrepare(items: readonly ShrinkItem[], budget: number): number {
    this.#exchange.putItems(items);
    try {
      const rc = this.#wasm.shrinkPrepare(items.length, budget);
      this.#exchange.takeNext(items);
      return rc === -abi.ENOSPC ? rc : this.#expect(rc, "shrink");
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** Lets the first `moved` prepared pages go. Returns pages released. */
  shrinkCommit(items: readonly ShrinkItem[], moved: number): number {
    this.#exchange.putItems(items);
    try {
      const released = this.#expect(this.#wasm.shrinkCommit(items.length, moved), "shrink");
      this.#exchange.takeReleased(items);
      return released;
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** Slots that such a prepare would take. */
  shrinkNeeds(items: readonly ShrinkItem[], budget: number): number {
    this.#exchange.putItems(items);
    return this.#expect(this.#wasm.shrinkNeeds(items.length, budget), "shrink");
  }

  /**
   * Lets go of pages of entries [start, start + count) that need neither slot nor transfer, at once: clean ones,
   * and zeros. Returns pages released.
   */
  shrinkSaved(vector: number, entries: number, start: number, count: number): number {
    return this.#expect(this.#wasm.shrinkSaved(vector, entries, start, count), "shrink");
  }

  /** Extents of the last prepare (a count). */
  get extentCount(): number {
    return this.#word(abi.H_EXTENTS);
  }

  /** Extents of the last prepare. Copied out: the next prepare overwrites them. */
  extents(): Extent[] {
    const count = this.extentCount;
    const extents: Extent[] = new Array(count);
    for (let i = 0; i < count; i++) extents[i] = this.#exchange.extent(i, 0);
    return extents;
  }

  /**
   * Moves all extents of the last prepare to RAM swap, or back, right after it. With `sums` their
   * checksums are noted, or verified. Returns pages: those before the first that came back wrong.
   */
  ramTransfer(out: boolean, sums: boolean): number {
    if (out && sums) this.#needKey();
    try {
      const rc = this.#wasm.ramTransfer(Number(out), Number(sums));
      return this.#expect(rc, out ? "shrink" : "restore");
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /** Notes the checksums of an extent's pages, which are about to leave. */
  sum({ address, pages }: Extent): void {
    this.#needKey();
    this.#expect(this.#wasm.sumPages(address >>> abi.PAGE_SHIFT, pages), "shrink");
  }

  /** How many of an extent's pages, which have just come, match their checksums before one does not. */
  verify({ address, pages }: Extent): number {
    return this.#expect(this.#wasm.verifyPages(address >>> abi.PAGE_SHIFT, pages), "restore");
  }

  /** The store has taken pages in slots that are in use. */
  slotsTook(slot: number, count: number): void {
    this.#expect(this.#wasm.slotsTook(slot, count), "shrink");
  }

  /**
   * Sets free slots aside: a write to them failed (`BAD`), or the store refused it as full (`LOST`); then
   * all free slots that it never had a page in are lost, too.
   */
  slotsAside(slot: number, count: number, why: number): void {
    this.#expect(this.#wasm.slotsAside(slot, count, why), "shrink");
  }

  /**
   * Lets one slot be taken that was set aside: a bad one, or with `lost` any. Returns why it was: `BAD` or
   * `LOST`; 0 when there is none.
   */
  slotRetry(lost: boolean): number {
    return this.#wasm.slotRetry(Number(lost));
  }

  /** Lets all slots be taken that the store was too full for. */
  slotsBack(): void {
    this.#wasm.slotsBack();
  }

  /** Slots that the store would have to keep now, from the first on. */
  get slotsReach(): number {
    try {
      return this.#wasm.slotsReach() >>> 0;
    } catch (error) {
      throw this.#trap.noted(error);
    }
  }

  /**
   * Gives up free slots that the store has had a page in, and lets lost ones be taken again. Returns them as runs,
   * in ascending order; `slotsEnd` is what the store has to keep then.
   */
  slotsDiscard(): { readonly slot: number; readonly pages: number }[] {
    const runs: { slot: number; pages: number }[] = [];
    let more: number;
    do {
      more = this.#wasm.slotsDiscard();
      for (let i = 0; i < this.extentCount; i++) {
        const { slot, pages } = this.#exchange.extent(i, 0);
        const last = runs[runs.length - 1];
        if (last && last.slot + last.pages === slot) last.pages += pages;
        else runs.push({ slot, pages });
      }
    } while (more > 0);
    return runs;
  }

  /** What is wrong with the engine's state, if anything is. */
  check(): string | undefined {
    const rc = this.#wasm.check();
    return rc === 0 ? undefined : (INVARIANTS[rc] ?? `check returned ${rc}`);
  }

  /**
   * Draws the key of the checksums, once, before the first of them is noted: not at the start, where it takes
   * a twentieth of the time, and where workerd has no random numbers yet.
   */
  #needKey(): void {
    if (this.#keyed) return;
    drawKey(new Uint8Array(this.#buffer, abi.SUM_KEY, abi.SUM_KEY_BYTES));
    this.#keyed = true;
  }

  #word(field: number): number {
    return this.#header[field] as number;
  }

  /** Where the struct of the page at `address` begins in the page table. */
  #pageStruct(address: number): number {
    return ((address >>> abi.PAGE_SHIFT) - this.#word(abi.H_FIRST_PFN)) * abi.PAGE_STRUCT_BYTES;
  }

  /** The result, or an error for one that the host's own bookkeeping rules out. */
  #expect(rc: number, op: TtmOperation): number {
    if (rc >= 0) return rc;
    throw new TtmError("EFAULT", op, `the engine refused its arguments (errno ${rc})`);
  }
}
