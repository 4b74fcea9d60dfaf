/* What others wrote and we take along: named so that it cannot change behind our back. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { expect, test } from "vitest";

const root = new URL("../../", import.meta.url);
const read = (path: string) => readFileSync(new URL(path, root), "utf8");

test("actions of workflows are pinned to a commit, and say which version that is", () => {
  const folder = ".github/workflows/";
  const uses = readdirSync(new URL(folder, root)).flatMap((name) =>
    read(folder + name)
      .split("\n")
      .filter((line) => /\buses:/.test(line)),
  );
  expect(uses.length).toBeGreaterThan(0);
  for (const line of uses) expect(line).toMatch(/uses: [\w./-]+@[0-9a-f]{40} # v\d+\.\d+\.\d+$/);
});

test("who installs the package installs nothing else", () => {
  const { dependencies, optionalDependencies, peerDependenciesMeta, scripts } = JSON.parse(
    read("package.json"),
  );
  expect({ ...dependencies, ...optionalDependencies }).toEqual({});
  expect(peerDependenciesMeta).toEqual({
    koffi: { optional: true },
    unstorage: { optional: true },
  });
  for (const name of ["preinstall", "install", "postinstall"])
    expect(scripts).not.toHaveProperty(name);
});

test("each package.json with dependencies has a lockfile beside it", () => {
  const folders = ["", "bench/peers/", "test/consumers/", "test/devices/", "test/fuzz/parsers/"];
  for (const folder of folders) {
    expect(existsSync(new URL(`${folder}package.json`, root))).toBe(true);
    expect(existsSync(new URL(`${folder}package-lock.json`, root)), folder).toBe(true);
  }
});
