import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import type { View } from "../host_types.ts";
import { pagesOf } from "../size.ts";
import type { Tt } from "./tt.ts";

/** Views on bytes [offset, offset + length) of a populated tt, in order: one for each stretch side by side. */
export function segmentsOf(
  engine: Engine,
  { vector, numPages }: Tt,
  offset: number,
  length: number,
): View[] {
  const first = Math.floor(offset / PAGE_SIZE);
  const count = pagesOf(offset + length) - first;
  let skip = offset - first * PAGE_SIZE;
  const page = engine.pageAt(vector + first);
  if (engine.chunkPages(page) >= count) return [engine.view(page + skip, length)];
  let left = length;
  const segments: View[] = [];
  for (const { address, pages } of engine.vectorExtents(vector, numPages, first, count)) {
    const bytes = Math.min(pages * PAGE_SIZE - skip, left);
    segments.push(engine.view(address + skip, bytes));
    left -= bytes;
    skip = 0;
  }
  return segments;
}
