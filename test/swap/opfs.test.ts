/* `opfsSwap` on a host that has no such file system; what it does in browsers is in test/devices/. */
import { describe, expect, test } from "vitest";
import { createDevice, TtmError } from "../../src/index.ts";
import { type OpfsSwapOptions, opfsSwap } from "../../src/swap/opfs.ts";

describe("options that cannot be meant are refused by name", () => {
  test.each<[unknown, RegExp]>([
    [undefined, /opfsSwap needs at least a size/],
    [{}, /opfsSwap size must be/],
    [{ size: -1 }, /opfsSwap size must be/],
    [{ size: 1, names: "a" }, /opfsSwap has no option "names"; did you mean name/],
    [{ size: 1, name: "" }, /opfsSwap name must consist of/],
    [{ size: 1, name: "a/b" }, /opfsSwap name must consist of/],
    [{ size: 1, name: ".." }, /opfsSwap name must consist of/],
    [{ size: 1, worker: "worker.js" }, /opfsSwap worker must be a function/],
  ])("%j", (options, text) => {
    expect(() => opfsSwap(options as OpfsSwapOptions)).toThrow(text);
  });
});

test.skipIf("Worker" in globalThis)("without web workers it says what is missing", async () => {
  const opened = createDevice({ memory: "1 MiB", swap: opfsSwap({ size: "1 MiB" }) });
  const error: TtmError = await opened.catch((thrown) => thrown);
  expect(error).toBeInstanceOf(TtmError);
  expect(error.code).toBe("ENOSYS");
  expect(error.message).toMatch(/worker of opfsSwap cannot be started; hand one in/);
});

test("what starting the user's own worker throws is the cause", async () => {
  const failure = new Error("no worker today");
  const worker = () => {
    throw failure;
  };
  const opened = createDevice({ memory: "1 MiB", swap: opfsSwap({ size: "1 MiB", worker }) });
  const error: TtmError = await opened.catch((thrown) => thrown);
  expect(error.message).toMatch(/cannot be opened: no worker today/);
  expect(error.cause).toBe(failure);
});
