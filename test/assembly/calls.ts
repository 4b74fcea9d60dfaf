/*
 * Notes which functions of the engine its tests call, and with which errnos these refuse: for
 * scripts/check_engine_calls.js, which sets TTM_ENGINE_CALLS to the folder for it.
 */
import { mkdirSync, writeFileSync } from "node:fs";
import { basename, join } from "node:path";
import process from "node:process";
import { afterAll, expect } from "vitest";
import type { Exports } from "../../src/engine/exports.ts";

const folder = process.env.TTM_ENGINE_CALLS;
/** Errnos by name; that a function was called is errno 0. */
const seen: Record<string, Set<number>> = {};

if (folder !== undefined) {
  afterAll(() => {
    const file = basename(expect.getState().testPath ?? "");
    mkdirSync(folder, { recursive: true });
    const lists = Object.entries(seen).map(([name, errnos]) => [name, [...errnos]]);
    writeFileSync(join(folder, `${file}.json`), JSON.stringify(Object.fromEntries(lists)));
  });
}

/** The same functions, or such as note what comes of them. */
export function noted(exports: Exports): Exports {
  if (folder === undefined) return exports;
  const each = Object.entries(exports).map(([name, value]) => {
    if (typeof value !== "function") return [name, value];
    const errnos = seen[name] ?? new Set();
    seen[name] = errnos;
    // Its length stays, which a test looks at.
    const apply = (called: () => number, _: unknown, args: []) => {
      const result = called(...args);
      // What counts something may be larger than an i32.
      errnos.add(result < 0 && result > -256 ? -result : 0);
      return result;
    };
    return [name, new Proxy(value as () => number, { apply })];
  });
  return Object.fromEntries(each);
}
