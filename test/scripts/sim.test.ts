/* The simulator's command: its exit codes, that a run can be repeated, and that it sees what is wrong. */
import { spawnSync } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";
import { expect, test } from "vitest";

const root = fileURLToPath(new URL("../..", import.meta.url));

function sim(...args: string[]): { status: number | null; out: string } {
  const { status, stdout, stderr } = spawnSync("node", ["scripts/sim.js", ...args], {
    cwd: root,
    encoding: "utf8",
  });
  return { status, out: stdout + stderr };
}

/** A package that is the built one, but for what `broken` (code) makes of each new buffer, `bo`. */
function brokenPackage(broken: string): string {
  const folder = mkdtempSync(join(tmpdir(), "sim-"));
  const real = pathToFileURL(join(root, "dist", "index.js")).href;
  const code = `
    import * as real from ${JSON.stringify(real)};
    export const { TtmError, ramSwap } = real;
    export function createDeviceSync(options) {
      const device = real.createDeviceSync(options);
      const create = device.createBuffer.bind(device);
      device.createBuffer = (...args) => {
        const bo = create(...args);
        ${broken}
        return bo;
      };
      return device;
    }`;
  writeFileSync(join(folder, "package.json"), '{ "type": "module" }');
  writeFileSync(join(folder, "index.js"), code);
  return folder;
}

test("a run is the same each time, and says so with its exit code", () => {
  const runs = [1, 2].map(() => sim("--seed", "7", "--ops", "1500", "--json"));
  const [first, second] = runs.map(({ status, out }) => {
    expect(status, out).toBe(0);
    const { seconds: _, ...summary } = JSON.parse(out);
    return summary;
  });
  expect(first).toEqual(second);
  expect(first.ops).toBeGreaterThan(500);
});

test.each([
  [
    "a write that is lost now and then",
    "let n = 0; const write = bo.write.bind(bo); bo.write = (...a) => (++n % 5 === 0 ? Promise.resolve() : write(...a));",
    /wrong/,
  ],
  [
    "a read that never ends",
    "let n = 0; const read = bo.read.bind(bo); bo.read = (...a) => (++n % 5 === 0 ? new Promise(() => {}) : read(...a));",
    /operations wait/,
  ],
  [
    "an error without a reason",
    "let n = 0; const read = bo.read.bind(bo); bo.read = (...a) => (++n % 5 === 0 ? Promise.reject(new TtmError('ENOMEM', 'restore', 'none')) : read(...a));",
    /no reason to fail/,
  ],
])("%s is found, and reduced", (_, broken, message) => {
  const dist = brokenPackage(broken);
  try {
    const { status, out } = sim("--seed", "3", "--seeds", "20", "--ops", "600", "--dist", dist);
    expect(status, out).toBe(1);
    expect(out).toMatch(message);
    const reduced = Number(/reduced to (\d+) operations/.exec(out)?.[1]);
    expect(reduced).toBeLessThan(40);
    const again = /again: npm run sim -- (--seed .* --only .*)\n/.exec(out)?.[1] as string;
    expect(sim(...again.split(" ")).status).toBe(1);
  } finally {
    rmSync(dist, { recursive: true });
  }
});

test("what cannot be meant is refused with exit code 2", () => {
  for (const args of [
    ["--sed", "1"],
    ["--ops", "0"],
    ["--runtime", "perl"],
    ["--dist", "/none"],
  ]) {
    expect(sim(...args).status, args.join(" ")).toBe(2);
  }
  expect(sim("--help").status).toBe(0);
});
