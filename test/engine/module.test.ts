/* The inlined engine: the same module wherever it is decoded. */
import { afterEach, expect, test, vi } from "vitest";
import { engineModule } from "../../src/engine/module.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

test("compiles with Buffer and, in browsers, without it", () => {
  const here = WebAssembly.Module.exports(engineModule());
  expect(here.map(({ name }) => name)).toContain("shrinkPrepare");
  vi.stubGlobal("Buffer", undefined);
  expect(globalThis.Buffer).toBe(undefined);
  expect(WebAssembly.Module.exports(engineModule())).toEqual(here);
});
