/* Event loops that differ from Node's: the async forms need one way to let it turn, not a certain one. */
import { afterEach, expect, test, vi } from "vitest";
import { MapSwap } from "../support/map_swap.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

test.each<[string, unknown]>([
  ["none, as in browsers", undefined],
  [
    "one that throws, as in edge runtimes",
    () => {
      throw new Error("A Node.js API is used which is not supported here");
    },
  ],
])("setImmediate is %s", async (_, setImmediate) => {
  vi.stubGlobal("setImmediate", setImmediate);
  // A fresh copy, which has not asked for a turn of the event loop yet.
  vi.resetModules();
  const { createDevice } = await import("../../src/index.ts");
  const device = await createDevice({
    memory: "64 KiB",
    swap: new MapSwap({ slots: 16, delay: async () => {} }),
  });
  const buffer = device.createBuffer(4096);
  await buffer.write(0, new Uint8Array([7]));
  await device.shrink();
  expect(await buffer.read(0, new Uint8Array(1))).toEqual(new Uint8Array([7]));
  await device.close({ force: true });
});
