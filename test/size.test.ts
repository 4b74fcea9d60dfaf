import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { PAGE_SIZE } from "../src/index.ts";
import { formatSize, pagesOf, parseSize } from "../src/size.ts";
import { SEED } from "./support/random.ts";

describe("parseSize", () => {
  test.each<[number | string, number]>([
    [1, 1],
    [4096, 4096],
    [2 ** 53 - 1, 2 ** 53 - 1],
    ["1", 1],
    ["4096", 4096],
    ["512 B", 512],
    ["512b", 512],
    ["64 KiB", 65_536],
    ["64KiB", 65_536],
    ["64 kib", 65_536],
    ["  64   KiB  ", 65_536],
    ["\t1\tMiB\n", 2 ** 20],
    ["64 MiB", 2 ** 26],
    ["4 GiB", 2 ** 32],
    ["4GIB", 2 ** 32],
    ["1 TiB", 2 ** 40],
    ["1 kB", 1000],
    ["1 KB", 1000],
    ["5 MB", 5e6],
    ["1.5 GB", 1.5e9],
    ["2 TB", 2e12],
    ["0.5 KiB", 512],
    ["1.5MiB", 1_572_864],
    [".5 MiB", 524_288],
    ["1. MiB", 2 ** 20],
    ["+1 MiB", 2 ** 20],
    ["1e3", 1000],
    ["1e3 KiB", 1_024_000],
    ["1.5e3", 1500],
    ["64M", 2 ** 26],
    ["64 m", 2 ** 26],
    ["512k", 2 ** 19],
    ["1.5 G", 1.5 * 2 ** 30],
    ["2T", 2 ** 41],
  ])("%j is %d bytes", (size, bytes) => {
    expect(parseSize(size, "size")).toBe(bytes);
  });

  // Decimal fractions that no double holds exactly, times a power of ten.
  test.each<[string, number]>([
    ["1.1 kB", 1100],
    ["2.3 kB", 2300],
    ["1.005 MB", 1_005_000],
    ["4.35 MB", 4_350_000],
    ["8.2 MB", 8_200_000],
    ["1.001 GB", 1_001_000_000],
    ["4.35 GB", 4_350_000_000],
    ["0.57 GB", 570_000_000],
    ["1.1 TB", 1_100_000_000_000],
  ])("%j is a whole number of bytes: %d", (size, bytes) => {
    expect(parseSize(size, "size")).toBe(bytes);
  });

  test.each<[string, number]>([
    ["3.9GiB", 4_187_593_113],
    ["3.9G", 4_187_593_113],
    ["0.3 KiB", 307],
    ["1.0007 kB", 1000],
  ])("%j is rounded down to whole bytes: %d", (size, bytes) => {
    expect(parseSize(size, "size")).toBe(bytes);
  });

  test("any number with up to three decimals is read exactly in decimal units", () => {
    const units: [string, number][] = [
      ["kB", 3],
      ["MB", 6],
      ["GB", 9],
    ];
    const property = fc.property(
      fc.integer({ min: 1, max: 999_999 }),
      fc.constantFrom(...units),
      (thousandths, [unit, zeros]) => {
        const text = `${Math.floor(thousandths / 1000)}.${String(thousandths % 1000).padStart(3, "0")}`;
        expect(parseSize(`${text} ${unit}`, "size")).toBe(thousandths * 10 ** (zeros - 3));
      },
    );
    fc.assert(property, { seed: SEED, numRuns: 2000 });
  });

  test.each<number | string>([
    0,
    -1,
    -4096,
    0.5,
    4096.5,
    Number.NaN,
    Number.POSITIVE_INFINITY,
    Number.NEGATIVE_INFINITY,
    2 ** 53,
    1e300,
    "0",
    "0 MiB",
    "-1 MiB",
    "-1",
    "1.5",
    "1.5 B",
    "0.0003 KiB",
    "9007199254740992",
    "1e300",
    "1..5 MiB",
    ".",
    ". MiB",
    "constructor",
  ])("%j is out of range: RangeError names the argument and the value", (size) => {
    const parse = () => parseSize(size, "memory");
    expect(parse).toThrow(RangeError);
    expect(parse).toThrow(/^memory /);
    expect(parse).toThrow(String(size));
  });

  test.each([
    "",
    " ",
    "MiB",
    "64 XiB",
    "64 MiBs",
    "64 E",
    "64 MM",
    "64 bits",
    "64 MiB MiB",
    "6 4 MiB",
    "64,5 MiB",
    "0x40",
    "NaN",
    "Infinity",
    "1e-3 MB",
    "--1",
    "1 toString",
    "1 constructor",
    "1 __proto__",
    "½ MiB",
  ])("%j is not understood: RangeError says what would be", (size) => {
    const parse = () => parseSize(size, "ramSwap size");
    expect(parse).toThrow(RangeError);
    expect(parse).toThrow(`ramSwap size is ${JSON.stringify(size)}`);
    expect(parse).toThrow("use a number and a unit of B, KiB, MiB, GiB, TiB, kB, MB, GB or TB");
  });

  // It would take for hours if each way to share blanks between two places were tried.
  test.each([
    ["blanks", " ", "1 MiB"],
    ["digits", "0", ".1"],
    ["letters", "e", "1"],
  ])("a million %s are read in one pass", (_, many, rest) => {
    const million = many.repeat(1_000_000);
    for (const text of [`1${million}!`, `${million}${rest}!`, `1${million}1${million}!`]) {
      expect(() => parseSize(text, "size")).toThrow(/use a number and a unit/);
    }
  });

  test.each([undefined, null, true, 64n, [], [64], {}, Symbol("64"), () => 64, new Date(64)])(
    "%s is neither a number nor a string: TypeError",
    (size) => {
      const parse = () => parseSize(size as never, "memory");
      expect(parse).toThrow(TypeError);
      expect(parse).toThrow('memory must be a number of bytes or a string such as "64 MiB"');
    },
  );
});

test.each([
  [1, 1],
  [PAGE_SIZE - 1, 1],
  [PAGE_SIZE, 1],
  [PAGE_SIZE + 1, 2],
  [2 ** 21, 512],
  [2 ** 21 + 1, 513],
  [2 ** 40, 2 ** 28],
])("%d bytes need %d pages", (bytes, pages) => {
  expect(pagesOf(bytes)).toBe(pages);
});

describe("formatSize", () => {
  test.each([
    [0, "0 B"],
    [1, "1 B"],
    [1023, "1023 B"],
    [1024, "1 KiB"],
    [1536, "1.5 KiB"],
    [4096, "4 KiB"],
    [65_536, "64 KiB"],
    [2 ** 20, "1 MiB"],
    [100 * 2 ** 20, "100 MiB"],
    [2 ** 30 * 1.25, "1.25 GiB"],
    [2 ** 32, "4 GiB"],
    [2 ** 40, "1 TiB"],
    [2 ** 50, "1024 TiB"],
  ])("%d bytes are %j", (bytes, text) => {
    expect(formatSize(bytes)).toBe(text);
  });

  test("is read back by parseSize, to within what it rounds off", () => {
    const property = fc.property(fc.integer({ min: 1, max: 2 ** 40 }), (bytes) => {
      const text = formatSize(bytes);
      const [number, unit] = text.split(" ") as [string, string];
      const factor = parseSize(`1 ${unit}`, "unit");
      const error = Math.abs(Number(number) * factor - bytes) / factor;
      expect(error).toBeLessThanOrEqual(0.0501);
      expect(Number(number)).toBeLessThan(1025);
    });
    fc.assert(property, { seed: SEED, numRuns: 1000 });
  });
});
