/* The database of a Durable Object, in workerd, on disk. */
import { spawnSync } from "node:child_process";
import { findRuntime, versionOf } from "../../../scripts/runtimes.js";
import { workerdTest } from "../../../scripts/workerd.js";

async function inWorkerd({ bundle, folder, quick }) {
  const program = findRuntime("workerd");
  if (program === undefined) return { missing: "workerd is not installed" };
  await bundle(["bench/devices/programs/durable_object.mjs"], {
    conditions: ["workerd"],
    external: ["cloudflare:workers"],
    define: { QUICK: String(quick) },
  });
  const args = workerdTest(folder, "durable_object.js", "Swapping");
  const { status, stdout, stderr } = spawnSync(program, args, { cwd: folder, encoding: "utf8" });
  const line = stdout.split("\n").find((each) => each.startsWith("["));
  if (status !== 0 || line === undefined) throw new Error(`workerd failed: ${stdout}${stderr}`);
  return { version: versionOf(program), rows: JSON.parse(line) };
}

export const benches = [{ name: "durable-object, workerd", run: inWorkerd }];
