import process from "node:process";
import { afterEach, describe, expect, test, vi } from "vitest";
import { Progress } from "../../src/cli/progress.ts";

const { stderr } = process;
const isTTY = Object.getOwnPropertyDescriptor(stderr, "isTTY");

/** What is written to standard error from now on, which is a terminal or not. */
function written(terminal: boolean): string[] {
  const texts: string[] = [];
  Object.defineProperty(stderr, "isTTY", { value: terminal, configurable: true });
  vi.spyOn(stderr, "write").mockImplementation((text) => texts.push(String(text)) > 0);
  return texts;
}

afterEach(() => {
  vi.restoreAllMocks();
  if (isTTY) Object.defineProperty(stderr, "isTTY", isTTY);
  else Reflect.deleteProperty(stderr, "isTTY");
});

describe("progress", () => {
  test("is a bar on a terminal, which notes take away", () => {
    const texts = written(true);
    const progress = new Progress(false);
    progress.update("node", "load", 0.5);
    progress.note("a file changed");
    progress.clear();
    const label = "node: loading".padEnd(30);
    expect(texts).toEqual([
      `\r${label} [${"#".repeat(15)}${"-".repeat(15)}] 50 %\x1b[K`,
      "\r\x1b[K",
      "ttm-wasm: a file changed\n",
    ]);
  });

  test("is a line for each quarter of a phase elsewhere", () => {
    const texts = written(false);
    const progress = new Progress(false);
    for (let i = 1; i <= 10; i++) progress.update("deno", "zipf", i / 10);
    progress.update("deno", "measure", 0.1);
    progress.update("deno", "measure", 1);
    expect(texts).toEqual([
      "deno: reading in zipf order 30 %\n",
      "deno: reading in zipf order 50 %\n",
      "deno: reading in zipf order 80 %\n",
      "deno: reading in zipf order 100 %\n",
      "deno: measuring 100 %\n",
    ]);
  });

  test("is nothing when it is to be quiet, but for notes", () => {
    const texts = written(true);
    const progress = new Progress(true);
    progress.update("bun", "sequential", 1);
    progress.note("still said");
    expect(texts).toEqual(["ttm-wasm: still said\n"]);
  });
});
