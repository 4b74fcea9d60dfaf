import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Engine } from "../engine/engine.ts";
import { isPage } from "../engine/entry.ts";
import type { View } from "../host_types.ts";
import { pagesOf } from "../size.ts";
import type { Tt } from "./tt.ts";

/**
 * Views on bytes [offset, offset + length) of a populated tt, in order: one for each stretch side by side. `held`: of
 * pages that are held for entries, too.
 */
export function segmentsOf(
  engine: Engine,
  { vector, numPages }: Tt,
  offset: number,
  length: number,
  held = false,
): View[] {
  const first = Math.floor(offset / PAGE_SIZE);
  const count = pagesOf(offset + length) - first;
  let skip = offset - first * PAGE_SIZE;
  const page = held ? frameAt(engine, vector + first) : engine.pageAt(vector + first);
  if (engine.chunkPages(page) >= count) return [engine.view(page + skip, length)];
  let left = length;
  const segments: View[] = [];
  const stretches = held
    ? stretchesOf(engine, vector + first, count)
    : engine.vectorExtents(vector, numPages, first, count);
  for (const { address, pages } of stretches) {
    const bytes = Math.min(pages * PAGE_SIZE - skip, left);
    segments.push(engine.view(address + skip, bytes));
    left -= bytes;
    skip = 0;
  }
  return segments;
}

/** Address of the page that entry `index` is, or that is held for it. */
function frameAt(engine: Engine, index: number): number {
  const shadow = engine.shadow(index);
  return !isPage(engine.entry(index)) && isPage(shadow) ? shadow : engine.pageAt(index);
}

/** Such pages of `count` entries from `index` on: stretches side by side. */
function stretchesOf(engine: Engine, index: number, count: number) {
  const stretches: { readonly address: number; pages: number }[] = [];
  for (let i = index; i < index + count; i++) {
    const address = frameAt(engine, i);
    const last = stretches[stretches.length - 1];
    if (last && last.address + last.pages * PAGE_SIZE === address) last.pages++;
    else stretches.push({ address, pages: 1 });
  }
  return stretches;
}
