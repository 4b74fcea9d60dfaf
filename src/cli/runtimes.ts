import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { delimiter, dirname, join } from "node:path";
import process from "node:process";
import type { RuntimeName } from "./args.ts";

/** A runtime that is there and answers. */
export interface Runtime {
  readonly name: RuntimeName;
  /** Its program. */
  readonly path: string;
}

const EXE = process.platform === "win32" ? ".exe" : "";

/** What a runtime must print for this to be what it seems: some have others' names on the PATH. */
const PROBE =
  'process.stdout.write(process.versions.bun ? "bun" : process.versions.deno ? "deno" : "node")';
const PROBE_ARGS: Readonly<Record<RuntimeName, readonly string[]>> = {
  node: ["-e", PROBE],
  deno: ["eval", PROBE],
  bun: ["-e", PROBE],
};
const PROBE_MS = 20_000;

/**
 * The first program of that name that really is that runtime: this process's own, one in a
 * node_modules around `packageRoot` or the working folder, or one on the PATH.
 */
export function findRuntime(name: RuntimeName, packageRoot: string): Runtime | undefined {
  if (name === current()) return { name, path: process.execPath };
  const path = candidates(name, packageRoot).find(
    (candidate) => existsSync(candidate) && is(name, candidate),
  );
  return path === undefined ? undefined : { name, path };
}

function current(): RuntimeName {
  const { bun, deno } = process.versions;
  return bun ? "bun" : deno ? "deno" : "node";
}

function is(name: RuntimeName, path: string): boolean {
  const options = { encoding: "utf8", timeout: PROBE_MS, env: environment() } as const;
  const { status, stdout } = spawnSync(path, [...PROBE_ARGS[name]], options);
  return status === 0 && stdout.trim() === name;
}

/** Ours, without what changes how a runtime starts or what it prints. */
export function environment(): NodeJS.ProcessEnv {
  const { NODE_OPTIONS: _1, NODE_V8_COVERAGE: _2, ...rest } = process.env;
  return { ...rest, NO_COLOR: "1", DENO_NO_UPDATE_CHECK: "1" };
}

/** How a runtime runs a script of ours. */
export function commandLine(name: RuntimeName, script: string): string[] {
  switch (name) {
    case "node":
      return [script];
    case "deno":
      return [
        "run",
        "--allow-all",
        "--no-prompt",
        "--quiet",
        "--no-lock",
        "--node-modules-dir=manual",
        script,
      ];
    case "bun":
      return ["run", script];
  }
}

/**
 * The npm packages of deno and bun keep their program in a package for each platform; bun's install
 * script moves it to the main one.
 */
function candidates(name: RuntimeName, packageRoot: string): string[] {
  const modules = [...nodeModulesAbove(packageRoot), ...nodeModulesAbove(process.cwd())];
  const onPath = (process.env.PATH ?? "")
    .split(delimiter)
    .filter((folder) => folder !== "")
    .map((folder) => join(folder, name + EXE));
  const packaged: Readonly<Record<RuntimeName, (folder: string) => string[]>> = {
    node: () => [],
    deno: (folder) => platformPrograms(join(folder, "@deno"), "", "deno"),
    bun: (folder) => [
      join(folder, "bun", "bin", "bun.exe"),
      ...platformPrograms(join(folder, "@oven"), "bun-", join("bin", "bun")),
    ],
  };
  return [...new Set([...modules.flatMap(packaged[name]), ...onPath])];
}

/** Every `node_modules` that a module in `folder` would be looked for in. */
function nodeModulesAbove(folder: string): string[] {
  const found = [join(folder, "node_modules")];
  for (let at = folder; dirname(at) !== at; at = dirname(at)) {
    found.push(join(dirname(at), "node_modules"));
  }
  return found;
}

function platformPrograms(scope: string, prefix: string, program: string): string[] {
  if (!existsSync(scope)) return [];
  const names = readdirSync(scope).filter((name) => name.startsWith(prefix));
  return names.map((name) => join(scope, name, program + EXE));
}
