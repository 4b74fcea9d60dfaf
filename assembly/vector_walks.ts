/*
 * Walks that only look at entries: what the host wants to know of a vector before it moves anything. An entry is one
 * of four kinds; a walk is about some of them, as flags.
 */
import { EINVAL, KIND_EMPTY, KIND_HELD, KIND_PAGE, KIND_SWAPPED, KINDS } from "./abi";
import { entryAddress, isPage, shadowAddress } from "./entry";
import { vectorOk } from "./page_vector";

/** The kind of an entry with that shadow. */
// @ts-ignore: decorator
@inline
function kindOf(entry: u32, shadow: u32): u32 {
  if (isPage(entry)) return KIND_PAGE;
  if (shadow) return KIND_HELD;
  return entry ? KIND_SWAPPED : KIND_EMPTY;
}

/**
 * How many of entries [index, index + count) come before the first of one of `kinds`; `count` when there is none.
 * -EINVAL: not entries in use, or no such kinds.
 */
export function entriesBefore(index: u32, count: u32, kinds: u32): i32 {
  return walk(index, count, kinds, true);
}

/** How many of entries [index, index + count) are of one of `kinds`. -EINVAL as above. */
export function entriesCount(index: u32, count: u32, kinds: u32): i32 {
  return walk(index, count, kinds, false);
}

function walk(index: u32, count: u32, kinds: u32, before: bool): i32 {
  if (kinds > <u32>KINDS || !vectorOk(index, count)) return -EINVAL;
  const entries = entryAddress(index);
  const shadows = shadowAddress(index);
  let some: u32 = 0;
  for (let i: u32 = 0; i < count; i++) {
    const at = (<usize>i) << 2;
    if (!(kindOf(load<u32>(entries + at), load<u32>(shadows + at)) & kinds)) continue;
    if (before) return i;
    some++;
  }
  return before ? count : some;
}
