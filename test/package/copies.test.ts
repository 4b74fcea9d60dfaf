/* Two copies of the package in one process: one that was imported, one that was required. */
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import * as imported from "../../src/index.ts";
import * as importedTtm from "../../src/ttm.ts";

const load = createRequire(import.meta.url);
const required: typeof imported = load("../../dist/index.cjs");
const requiredTtm: typeof importedTtm = load("../../dist/ttm.cjs");

test("the one for CommonJS has the same exports, and shares its classes between entries", () => {
  expect(Object.keys(required).sort()).toEqual(Object.keys(imported).sort());
  expect(Object.keys(requiredTtm).sort()).toEqual(Object.keys(importedTtm).sort());
  using device = required.createDeviceSync({ memory: "64 KiB" });
  expect(new requiredTtm.Pool(device.global).global).toBeInstanceOf(requiredTtm.TtmGlobal);
});

test("know each other's errors", () => {
  const { TtmError } = required;
  expect(new TtmError("EIO", "open", "x")).toBeInstanceOf(imported.TtmError);
  expect(new imported.TtmError("EIO", "open", "x")).toBeInstanceOf(TtmError);
});

test("do not take each other's devices in silence, nor anything else for their globals", () => {
  using device = required.createDeviceSync({ memory: "64 KiB" });
  expect(() => new importedTtm.Pool(device.global)).toThrow(/another copy of ttm-wasm/);
  expect(() => new importedTtm.Pool(device as never)).toThrow(TypeError);
  expect(() => new importedTtm.Pool(device as never)).toThrow(/global must be/);
});
