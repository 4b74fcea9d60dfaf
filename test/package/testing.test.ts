/* The built entry for authors of devices, as a module and in CommonJS: it is of one piece with the others. */
import { createRequire } from "node:module";
import { expect, test } from "vitest";
import type * as Index from "../../src/index.ts";
import type * as Testing from "../../src/testing.ts";

const dist = new URL("../../dist/", import.meta.url);
const require = createRequire(dist);

async function passes(index: typeof Index, testing: typeof Testing): Promise<void> {
  const { checkSwapDevice, scriptedSwap, SwapContractError } = testing;
  const made: Testing.ScriptedSwap[] = [];
  const { passed, skipped } = await checkSwapDevice({
    create({ slots }) {
      const device = scriptedSwap({ slots, queueDepth: 8 });
      made.push(device);
      return { device };
    },
    createDevice: index.createDevice,
  });
  expect([passed.length, skipped.length]).toEqual([13, 7]);
  expect(made.map(({ broken }) => broken)).toEqual(made.map(() => undefined));
  // What a scripted device that waits throws is an error of the same package.
  const swap = scriptedSwap({ slots: 8, script: () => ({ wait: 1 }) });
  swap.open?.();
  const write = () => swap.writeSync([{ slot: 1, views: [new Uint8Array(index.PAGE_SIZE)] }]);
  expect(write).toThrow(index.TtmError);
  expect(new SwapContractError("later", "seen")).toBeInstanceOf(Error);
}

test("as a module", async () => {
  await passes(await import(`${dist}index.js`), await import(`${dist}testing.js`));
});

test("in CommonJS", () => passes(require("./index.cjs"), require("./testing.cjs")));
