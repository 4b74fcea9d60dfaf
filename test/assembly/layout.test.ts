/* The module itself, and where it puts things. */
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import * as abi from "../../assembly/abi.ts";
import {
  DEBUGGING,
  EngineUnderTest,
  engineBytes,
  engineModule,
  equal,
  instantiate,
  must,
  U32_MAX,
  WASM_PAGE,
} from "./engine_under_test.ts";

/** A number in LEB128 at `at`, and where the next byte is. */
function readLeb(bytes: Uint8Array, at: number): [value: number, next: number] {
  let value = 0;
  for (let shift = 0; ; shift += 7) {
    const byte = bytes[at++]!;
    value += (byte & 0x7f) * 2 ** shift;
    if (byte < 0x80) return [value, at];
  }
}

/** The sections of a wasm binary, by number. Custom sections (0) are left out. */
function sectionsOf(bytes: Uint8Array): Map<number, Uint8Array> {
  const sections = new Map<number, Uint8Array>();
  for (let at = 8; at < bytes.length; ) {
    const id = bytes[at]!;
    const [size, start] = readLeb(bytes, at + 1);
    if (id !== 0) sections.set(id, bytes.subarray(start, start + size));
    at = start + size;
  }
  return sections;
}

/** How many globals a module has, and how many of them can change. */
function countGlobals(bytes: Uint8Array): { all: number; mutable: number } {
  const section = sectionsOf(bytes).get(6);
  if (section === undefined) return { all: 0, mutable: 0 };
  let [all, at] = readLeb(section, 0);
  let mutable = 0;
  for (let i = 0; i < all; i++) {
    mutable += section[at + 1]!;
    at += 2;
    // The initial value: an opcode, its operand (LEB128, or 4 or 8 bytes of a float), and the end.
    const opcode = section[at]!;
    if (opcode === 0x43) at += 5;
    else if (opcode === 0x44) at += 9;
    else at = readLeb(section, at + 1)[1];
    equal(section[at++], 0x0b, "end of an initial value");
  }
  return { all, mutable };
}

describe("the module", () => {
  test("imports nothing; in a debug build what is to be done when an assertion fails", () => {
    const abort = { module: "env", name: "abort", kind: "function" };
    expect(WebAssembly.Module.imports(engineModule)).toEqual(DEBUGGING ? [abort] : []);
    const published = readFileSync(new URL("../../build/engine.wasm", import.meta.url));
    expect(WebAssembly.Module.imports(new WebAssembly.Module(published))).toEqual([]);
    const debug = readFileSync(new URL("../../build/debug.wasm", import.meta.url));
    expect(WebAssembly.Module.imports(new WebAssembly.Module(debug))).toEqual([abort]);
  });

  test("exports functions and its memory only", () => {
    const exports = WebAssembly.Module.exports(engineModule);
    const others = exports.filter(({ kind }) => kind !== "function");
    expect(others).toEqual([{ name: "memory", kind: "memory" }]);
  });

  test("as it is published has nothing of the assertions, whose messages are its only data", () => {
    const published = readFileSync(new URL("../../build/engine.wasm", import.meta.url));
    expect(sectionsOf(published).has(11)).toBe(false);
  });

  test("keeps no state outside its memory", () => {
    expect(countGlobals(engineBytes).mutable).toBe(0);
  });

  test("the count of globals above would see a mutable one", () => {
    const header = [0, 0x61, 0x73, 0x6d, 1, 0, 0, 0];
    const globals = [3, 0x7f, 1, 0x41, 0x80, 0x01, 0x0b, 0x7f, 0, 0x41, 0, 0x0b];
    const last = [0x7c, 1, 0x44, 0, 0, 0, 0, 0, 0, 0, 0, 0x0b];
    const bytes = Uint8Array.from([
      ...header,
      6,
      globals.length + last.length,
      ...globals,
      ...last,
    ]);
    expect(WebAssembly.validate(bytes)).toBe(true);
    expect(countGlobals(bytes)).toEqual({ all: 3, mutable: 2 });
  });

  test("is at most 20.5 KiB as it is published", () => {
    const file = new URL("../../build/engine.wasm", import.meta.url);
    expect(readFileSync(file).length).toBeLessThanOrEqual(20.5 * 1024);
  });
});

const SIZES = [
  { frames: 1, slots: 1, entries: 1, ram: false, dma32: 1 },
  { frames: 1, slots: 1, entries: 1, ram: true, dma32: 0 },
  { frames: 513, slots: 4097, entries: 1000, ram: true, dma32: 512 },
  { frames: 3000, slots: 1_000_000, entries: 70_001, ram: false, dma32: 3000 },
  { frames: 1000, slots: 64, entries: 1_000_000, ram: true, dma32: 0 },
];

describe.each(SIZES)(
  "$frames frames ($dma32 DMA32), $slots slots, $entries entries, RAM swap: $ram",
  (sizes) => {
    test("the regions lie in order, large enough and apart", () => {
      const e = new EngineUnderTest(sizes);
      const { frames, slots, entries, ram, dma32 } = sizes;
      const framesAt = e.firstPfn * abi.PAGE_SIZE;
      const framesEnd = framesAt + frames * abi.PAGE_SIZE;
      const regions: [name: string, at: number, bytes: number][] = [
        ["swap map", e.header(abi.H_SWAP_MAP), slots / 8],
        ["raw map", e.header(abi.H_RAW_MAP), slots / 8],
        ["vector map", e.header(abi.H_VECTOR_MAP), entries / 8],
        ["page table", e.header(abi.H_PAGE_TABLE), frames * abi.PAGE_STRUCT_BYTES],
        ["entries", e.header(abi.H_ENTRY), entries * 4],
        ["shadows", e.header(abi.H_SHADOW), entries * 4],
        ["checksums", e.header(abi.H_SUM), entries * 4],
        ["page frames", framesAt, frames * abi.PAGE_SIZE],
        ["RAM swap", ram ? e.header(abi.H_RAM) : framesEnd, ram ? slots * abi.PAGE_SIZE : 0],
        ["end", e.header(abi.H_END), 0],
      ];
      let end = abi.FIXED_END;
      for (const [name, at, bytes] of regions) {
        must(at >= end, `the ${name} at ${at} overlap what ends at ${end}`);
        equal(at % 4, 0, `alignment of the ${name}`);
        end = at + bytes;
      }
      expect(end).toBeLessThanOrEqual(e.bytes.length);
      expect(e.header(abi.H_RAM)).toBe(ram ? framesEnd : 0);
      expect(e.header(abi.H_MAGIC)).toBe(abi.MAGIC);
      for (const field of [abi.H_FRAMES, abi.H_FREE_PAGES]) expect(e.header(field)).toBe(frames);
      expect(e.header(abi.H_DMA32_END)).toBe(e.firstPfn + dma32);
      const pagesOf = (zone: number) =>
        e.freeChunks(zone).reduce((sum, count, order) => sum + (count << order), 0);
      expect([pagesOf(0), pagesOf(1)]).toEqual([dma32, frames - dma32]);
      expect(e.header(abi.H_SLOTS)).toBe(slots);
      expect(e.freeSlots).toBe(slots);
      expect(e.header(abi.H_ENTRIES)).toBe(entries);
      expect(e.freeEntries).toBe(entries);
      e.mustHold("init");
    });

    test("the memory is as large as that, and not larger", () => {
      const e = new EngineUnderTest(sizes);
      const end = e.header(abi.H_END);
      expect(e.bytes.length).toBeGreaterThanOrEqual(end);
      expect(e.bytes.length).toBeLessThan(end + WASM_PAGE);
    });

    test("metadata takes 16 bytes a frame, 12 an entry and at most 1 a slot", () => {
      const e = new EngineUnderTest(sizes);
      const { frames, slots, entries } = sizes;
      const words = [abi.H_SWAP_MAP, abi.H_VECTOR_MAP, abi.H_PAGE_TABLE, abi.H_ENTRY] as const;
      const [swapMap, vectorMap, pageTable, entry] = words.map((field) => e.header(field)) as [
        number,
        number,
        number,
        number,
      ];
      expect((entry - pageTable) / frames).toBeLessThanOrEqual(16);
      const entryBytes = e.firstPfn * abi.PAGE_SIZE - entry;
      expect((entryBytes - (abi.PAGE_SIZE - 1)) / entries).toBeLessThanOrEqual(12);
      // Apart from the head and one word of each level, which even the smallest map has.
      const head = 128;
      expect((vectorMap - swapMap - head) / slots).toBeLessThanOrEqual(1);
      expect(((pageTable - vectorMap - head) * 8) / entries).toBeLessThanOrEqual(1.1);
    });
  },
);

describe("init", () => {
  const sized = (wasmPages: number) => {
    const wasm = instantiate();
    wasm.memory.grow(wasmPages - wasm.memory.buffer.byteLength / WASM_PAGE);
    return wasm;
  };
  const hash = (memory: WebAssembly.Memory) => {
    let sum = 0;
    for (const word of new Uint32Array(memory.buffer)) sum = (Math.imul(sum, 31) + word) | 0;
    return sum;
  };

  test("finds nothing but zeros where it lays things out", () => {
    const { memory } = sized(8);
    // The messages of a debug build lie between the two.
    const header = new Uint8Array(memory.buffer, abi.HEADER, 4 * abi.HEADER_WORDS);
    const rest = new Uint8Array(memory.buffer, abi.ITEMS);
    expect([header, rest].map((part) => part.every((byte) => byte === 0))).toEqual([true, true]);
  });

  test("refuses sizes out of range, and changes nothing", () => {
    const wasm = sized(64);
    const before = hash(wasm.memory);
    for (const [frames, slots, entries] of [
      [0, 1, 1],
      [1, 0, 1],
      [1, 1, 0],
      [2 ** 20 + 1, 1, 1],
      [2 ** 31, 1, 1],
      [U32_MAX, 1, 1],
      [1, 2 ** 31, 1],
      [1, U32_MAX, 1],
      [1, 1, 2 ** 30 + 1],
      [1, 1, U32_MAX],
    ] as const) {
      for (const ram of [0, 1]) {
        expect(wasm.init(frames, slots, entries, ram, frames)).toBe(-abi.EINVAL);
        expect(hash(wasm.memory)).toBe(before);
      }
    }
    expect(wasm.init(1, 1, 1, 1, 1)).toBe(0);
    expect(wasm.check()).toBe(0);
  });

  test("refuses a DMA32 zone that ends inside a largest chunk, or behind the memory", () => {
    for (const frames of [1, 512, 1500]) {
      const pages = instantiate().memoryPages(frames, 8, 8, 0);
      const refused = sized(pages);
      const before = hash(refused.memory);
      for (const dma32 of [0, 1, 256, 511, 512, 513, 1023, 1024, 1536, 2 ** 31, U32_MAX, frames]) {
        if (dma32 === frames || (dma32 < frames && dma32 % 512 === 0)) {
          const wasm = sized(pages);
          expect(wasm.init(frames, 8, 8, 0, dma32)).toBe(0);
          expect(wasm.check()).toBe(0);
        } else expect(refused.init(frames, 8, 8, 0, dma32)).toBe(-abi.EINVAL);
      }
      expect(hash(refused.memory)).toBe(before);
    }
  });

  test("refuses a memory that is too small by a wasm page", () => {
    for (const { frames, slots, entries, ram } of SIZES) {
      const small = instantiate();
      const pages = small.memoryPages(frames, slots, entries, Number(ram));
      small.memory.grow(pages - 1 - small.memory.buffer.byteLength / WASM_PAGE);
      const before = hash(small.memory);
      expect(small.init(frames, slots, entries, Number(ram), frames)).toBe(-abi.ENOMEM);
      expect(hash(small.memory)).toBe(before);
      small.memory.grow(1);
      expect(small.init(frames, slots, entries, Number(ram), frames)).toBe(0);
    }
  });

  test("refuses what does not fit 4 GiB, before it looks at the memory", () => {
    const wasm = sized(2);
    for (const [frames, slots, entries, ram] of [
      [2 ** 20, 1, 1, 0],
      [2 ** 20 - 1, 1, 1, 0],
      [1, 2 ** 20, 1, 1],
      [1, 2 ** 31 - 1, 1, 1],
      [1, 1, 2 ** 30, 0],
      [2 ** 20, 2 ** 31 - 1, 2 ** 30, 1],
    ] as const) {
      expect(wasm.memoryPages(frames, slots, entries, ram)).toBeGreaterThan(65535);
      expect(wasm.init(frames, slots, entries, ram, frames)).toBe(-abi.ENOMEM);
    }
  });

  test("is done once", () => {
    const e = new EngineUnderTest({ frames: 64, slots: 64, entries: 64 });
    const pfn = e.wasm.allocPages(0);
    e.mustRefuse(abi.EINVAL, "second init", () => e.wasm.init(64, 64, 64, 0, 64));
    e.mustRefuse(abi.EINVAL, "smaller second init", () => e.wasm.init(1, 1, 1, 0, 1));
    expect(e.wasm.givePages(pfn, 0)).toBe(0);
    expect(e.wasm.check()).toBe(0);
  });
});

describe("memoryPages", () => {
  test("grows with every size, and has no overflow at the largest", () => {
    const { memoryPages } = instantiate();
    const steps = [1, 64, 1000, 2 ** 16, 2 ** 20, 2 ** 30, 2 ** 31, U32_MAX];
    for (const ram of [0, 1]) {
      for (let i = 1; i < steps.length; i++) {
        const [low, high] = [steps[i - 1]!, steps[i]!];
        for (const other of [1, 5000, U32_MAX]) {
          const grows = (a: number, b: number) => must(a > 0 && a <= b, `${a}, ${b} pages`);
          grows(memoryPages(low, other, 7, ram), memoryPages(high, other, 7, ram));
          grows(memoryPages(7, low, other, ram), memoryPages(7, high, other, ram));
          grows(memoryPages(other, 7, low, ram), memoryPages(other, 7, high, ram));
        }
      }
    }
    expect(memoryPages(U32_MAX, U32_MAX, U32_MAX, 1)).toBeGreaterThan(2 ** 28);
  });
});

describe("the fixed areas", () => {
  test("do not overlap", () => {
    const pools = 2 * abi.POOL_TYPES_MAX * abi.NR_ORDERS;
    expect(abi.H_POOL + pools).toBeLessThanOrEqual(abi.HEADER_WORDS);
    expect(abi.HEADER + abi.HEADER_WORDS * 4).toBeLessThanOrEqual(abi.ITEMS);
    expect(abi.ITEMS + abi.ITEMS_MAX * abi.ITEM_BYTES).toBeLessThanOrEqual(abi.EXTENTS);
    const extentsEnd = abi.EXTENTS + abi.EXTENTS_MAX * abi.EXTENT_BYTES;
    expect(extentsEnd).toBeLessThanOrEqual(abi.SUM_KEY);
    expect(abi.SUM_KEY % 16).toBe(0);
    expect(abi.SUM_KEY + abi.SUM_KEY_BYTES).toBeLessThanOrEqual(abi.FIXED_END);
    expect(abi.EXTENTS_MAX).toBeGreaterThanOrEqual(abi.BATCH_PAGES_MAX + 2 ** abi.MAX_ORDER);
  });

  test("the parts of how a walk treats pages do not overlap", () => {
    const parts = [
      abi.WALK_ORDERS,
      abi.WALK_DMA32,
      0xff * 2 ** abi.WALK_POOL_SHIFT,
      3 * 2 ** abi.WALK_CACHING_SHIFT,
      abi.WALK_KEEP,
    ];
    const all = parts.reduce((sum, part) => sum + part, 0);
    expect(parts.reduce((bits, part) => bits | part, 0)).toBe(all);
    expect(abi.WALK_ORDERS).toBe(2 ** abi.NR_ORDERS - 1);
    expect(abi.POOL_TYPES_MAX).toBeLessThan(0xff);
  });

  test("header words have numbers of their own", () => {
    const numbers = Object.entries(abi).filter(([name]) => /^H_/.test(name));
    const taken = new Map<number, string>();
    for (const [name, number] of numbers) {
      const lists =
        name === "H_POOL" ? 2 * abi.POOL_TYPES_MAX : /^H_FREE_(HEAD|COUNT)/.test(name) ? 2 : 0;
      const words = Math.max(1, lists * abi.NR_ORDERS);
      for (let i = 0; i < words; i++) {
        const other = taken.get(number + i);
        must(other === undefined, `${name} and ${other} share a word`);
        taken.set(number + i, name);
      }
    }
    expect(taken.size).toBeGreaterThan(700);
  });
});
