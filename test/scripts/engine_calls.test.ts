/* The check that holds the tests of the engine to all that its functions can return. */
import { expect, test } from "vitest";

const { expected, missing } = (await import(
  new URL("../../scripts/check_engine_calls.js", import.meta.url).href
)) as {
  expected(): Map<string, Set<string>>;
  missing(
    wanted: Map<string, Set<string>>,
    seen: Map<string, Set<number>>,
    numbers: Record<string, number>,
  ): string[];
};

test("what a function of the engine can return is read in its text, and in that of what it calls", () => {
  const wanted = expected();
  expect([...(wanted.get("vectorAlloc") ?? [])].sort()).toEqual(["EBUSY", "EINVAL", "ENOMEM"]);
  // -EFAULT comes from the walk that it shares.
  expect([...(wanted.get("sumPages") ?? [])].sort()).toEqual(["EFAULT", "EINVAL"]);
  expect([...(wanted.get("check") ?? [0])]).toEqual([]);
});

test("a function that is not called, and an errno that is not seen, are missing", () => {
  const wanted = new Map([
    ["a", new Set(["EIO", "EBUSY"])],
    ["b", new Set<string>()],
    ["c", new Set(["EIO"])],
  ]);
  const seen = new Map([
    ["a", new Set([0, 16])],
    ["b", new Set([0])],
  ]);
  const numbers = { EIO: 5, EBUSY: 16 };
  expect(missing(wanted, seen, numbers)).toEqual([
    "a is not seen to return -EIO",
    "c is not called",
  ]);
  seen.get("a")?.add(5);
  seen.set("c", new Set([5]));
  expect(missing(wanted, seen, numbers)).toEqual([]);
});
