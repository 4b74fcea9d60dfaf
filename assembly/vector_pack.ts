/*
 * Packing: all vectors move to the front of the space of entries, in their order, so that what is free lies side
 * by side. Nothing of a vector says where it lies but the owners of its chunks, and nobody keeps the number of
 * an entry from one call to the next: so chunks may be on their way, or held. Only whoever knows where a
 * vector begins has to count anew: it begins where the entries of those before it end.
 *
 *   before   | aaa |   | bb |      | cccc |  |
 *   after    | aaa | bb | cccc |             |
 */
import { ALLOCATED, EINVAL, ENTRY_SHIFT, H_SUM, H_VECTOR_MAP, PAGE_SHIFT } from "./abi";
import { mapFree, mapRelease, mapSize, markUsed, nextFree, nextUsed } from "./bitmap";
import { DEBUGGING } from "./debug";
import { entryAddress, entryAt, isPage, shadowAddress, shadowAt } from "./entry";
import { resetExtents } from "./exchange";
import { get } from "./header";
import { pageOrder, pageState, pageStruct, setOwner } from "./page";

/**
 * Moves the entries of all vectors, `used` in all, to the front. Takes as long as these are many. Returns 0.
 * -EINVAL: another number of entries is in use, so that there are vectors that the caller does not know.
 */
export function vectorsPack(used: u32): i32 {
  const map = get(H_VECTOR_MAP);
  if (used != mapSize(map) - mapFree(map)) return -EINVAL;
  const first = <u32>nextFree(map, 0);
  if (first >= used) return 0;
  let to = first;
  let end = first;
  while (to < used) {
    const from = nextUsed(map, end);
    end = min(<u32>nextFree(map, from), mapSize(map)); // none is the largest u32
    const count = end - from;
    slide(to, from, count);
    mapRelease(map, from, count);
    markUsed(map, to, count);
    to += count;
  }
  clear(used, end);
  own(first, used);
  // They name entries.
  resetExtents();
  return 0;
}

/** Copies `count` entries, their shadows and their checksums from `from` on to `to`. */
function slide(to: u32, from: u32, count: u32): void {
  const bytes = (<usize>count) << ENTRY_SHIFT;
  const sums = <usize>get(H_SUM);
  memory.copy(entryAddress(to), entryAddress(from), bytes);
  memory.copy(shadowAddress(to), shadowAddress(from), bytes);
  memory.copy(sums + ((<usize>to) << ENTRY_SHIFT), sums + ((<usize>from) << ENTRY_SHIFT), bytes);
}

/** Entries [from, end) are empty. */
function clear(from: u32, end: u32): void {
  memory.fill(entryAddress(from), 0, entryAddress(end) - entryAddress(from));
  memory.fill(shadowAddress(from), 0, shadowAddress(end) - shadowAddress(from));
}

/** Chunks, visible or held, that entries [from, end) have, belong to these. */
function own(from: u32, end: u32): void {
  for (let i = from; i < end; ) {
    const page = isPage(entryAt(i)) ? entryAt(i) : shadowAt(i);
    if (!page) {
      i++;
      continue;
    }
    const chunk = pageStruct(page >> PAGE_SHIFT);
    if (DEBUGGING) assert(pageState(chunk) == ALLOCATED, "a vector has a chunk that is not in use");
    setOwner(chunk, i);
    i += 1 << pageOrder(chunk);
  }
}
