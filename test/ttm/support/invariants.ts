import { NR_ORDERS, PAGE_SIZE } from "../../../assembly/abi.ts";
import { isHandle, isPage } from "../../../src/engine/entry.ts";
import { type Pool, TT_FLAG_SWAPPED, type Tt, type TtmGlobal } from "../../../src/ttm.ts";

type Engine = TtmGlobal["engine"];

const CACHING = ["cached", "wc", "uc"] as const;

/** A tt and the pool its pages come from. */
export interface Owned {
  readonly pool: Pool;
  readonly tt: Tt;
}

/** What one tt holds. */
interface Holding {
  /** Pages that are entries, that are held for a restore, and entries that are handles. */
  pages: number;
  held: number;
  handles: number;
  /** Pages with a valid copy in swap. */
  clean: number;
  /** Pages that keep a slot in swap, clean or written since. */
  kept: number;
  /** Chunks, the held one included. */
  chunks: number;
}

function must(holds: boolean, rule: string): void {
  if (!holds) throw new Error(`broken: ${rule}`);
}

/**
 * What holds after every operation on the kernel's layer, seen from outside. `owned` are all tts on
 * this memory.
 *
 * @throws Error naming the rule that is broken
 */
export function expectInvariants(global: TtmGlobal, owned: readonly Owned[]): void {
  const { engine, iommu, allocated } = global;
  const broken = engine.check();
  must(broken === undefined, String(broken));
  let resident = 0;
  let counted = 0;
  let dma32 = 0;
  let slots = 0;
  let clean = 0;
  let mappings = 0;
  let mappedPages = 0;
  for (const { pool, tt } of owned) {
    const holding = survey(global, tt);
    flagsAgree(global, tt, holding);
    must(tt.resident === holding.pages + holding.held, "resident pages are those it holds");
    resident += tt.resident;
    if (tt.counted) counted += tt.resident;
    if (tt.counted && pool.dma32) dma32 += tt.resident;
    slots += holding.handles + holding.kept;
    clean += holding.clean;
    must(holding.kept === 0 || global.clean.has(tt), "a tt whose pages keep slots is known");
    if (pool.coherent) {
      mappings += holding.chunks;
      mappedPages += tt.resident;
      continue;
    }
    const held = tt.restore?.mapping;
    for (const mapping of [...(tt.dma?.values() ?? []), ...(held ? [held] : [])]) {
      mappings++;
      mappedPages += mapping.pages;
    }
  }
  for (const [type, { pool }] of ownTypes(global)) {
    must(pool.coherent, "only coherent pools have types of their own");
    for (let order = 0; order < NR_ORDERS; order++) {
      mappings += engine.poolCount(type, order);
      mappedPages += engine.poolCount(type, order) << order;
    }
  }
  const { frames, slots: total } = engine.geometry;
  must(engine.freePages + engine.pooledPages + resident === frames, "frames add up");
  must(global.heldPages === resident, "held pages are those of tts");
  must(
    engine.freeSlots + engine.lostSlots + slots === total,
    "slots are those of handles, and of pages that keep theirs",
  );
  must(engine.cleanPages === clean, "clean pages add up");
  must(iommu.size === mappings, `${iommu.size} DMA mappings are the ${mappings} of chunks`);
  must(iommu.pages === mappedPages, `${iommu.pages} mapped pages are ${mappedPages} of chunks`);
  must(allocated.pages === counted, `${allocated.pages} counted pages are the ${counted} of tts`);
  must(allocated.dma32Pages === dma32, "counted DMA32 pages are those of tts");
}

function ownTypes(global: TtmGlobal): [number, { pool: Pool }][] {
  return global.types.flatMap((type, i) => (type?.pool ? [[i, { pool: type.pool as Pool }]] : []));
}

/** Walks the entries of a tt: each is a page or a handle, and says where its content is. */
function survey({ engine }: TtmGlobal, tt: Tt): Holding {
  const holding: Holding = { pages: 0, held: 0, handles: 0, clean: 0, kept: 0, chunks: 0 };
  if (tt.vector < 0) return holding;
  const { cursor = 0, read = 0 } = tt.restore ?? {};
  for (let i = 0; i < tt.numPages; ) {
    const entry = engine.entry(tt.vector + i);
    const shadow = engine.shadow(tt.vector + i);
    must(entry !== 0 || tt.shrunken, `entry ${i} has content, or left as zeros`);
    if (entry !== 0 && !isHandle(entry)) {
      i += pageChunk(engine, tt, i, entry, holding);
    } else if (shadow !== 0) {
      must(
        i === cursor && read > 0,
        "only the chunk at the cursor is held, and only if read in part",
      );
      const pages = heldChunk(engine, tt, i, shadow, holding);
      must(read < pages, "a chunk is committed when all of it is read");
      i += pages;
    } else {
      // Before the cursor there may be some: of parts that nobody has asked for.
      must(i < cursor || i >= cursor + read, `entry ${i} is held, as it was read`);
      if (entry !== 0) holding.handles++;
      i++;
    }
  }
  return holding;
}

/** A chunk whose pages are entries: side by side, perhaps with a slot that holds a copy, or held one. */
function pageChunk(engine: Engine, tt: Tt, i: number, address: number, holding: Holding): number {
  const pages = 1 << engine.chunk(address).order;
  for (let j = 0; j < pages; j++) {
    must(
      engine.entry(tt.vector + i + j) === address + j * PAGE_SIZE,
      `page ${i + j} is of its chunk`,
    );
    const shadow = engine.shadow(tt.vector + i + j);
    if (shadow !== 0) holding.kept++;
    if (isHandle(shadow)) holding.clean++;
  }
  holding.pages += pages;
  holding.chunks++;
  return pages;
}

/** A chunk that is being read: its entries still are handles. */
function heldChunk(engine: Engine, tt: Tt, i: number, address: number, holding: Holding): number {
  const pages = 1 << engine.chunk(address).order;
  for (let j = 0; j < pages; j++) {
    must(
      engine.shadow(tt.vector + i + j) === address + j * PAGE_SIZE,
      `held ${i + j} is of its chunk`,
    );
    const entry = engine.entry(tt.vector + i + j);
    must(entry === 0 || isHandle(entry), `content of held entry ${i + j} is in swap, or zeros`);
    if (entry !== 0) holding.handles++;
  }
  holding.held += pages;
  holding.chunks++;
  return pages;
}

function flagsAgree(global: TtmGlobal, tt: Tt, holding: Holding): void {
  const { populated, shrunken } = tt;
  must(shrunken === ((tt.flags & TT_FLAG_SWAPPED) !== 0), "SHRUNKEN and SWAPPED go together");
  must(!(populated && shrunken), "never both POPULATED and SHRUNKEN");
  must(tt.restore === undefined || shrunken, "a restore state belongs to a shrunken tt");
  must(!tt.lock.held, "the tt is unlocked");
  if (tt.sg) return;
  must(populated || shrunken === tt.vector >= 0, "a tt has a vector while something is in it");
  if (populated) must(holding.pages === tt.numPages, "every entry of a populated tt is a page");
  cachingAgrees(global, tt);
  mappingsAgree(global, tt);
}

/** Pages of a populated tt have its caching; those that stayed when others left, that or none. */
function cachingAgrees({ engine }: TtmGlobal, tt: Tt): void {
  for (let i = 0; tt.vector >= 0 && i < tt.numPages; i++) {
    const entry = engine.entry(tt.vector + i);
    if (entry === 0 || isHandle(entry)) continue;
    const caching = CACHING[engine.chunk(entry).caching];
    must(caching === tt.caching || (!tt.populated && caching === "cached"), `caching of page ${i}`);
  }
}

/** Each mapping is one chunk's; all chunks of a populated tt that wants them have one. */
function mappingsAgree({ engine }: TtmGlobal, tt: Tt): void {
  if (!tt.dma) return;
  let covered = 0;
  for (const [first, { pages }] of tt.dma) {
    const entry = engine.entry(tt.vector + first);
    must(isPage(entry), `mapping of entry ${first} is one of a page`);
    must(pages === 1 << engine.chunk(entry).order, `mapping of entry ${first} is as its chunk`);
    covered += pages;
  }
  must(!tt.populated || covered === tt.numPages, "all pages of a populated DMA tt are mapped");
}

/** Drains all pools, and expects that nothing is in use: what holds before the first tt is made. */
export function expectUntouched(global: TtmGlobal): void {
  const { engine } = global;
  global.poolShrinker.drain(0);
  expectInvariants(global, []);
  const { frames, slots, entries } = engine.geometry;
  must(engine.freePages === frames, `${frames - engine.freePages} frames leaked`);
  must(engine.freeSlots === slots, `${slots - engine.freeSlots} slots leaked`);
  must(global.iommu.size === 0, `${global.iommu.size} DMA mappings leaked`);
  must(global.clean.size === 0, "a tt is still known to be clean");
  const whole = engine.vectorAlloc(entries);
  must(whole >= 0, "vector entries leaked");
  engine.vectorDrop(whole, entries, 0);
}
