/* `durableObjectSwap` outside of Durable Objects, and on a disk that is full; the rest is in test/devices/. */
import { spawnSync } from "node:child_process";
import { symlinkSync } from "node:fs";
import { resolve } from "node:path";
import process from "node:process";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { type DurableObjectStorageLike, durableObjectSwap } from "../../src/swap/durable_object.ts";
import { CAN_MOUNT, SmallDisk, TempFolder } from "../support/files.ts";

// The project's scripts are checked by a configuration of their own.
const scripts = (name: string) => import(new URL(`../../scripts/${name}.js`, import.meta.url).href);
const { workerdTest }: { workerdTest(folder: string, main: string, durable: string): string[] } =
  await scripts("workerd");
const { findRuntime }: { findRuntime(name: string): string | undefined } =
  await scripts("runtimes");

describe("what is no storage with SQLite is refused, and says what to do", () => {
  const denied = {
    get sql(): never {
      throw new Error("SQL is not enabled for this Durable Object class");
    },
  };
  test.each<[string, unknown]>([
    ["nothing", undefined],
    ["an object without", {}],
    ["a class without", denied],
  ])("%s", (_, storage) => {
    const make = () => durableObjectSwap(storage as DurableObjectStorageLike, { size: 1 });
    expect(make).toThrow(TypeError);
    expect(make).toThrow(/takes ctx\.storage of a Durable Object/);
  });
});

test.skipIf(!CAN_MOUNT || process.env.TTM_TEST_RUNTIME)(
  "a database whose disk is full is ENOSPC",
  async () => {
    using disk = new SmallDisk("8m");
    using folder = new TempFolder();
    symlinkSync(disk.path, folder.file("disk"));
    await build({
      entryPoints: ["test/devices/durable_object/full.mjs"],
      outdir: folder.path,
      bundle: true,
      format: "esm",
      target: "esnext",
      conditions: ["workerd"],
      loader: { ".wasm": "copy" },
      assetNames: "[name]",
      external: ["cloudflare:workers"],
      // It lies in a project of its own, which knows no other.
      alias: {
        "ttm-wasm": resolve("dist/index.workerd.js"),
        "ttm-wasm/swap/durable-object": resolve("dist/swap/durable-object.js"),
      },
      // The project's own configuration would lead "ttm-wasm" to the sources.
      tsconfigRaw: {},
      logLevel: "warning",
    });
    const args = workerdTest(folder.path, "full.js", "Swapping");
    const options = { cwd: folder.path, encoding: "utf8" } as const;
    const { stdout } = spawnSync(findRuntime("workerd") as string, args, options);
    expect(stdout).toMatch(/^after [1-9]\d* buffers: ENOSPC, SQLITE_FULL$/m);
  },
);
