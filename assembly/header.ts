import { HEADER, HEADER_WORDS } from "./abi";
import { DEBUGGING } from "./debug";

/** Reads header word `field`. All engine state starts here: the module has no mutable globals. */
// @ts-ignore: decorator
@inline
export function get(field: i32): u32 {
  if (DEBUGGING) assert(<u32>field < <u32>HEADER_WORDS, "there is no such header word");
  return load<u32>(<usize>HEADER + ((<usize>field) << 2));
}

// @ts-ignore: decorator
@inline
export function set(field: i32, value: u32): void {
  if (DEBUGGING) assert(<u32>field < <u32>HEADER_WORDS, "there is no such header word");
  store<u32>(<usize>HEADER + ((<usize>field) << 2), value);
}

// @ts-ignore: decorator
@inline
export function add(field: i32, delta: i32): void {
  if (DEBUGGING) assert(delta >= 0 || get(field) >= <u32>-delta, "a counter falls below zero");
  set(field, get(field) + delta);
}
