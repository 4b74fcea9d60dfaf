/*
 * The checksum of a page: that it is the one described, and that different pages have different ones under
 * a random key, whatever they hold. A key lies in memory, so a test can set it, word by word.
 */
import { beforeEach, describe, expect, test } from "vitest";
import { PAGE_SIZE, SUM_KEY, SUM_KEY_BYTES } from "../../assembly/abi.ts";
import { collision } from "../support/collision.ts";
import { Random } from "../support/random.ts";
import { EngineUnderTest, equal, forAll, must, program } from "./engine_under_test.ts";
import { randomBytes } from "./page_content.ts";

/** 16-bit words of a page, of a vector, and of a step of two vectors. */
const WORDS = PAGE_SIZE / 2;
const VECTOR = 8;
const STEP = 16;
const HIGH = 0x8000;

const e = new EngineUnderTest({ frames: 2, slots: 1, entries: 1 });
const defaultKey = e.bytes.slice(SUM_KEY, SUM_KEY + SUM_KEY_BYTES);
const key = e.bytes.subarray(SUM_KEY, SUM_KEY + SUM_KEY_BYTES);
const keyWords = new Int16Array(key.buffer, SUM_KEY, WORDS + STEP);
/** The numbers a, b and c of the end. */
const join = new BigUint64Array(key.buffer, SUM_KEY + PAGE_SIZE + 2 * STEP, 3);
const pfn = e.wasm.allocPages(0);
const page = e.page(pfn * PAGE_SIZE);
const words = new Int16Array(page.buffer, page.byteOffset, WORDS);

const sum = () => e.wasm.pageChecksum(pfn) >>> 0;
const sumOf = (content: Uint8Array) => {
  page.set(content);
  return sum();
};

beforeEach(() => {
  key.set(defaultKey);
  page.fill(0);
});

/** A word that wraps to 16 bits. */
const wrap = (word: number) => (word << 16) >> 16;

/** The sum of the products of all pairs, with the key from word `from` on, modulo 2^32. */
function nh(page: Int16Array, key: Int16Array, from: number): number {
  let sum = 0;
  for (let i = 0; i < WORDS; i++) {
    if (i % STEP >= VECTOR) continue;
    const j = i + VECTOR;
    const x = wrap(page[i]! + key[from + i]!);
    const y = wrap(page[j]! + key[from + j]!);
    sum = (sum + Math.imul(x, y)) >>> 0;
  }
  return sum;
}

/** The checksum as assembly/page_bytes.ts describes it. */
function reference(): number {
  const [a, b, c] = join;
  const p = BigInt(nh(words, keyWords, 0));
  const q = BigInt(nh(words, keyWords, STEP));
  return Number(BigInt.asUintN(64, a! * p + b! * q + c!) >> 32n);
}

describe("the checksum", () => {
  test("is that of the reference, for random pages and keys", () => {
    forAll(program(1), 100, ([word]) => {
      const dice = new Random(word!);
      randomBytes(page, dice);
      equal(sum(), reference(), `checksum of page ${word}`);
      randomBytes(key, dice);
      equal(sum(), reference(), `checksum of page ${word} under a key of its own`);
    });
  });

  test("is that of the reference where words are the least and the greatest", () => {
    for (const byte of [0, 1, 0x7f, 0x80, 0xff]) {
      for (const keyByte of [0, 0x7f, 0x80, 0xff]) {
        page.fill(byte);
        key.fill(keyByte);
        expect(sum()).toBe(reference());
      }
    }
  });

  test("has a key to begin with, the same for each engine, and nothing of it is zero", () => {
    const other = new EngineUnderTest({ frames: 9, slots: 5, entries: 3, ram: true });
    expect(other.bytes.slice(SUM_KEY, SUM_KEY + SUM_KEY_BYTES)).toEqual(defaultKey);
    const numbers = new BigUint64Array(defaultKey.buffer);
    expect(new Set(numbers).size).toBe(numbers.length);
    expect(numbers.every((number) => number !== 0n)).toBe(true);
  });

  test("is the same for the same bytes in another page", () => {
    const two = new EngineUnderTest({ frames: 8, slots: 1, entries: 1 });
    const first = two.wasm.allocPages(2);
    randomBytes(two.page(first * PAGE_SIZE), new Random(5));
    expect(two.wasm.pageCopy(first + 3, first)).toBe(0);
    expect(two.wasm.pageChecksum(first + 3)).toBe(two.wasm.pageChecksum(first));
  });

  test("changes with a single bit of each of the 4096 bytes", () => {
    for (const make of [() => page.fill(0), () => randomBytes(page, new Random(9))]) {
      make();
      const before = sum();
      for (let at = 0; at < PAGE_SIZE; at++) {
        page[at]! ^= 1 << (at % 8);
        must(sum() !== before, `a bit at ${at} is not seen`);
        page[at]! ^= 1 << (at % 8);
      }
      equal(sum(), before, "checksum of the page as it was");
    }
  });
});

/** Makes p, or q, the whole of the checksum. */
function showOnly(half: "p" | "q"): void {
  join[0] = half === "p" ? 2n ** 32n : 0n;
  join[1] = half === "q" ? 2n ** 32n : 0n;
  join[2] = 0n;
}

/** For how many of the 65,536 values of a key word both pages have the same sum. */
function equalKeys(at: number, one: Uint8Array, other: Uint8Array): number {
  const sums = (content: Uint8Array) => {
    page.set(content);
    return Uint32Array.from({ length: 2 ** 16 }, (_, value) => {
      keyWords[at] = value;
      return sum();
    });
  };
  const before = sums(one);
  return sums(other).reduce((count, s, i) => count + Number(s === before[i]), 0);
}

/** What is done to the words x and y of a pair. */
const PAIRS: readonly (readonly [x: number, y: number])[] = [
  [0, 1],
  [0, HIGH],
  [HIGH, HIGH],
  [1, 1],
  [0x5555, 0xaaaa],
  [HIGH, 1],
  [1, 0],
];

// The chance of 2^-15 is exactly this: two of 65,536.
describe.each(PAIRS)("a pair of words that changes by %i and %i", (x, y) => {
  test.each([
    ["p", 0],
    ["p", WORDS - STEP],
    ["q", 0],
    ["q", 1024],
  ] as const)("%s, pair at word %i: at most 2 of all values of a key word hide it", (half, at) => {
    const dice = new Random(x + y + at);
    randomBytes(key, dice);
    randomBytes(page, dice);
    showOnly(half);
    const before = page.slice();
    words[at]! += x;
    words[at + VECTOR]! += y;
    const after = page.slice();
    const from = half === "p" ? 0 : STEP;
    // The other word's key, unless it is the same word there.
    const asked = from + at + (y === 0 ? VECTOR : 0);
    expect(equalKeys(asked, before, after)).toBeLessThanOrEqual(2);
  });
});

/** Contents of the kinds that sums with fixed or related weights are blind to. */
const CONTENTS: Record<string, (dice: Random) => void> = {
  zeros: () => {},
  "8 words are 1": (dice) => {
    for (let i = 0; i < 8; i++) words[dice.below(WORDS)] = 1;
  },
  "flags of 16 bits": (dice) => {
    for (let i = 0; i < WORDS; i++) words[i] = dice.below(2);
  },
  "bytes 0 or 1": (dice) => {
    for (let i = 0; i < PAGE_SIZE; i++) page[i] = dice.below(2);
  },
  "a counter": (dice) => {
    const start = dice.next();
    new Uint32Array(page.buffer, page.byteOffset, WORDS / 2).forEach((_, i, all) => {
      all[i] = start + i;
    });
  },
  "one byte": (dice) => page.fill(dice.next()),
  random: (dice) => randomBytes(page, dice),
};

/** Exchanges two blocks of `size` bytes that differ, or changes a byte when there are none. */
function exchange(size: number, dice: Random): void {
  for (let i = 0; i < 50; i++) {
    const a = size * dice.below(PAGE_SIZE / size);
    const b = size * dice.below(PAGE_SIZE / size);
    const [one, other] = [page.slice(a, a + size), page.slice(b, b + size)];
    if (one.every((byte, at) => byte === other[at])) continue;
    page.set(other, a);
    page.set(one, b);
    return;
  }
  page[dice.below(PAGE_SIZE)]! ^= 1;
}

const flipBits = (count: number) => (dice: Random) => {
  const places = new Set<number>();
  while (places.size < count) places.add(dice.below(PAGE_SIZE * 8));
  for (const place of places) page[place >> 3]! ^= 1 << (place & 7);
};

const DAMAGE: Record<string, (dice: Random) => void> = {
  "2 bits": flipBits(2),
  "3 bits": flipBits(3),
  "the highest bits of a pair": (dice) => {
    const at = STEP * dice.below(WORDS / STEP) + dice.below(VECTOR);
    words[at]! ^= HIGH;
    words[at + VECTOR]! ^= HIGH;
  },
  "the highest bits of a sector": (dice) => {
    const at = 256 * dice.below(8);
    for (let i = at; i < at + 256; i++) words[i]! ^= HIGH;
  },
  "one more here, one less there": (dice) => {
    const at = dice.below(WORDS - 1);
    words[at]! += 1;
    words[at + 1 + dice.below(WORDS - at - 1)]! -= 1;
  },
  "a sector all ones": (dice) => {
    const at = 512 * dice.below(8);
    page[at]! ^= 0x10;
    page.fill(0xff, at + 1, at + 512);
  },
  shifted: (dice) => {
    page[0]! ^= 1;
    page.copyWithin(1 + dice.below(64), 0);
  },
  ...Object.fromEntries(
    [2, 4, 8, 16, 32, 64, 128, 256, 512, 1024, 2048].map((size) => [
      `blocks of ${size} bytes exchanged`,
      (dice: Random) => exchange(size, dice),
    ]),
  ),
};

describe.each(Object.entries(CONTENTS))("in pages of this kind: %s", (_, make) => {
  test.each(Object.entries(DAMAGE))("%s: seen under every key", (_, damage) => {
    forAll(program(1), 40, ([word]) => {
      const dice = new Random(word!);
      page.fill(0);
      make(dice);
      const before = page.slice();
      damage(dice);
      const after = page.slice();
      if (before.every((byte, i) => byte === after[i])) return;
      // That of a device that nobody gave one, and a few more.
      key.set(defaultKey);
      for (let n = 0; n < 5; n++) {
        must(sumOf(before) !== sumOf(after), `under key ${n}, page ${word}`);
        randomBytes(key, dice);
      }
    });
  });
});

describe("over random keys", () => {
  // Exactly 1 of 256 for a key with a, b and c at random; 15 is the standard deviation of the count.
  test("8 bits of the checksums of two pages are equal for 1 of 256 keys, for hard pairs too", () => {
    const kinds = Object.values(DAMAGE);
    const keys = 60_000;
    forAll(program(1), 1, ([word]) => {
      const dice = new Random(word!);
      let same = 0;
      for (let i = 0; i < keys; i += 10) {
        page.fill(0);
        CONTENTS["8 words are 1"]!(dice);
        const before = page.slice();
        kinds[(i / 10) % kinds.length]!(dice);
        const after = page.slice();
        for (let n = 0; n < 10; n++) {
          for (let at = 0; at < 3; at++) {
            join[at] = (BigInt(dice.next()) << 32n) | BigInt(dice.next());
          }
          // A new word of the first step, too: it changes what the sums are.
          keyWords[dice.below(WORDS)] = dice.next();
          if ((sumOf(before) ^ sumOf(after)) % 256 === 0) same++;
        }
      }
      must(Math.abs(same - keys / 256) < 6 * 15, `${same} of ${keys}`);
    });
  });

  test("a page that is made to collide under one key is seen under the others", () => {
    forAll(program(1), 20, ([word]) => {
      const dice = new Random(word!);
      randomBytes(key, dice);
      const { one, other } = collision(keyWords, (limit) => dice.below(limit));
      equal(sumOf(one), sumOf(other), "sums under the key it is made for");
      for (let n = 0; n < 50; n++) {
        randomBytes(key, dice);
        must(sumOf(one) !== sumOf(other), `not seen under key ${n}`);
      }
    });
  });
});
