/* What makes mutants of the sources: it tells those that no longer fit them. */
import { expect, test } from "vitest";

interface Mutant {
  readonly name: string;
  readonly what: string;
  readonly file: string;
  readonly find: string;
  readonly put: string;
}

const { check, mutated } = (await import(
  new URL("../../scripts/mutants.js", import.meta.url).href
)) as { check(mutants: readonly Mutant[]): string[]; mutated(mutant: Mutant): string };

const lock = {
  name: "lock",
  what: "a lock is never let go of",
  file: "src/lock.ts",
  find: "else this.#held = false;",
  put: "",
};

test("a mutant is its file with one text replaced", () => {
  const text = mutated(lock);
  expect(text).not.toContain(lock.find);
  expect(text).toContain("if (next) next.wake();");
});

test("what does not fit the sources is told, and why", () => {
  expect(check([lock])).toEqual([]);
  expect(check([lock, { ...lock, what: "" }])).toEqual([
    "mutant lock: there are two of that name",
    "mutant lock: it does not say what is wrong in it",
  ]);
  const found = (more: object) =>
    check([{ ...lock, ...more }])[0]
      ?.split(": ")
      .pop();
  expect(found({ find: "this.#held" })).toMatch(/^found \d+ times$/);
  expect(found({ find: "no such text" })).toBe("found 0 times");
  expect(found({ put: lock.find })).toBe("it would change nothing");
  expect(found({ file: "src/none.ts" })).toBe("there is no such file");
  expect(found({ file: "scripts/mutants.js" })).toBe("there is no such file");
});
