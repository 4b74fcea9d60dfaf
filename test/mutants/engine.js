/* Faults of the engine (assembly/): pages, entries, slots, and what is done to their bytes. */

/** @type {import("../../scripts/mutants.js").Mutant[]} */
export const mutants = [
  {
    name: "frame-unzeroed",
    what: "a frame that somebody had before is given on with what he left in it",
    file: "assembly/fill.ts",
    find: "if (!clean) clearPages(page, 1);",
    put: "",
  },
  {
    name: "fresh-frames-off-by-one",
    what: "the last frame that was ever used counts as one that never was, and is not cleared",
    file: "assembly/fill.ts",
    find: "page >> PAGE_SHIFT >= fresh ||",
    put: "page >> PAGE_SHIFT >= fresh - 1 ||",
  },
  {
    name: "commit-before-transfer",
    what: "a chunk becomes visible as soon as one of its pages was read",
    file: "assembly/fill.ts",
    find: "const whole = i + pages <= stop;",
    put: "const whole = i < stop;",
  },
  {
    name: "half-read-chunk-given-back",
    what: "the chunk that an interrupted restore is to keep is given back",
    file: "assembly/fill.ts",
    find: "if (i >= stop && held) giveHeld(index, flags);",
    put: "if (held) giveHeld(index, flags);",
  },
  {
    name: "overwrite-covers-one-page-too-many",
    what: "the page behind those that a write covers whole is not read either",
    file: "assembly/fill.ts",
    find: `i + j < overwriteTo) {
        j = min(pages, overwriteTo - i);`,
    put: `i + j <= overwriteTo && overwriteTo) {
        j = min(pages, overwriteTo + 1 - i);`,
  },
  {
    name: "restored-slot-leaks",
    what: "a page that comes back and keeps no slot does not free it",
    file: "assembly/fill.ts",
    find: "if (isHandle(entry)) giveSlots(entryToSlot(entry), run);",
    put: "",
  },
  {
    name: "rollback-leaks-slots",
    what: "slots of pages that did not leave after all are not given back",
    file: "assembly/shrink.ts",
    find: `      if (isHandle(shadow)) continue;
      giveSlots(entryToSlot(shadow), 1);
    }
    setShadow(index + i, 0);`,
    put: `      if (isHandle(shadow)) continue;
    }
    setShadow(index + i, 0);`,
  },
  {
    name: "rollback-keeps-slots",
    what: "a page that did not leave after all still names the slot that was given back",
    file: "assembly/shrink.ts",
    find: `      giveSlots(entryToSlot(shadow), 1);
    }
    setShadow(index + i, 0);`,
    put: `      giveSlots(entryToSlot(shadow), 1);
      continue;
    }
    setShadow(index + i, 0);`,
  },
  {
    name: "mark-not-taken-back",
    what: "a chunk of which nothing left stays marked as being moved",
    file: "assembly/shrink.ts",
    find: `  const pfn = entry >> PAGE_SHIFT;
  setMoving(pageStruct(pfn), false);`,
    put: `  const pfn = entry >> PAGE_SHIFT;
  if (n) setMoving(pageStruct(pfn), false);`,
  },
  {
    name: "clean-taken-for-dirty",
    what: "a page whose copy in swap is valid is treated as one that was written",
    file: "assembly/shrink.ts",
    find: `  if (isHandle(shadow)) return true;
  if (!isZeros(entryAt(i))) return false;`,
    put: "  if (!isZeros(entryAt(i))) return false;",
  },
  {
    name: "zeros-keep-their-slot",
    what: "a page of zeros that leaves forgets the slot that it kept, without freeing it",
    file: "assembly/shrink.ts",
    find: "if (shadow) giveSlots(entryToSlot(shadow), 1);",
    put: "",
  },
  {
    name: "zeros-by-half-a-page",
    what: "half of a page is looked at to see whether it is zeros",
    file: "assembly/page_bytes.ts",
    find: "for (let at = address; at < address + PAGE_SIZE; at += 64) {",
    put: "for (let at = address; at < address + PAGE_SIZE; at += 128) {",
  },
  {
    name: "wrong-slot-in-a-run",
    what: "entries are read as one run although their slots do not lie side by side",
    file: "assembly/entry.ts",
    find: "load<u32>(at + ((<usize>length) << ENTRY_SHIFT)) == first + slotToShadow(length)",
    put: "isHandle(load<u32>(at + ((<usize>length) << ENTRY_SHIFT)))",
  },
  {
    name: "checksum-not-compared",
    what: "pages that come back are not compared with their checksums",
    file: "assembly/content.ts",
    find: "else if (sum != sumAt(index)) return i;",
    put: "",
  },
  {
    name: "checksum-left-behind",
    what: "vectors that move together leave their checksums where they were",
    file: "assembly/vector_pack.ts",
    find: "  memory.copy(sums + ((<usize>to) << ENTRY_SHIFT), sums + ((<usize>from) << ENTRY_SHIFT), bytes);",
    put: "",
  },
  {
    name: "dirty-page-forgotten",
    what: "a page that was written and keeps its slot still counts as clean",
    file: "assembly/page_vector.ts",
    find: `    setShadow(i, toStale(shadow));
    add(H_CLEAN, -1);`,
    put: "",
  },
  {
    name: "last-dirty-page-missed",
    what: "the last page of a write still counts as clean",
    file: "assembly/page_vector.ts",
    find: "for (let i = vector + start; i < vector + start + count; i++) {",
    put: "for (let i = vector + start; i + 1 < vector + start + count; i++) {",
  },
  {
    name: "discard-leaves-slots",
    what: "what is discarded, purged or destroyed does not free the slots of its pages in swap",
    file: "assembly/page_vector.ts",
    find: `      giveSlots(entryToSlot(entry), 1);
      add(H_SWAPPED, -1);`,
    put: "      add(H_SWAPPED, -1);",
  },
  {
    name: "swapped-count-off",
    what: "what is discarded, purged or destroyed still counts as pages in swap",
    file: "assembly/page_vector.ts",
    find: `      giveSlots(entryToSlot(entry), 1);
      add(H_SWAPPED, -1);`,
    put: "      giveSlots(entryToSlot(entry), 1);",
  },
  {
    name: "hole-cuts-a-chunk",
    what: "the chunk in which a hole ends is not split",
    file: "assembly/page_vector.ts",
    find: "  splitAt(end);\n",
    put: "",
  },
  {
    name: "buddies-of-unlike-size",
    what: "a chunk that is freed merges with a buddy of which only a part is free",
    file: "assembly/page_alloc.ts",
    find: "if (pageState(page) != FREE || pageOrder(page) != order) break;",
    put: "if (pageState(page) != FREE) break;",
  },
  {
    name: "pooled-frame-unzeroed",
    what: "a chunk goes into a pool with what it holds",
    file: "assembly/pool.ts",
    find: "  clearPages((<usize>pfn) << PAGE_SHIFT, 1 << order);\n",
    put: "",
  },
  {
    name: "quarantine-ends-early",
    what: "slots whose write failed are free again together with those that the store was too full for",
    file: "assembly/swap_space.ts",
    find: "const lost = load<u64>(asideAt(index)) & ~load<u64>(backedAt(index));",
    put: "const lost = load<u64>(asideAt(index));",
  },
  {
    name: "discard-names-the-slot-before",
    what: "a store is told of slots that hold nothing any more by numbers that are one too small",
    file: "assembly/swap_space.ts",
    find: "addRun((index << 6) + first + 1, count);",
    put: "addRun((index << 6) + first, count);",
  },
];
