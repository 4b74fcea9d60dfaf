/*
 * The engine's ABI, in the order of the data's path. No logic here: a table of contents.
 *
 * Only integers cross. A result below zero is a negated errno (abi.ts), and then nothing has
 * changed. Arguments are checked: a wrong page, order, slot or range never traps. A debug build does trap at
 * what a host can get wrong beyond them (debug.ts), which is refused here, or does nothing.
 */

// Sizes and layout of linear memory.
export { init, memoryPages } from "./memory_map";

// A vector of entries for each tt.
export {
  vectorAlloc,
  vectorCaching,
  vectorDirty,
  vectorDrop,
  vectorExtents,
  vectorFree,
  vectorPunch,
} from "./page_vector";
export { vectorsPack } from "./vector_pack";
export { entriesBefore, entriesCount } from "./vector_walks";

// Pages in: populate and restore.
export { fillCommit, fillPrepare } from "./fill";

// Pages out.
export { shrinkCommit, shrinkNeeds, shrinkPrepare, shrinkSaved } from "./shrink";

// What the store behind the slots has taken, refused, and can give back.
export {
  slotRetry,
  slotsAside,
  slotsBack,
  slotsDiscard,
  slotsReach,
  slotsTook,
} from "./swap_space";

// What holds nothing, and can be given back to the host.
export { livePages, trimRefused, trimRun } from "./trim";

// Content.
export {
  pageChecksum,
  pageCopy,
  ramTransfer,
  sumPages,
  verifyPages,
} from "./content";

// Pools of free chunks by caching.
export { poolCount, poolShrink } from "./pool";

// The allocators by themselves: for who measures them (bench/buddy, bench/slots), and for tests, which fill
// memory and swap with them. The published engine is the one that is tested.
export { allocPages, givePages } from "./page_alloc";
export { slotAlloc, slotFree, slotsFree } from "./swap_map";

// All invariants.
export { check } from "./check";
