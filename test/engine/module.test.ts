/* The inlined engine: the same module wherever it is decoded. */
import { afterEach, expect, test, vi } from "vitest";

afterEach(() => {
  vi.unstubAllGlobals();
});

/** A fresh copy of the module, which keeps what it compiled. */
async function loaded() {
  vi.resetModules();
  return await import("../../src/engine/module.ts");
}

test("compiles once, with Buffer and without it", async () => {
  const { engineModule } = await loaded();
  const here = WebAssembly.Module.exports(engineModule());
  expect(here.map(({ name }) => name)).toContain("shrinkPrepare");
  expect(engineModule()).toBe(engineModule());
  vi.stubGlobal("Buffer", undefined);
  const browser = await loaded();
  expect(WebAssembly.Module.exports(browser.engineModule())).toEqual(here);
});
