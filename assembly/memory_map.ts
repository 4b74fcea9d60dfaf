/*
 * Where each region of linear memory lies. Everything is sized once, at init, and never moves.
 *
 *   0        +--------------------------------------------------+
 *            | nothing                                           |
 *   HEADER   +--------------------------------------------------+
 *            | header: sizes, region addresses, counters,        |
 *            |         free list heads                           |
 *   8192     +--------------------------------------------------+
 *            | the compiler's static data                        |
 *   ITEMS    +--------------------------------------------------+
 *            | exchange area: the items of a batch (host to us)  |
 *   EXTENTS  +--------------------------------------------------+
 *            | exchange area: extents (us to the host)           |
 *  SUM_KEY   +--------------------------------------------------+
 *            | key of the checksums (page_bytes.ts)               |
 *  FIXED_END +--------------------------------------------------+
 *            | swap map     1 bit a slot and its summaries       |
 *            | raw, backed, aside maps   3 bits a slot           |
 *            | vector map   1 bit an entry and its summaries     |
 *            | page table   16 bytes a frame (abi.ts)           |
 *            | entries      4 bytes an entry (abi.ts)            |
 *            | shadows      4 bytes an entry                     |
 *            | checksums    4 bytes an entry                     |
 *   page     +--------------------------------------------------+
 *   aligned  | page frames  4 KiB each                           |
 *            +--------------------------------------------------+
 *            | RAM swap     4 KiB a slot, if slots lie in memory |
 *   H_END    +--------------------------------------------------+
 *
 * Untouched parts cost no memory: a host maps linear memory lazily, and a fresh map is all zeros.
 */
import {
  EINVAL,
  ENOMEM,
  ENTRY_BYTES,
  ENTRY_SHIFT,
  FIXED_END,
  H_ASIDE_MAP,
  H_BACKED_MAP,
  H_DMA32_END,
  H_END,
  H_ENTRIES,
  H_ENTRY,
  H_FIRST_PFN,
  H_FRAMES,
  H_MAGIC,
  H_PAGE_TABLE,
  H_RAM,
  H_RAW_MAP,
  H_SHADOW,
  H_SLOTS,
  H_SUM,
  H_SWAP_MAP,
  H_VECTOR_MAP,
  MAGIC,
  MAX_ORDER,
  PAGE_SHIFT,
  PAGE_SIZE,
  PAGE_STRUCT_BYTES,
  SLOT_SHIFT,
} from "./abi";
import { mapBytes, mapInit } from "./bitmap";
import { get, set } from "./header";
import { initFreeLists } from "./page_alloc";
import { layKey } from "./page_bytes";

const ENTRIES_MAX: u32 = 1 << 30;
const FRAMES_MAX: u32 = 1 << 20;
/** Those that a handle has room for. */
const SLOTS_MAX: u32 = 0xffffffff >> SLOT_SHIFT;

// @ts-ignore: decorator
@inline
function align(bytes: u64, to: u64): u64 {
  return (bytes + to - 1) & ~(to - 1);
}

/** Bytes of a plain row of bits, one a slot. */
// @ts-ignore: decorator
@inline
function rowBytes(slots: u32): u64 {
  return ((<u64>slots + 63) >> 6) << 3;
}

/** Address of the first page frame. */
function framesAt(frames: u32, slots: u32, entries: u32): u64 {
  const maps = align(mapBytes(slots), 8) + 3 * rowBytes(slots) + align(mapBytes(entries), 8);
  return align(
    FIXED_END + maps + <u64>frames * PAGE_STRUCT_BYTES + <u64>entries * 3 * ENTRY_BYTES,
    PAGE_SIZE,
  );
}

function endAt(frames: u32, slots: u32, entries: u32, ram: bool): u64 {
  return framesAt(frames, slots, entries) + ((<u64>frames + (ram ? slots : 0)) << PAGE_SHIFT);
}

/** Wasm pages (64 KiB) that a memory of these sizes needs; above 65535 when it cannot be had. */
export function memoryPages(frames: u32, slots: u32, entries: u32, ram: u32): u32 {
  return <u32>min<u64>((endAt(frames, slots, entries, ram != 0) + 0xffff) >> 16, 0x7fffffff);
}

/**
 * Lays out a fresh memory. The first `dma32` frames are the DMA32 zone: all of them, or a multiple of
 * the largest chunk. -EINVAL: sizes out of range, or laid out before; -ENOMEM: too
 * small.
 */
export function init(frames: u32, slots: u32, entries: u32, ram: u32, dma32: u32): i32 {
  if (frames == 0 || frames > FRAMES_MAX) return -EINVAL;
  if (slots == 0 || slots > SLOTS_MAX || entries == 0 || entries > ENTRIES_MAX) return -EINVAL;
  if (dma32 > frames || (dma32 < frames && dma32 & ((1 << MAX_ORDER) - 1))) return -EINVAL;
  const pages = memoryPages(frames, slots, entries, ram);
  // The last wasm page stays out of use, so that every end address fits 32 bits.
  if (pages > 65535 || pages > <u32>memory.size()) return -ENOMEM;
  if (get(H_MAGIC) != 0) return -EINVAL;
  let at: u64 = FIXED_END;
  set(H_SWAP_MAP, <u32>at);
  at += align(mapBytes(slots), 8);
  set(H_RAW_MAP, <u32>at);
  at += rowBytes(slots);
  set(H_BACKED_MAP, <u32>at);
  at += rowBytes(slots);
  set(H_ASIDE_MAP, <u32>at);
  at += rowBytes(slots);
  set(H_VECTOR_MAP, <u32>at);
  at += align(mapBytes(entries), 8);
  set(H_PAGE_TABLE, <u32>at);
  at += <u64>frames * PAGE_STRUCT_BYTES;
  set(H_ENTRY, <u32>at);
  set(H_SHADOW, <u32>(at + ((<u64>entries) << ENTRY_SHIFT)));
  set(H_SUM, <u32>(at + ((<u64>entries) << ENTRY_SHIFT) * 2));
  const first = framesAt(frames, slots, entries);
  set(H_FIRST_PFN, <u32>(first >> PAGE_SHIFT));
  set(H_RAM, ram ? <u32>(first + ((<u64>frames) << PAGE_SHIFT)) : 0);
  set(H_END, <u32>endAt(frames, slots, entries, ram != 0));
  set(H_FRAMES, frames);
  set(H_DMA32_END, <u32>(first >> PAGE_SHIFT) + dma32);
  set(H_SLOTS, slots);
  set(H_ENTRIES, entries);
  mapInit(get(H_SWAP_MAP), slots);
  mapInit(get(H_VECTOR_MAP), entries);
  initFreeLists();
  layKey();
  set(H_MAGIC, MAGIC);
  return 0;
}
