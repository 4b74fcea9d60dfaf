/* What ends an operation in its middle: nothing is half done then, or the memory says that it is not known. */
import { describe, expect, test } from "vitest";
import {
  type BufferObject,
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  ramSwap,
} from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { finiTt, kmapTt, populateTtSync, shrinkTtSync, Tt } from "../src/ttm.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { expectAllFree, filled } from "./support/devices.ts";
import { failsSync } from "./support/errors.ts";

const PAGES = 8;

interface Made {
  readonly device: Device;
  readonly bos: BufferObject[];
}

/** More buffers than there is memory for. */
function setup(swap: "ram" | "file"): Made {
  const size = 64 * PAGE_SIZE;
  const device = createDeviceSync({
    memory: 32 * PAGE_SIZE,
    swap: swap === "ram" ? ramSwap({ size }) : fileSwap({ size }),
  });
  return { device, bos: [0, 1, 2, 3, 4, 5].map((seed) => filled(device, PAGES, seed)) };
}

const at = (bos: BufferObject[], i: number) => bos[i] as BufferObject;

const OPERATIONS: [string, (made: Made) => void][] = [
  ["shrinkSync of the device", ({ device }) => device.shrinkSync()],
  ["shrinkSync", ({ bos }) => at(bos, 5).shrinkSync()],
  ["readSync", ({ bos }) => at(bos, 0).readSync(5, new Uint8Array(10))],
  ["writeSync", ({ bos }) => at(bos, 0).writeSync(0, pattern(0, PAGES * PAGE_SIZE).subarray(0, 9))],
  ["populateSync", ({ bos }) => at(bos, 0).populateSync()],
  ["mapSync and unmap", ({ bos }) => at(bos, 0).mapSync().unmap()],
  ["mapSync and unmap of what is in memory", ({ bos }) => at(bos, 5).mapSync().unmap()],
  [
    "pinSync and unpin",
    ({ bos }) => {
      at(bos, 0).pinSync();
      at(bos, 0).unpin();
    },
  ],
  [
    "pinSync and unpin of what is in memory",
    ({ bos }) => {
      at(bos, 5).pinSync();
      at(bos, 5).unpin();
    },
  ],
  [
    "destroy and create",
    ({ device, bos }) => {
      if (!at(bos, 5).destroyed) at(bos, 5).destroy();
      bos[5] = filled(device, PAGES, 5);
    },
  ],
  ["hibernateSync and resumeSync", ({ device }) => device.hibernateSync() && device.resumeSync()],
];

/** Calls `use` at the end of the stack, then ever further from it, until it ends well. Returns the failures. */
function atTheEndOfTheStack(use: () => void): unknown[] {
  const failures: unknown[] = [];
  let done = false;
  const dive = (): void => {
    try {
      dive();
    } catch {
      // as deep as it goes
    }
    if (done) return;
    try {
      use();
      done = true;
    } catch (error) {
      failures.push(error);
    }
  };
  dive();
  return failures;
}

describe.each(["ram", "file"] as const)("at the end of the stack, with swap in %s", (swap) => {
  test.each(OPERATIONS)("%s is done whole or not at all", (_, use) => {
    for (let round = 0; round < 3; round++) {
      const made = setup(swap);
      expect(atTheEndOfTheStack(() => use(made)).length).toBeGreaterThan(0);
      made.device.check();
      expect(made.bos.map(({ pinned }) => pinned)).not.toContain(true);
      made.bos.forEach((bo, i) => {
        if (!bo.destroyed) expectSame(contentSync(bo), pattern(i, bo.size), `buffer ${i}`);
      });
      for (const bo of made.bos) if (!bo.destroyed) bo.destroy();
      expectAllFree(made.device);
      made.device.closeSync({ force: true });
    }
  });

  test("operations of the kernel's layer are, too", () => {
    const { device, bos } = setup(swap);
    const tt = new Tt(PAGES);
    atTheEndOfTheStack(() => populateTtSync(device.pool, tt));
    kmapTt(device.pool, tt).forEach((view) => {
      view.fill(7);
    });
    atTheEndOfTheStack(() => shrinkTtSync(device.pool, tt));
    device.check();
    populateTtSync(device.pool, tt);
    expect(kmapTt(device.pool, tt).every((view) => view.every((byte) => byte === 7))).toBe(true);
    atTheEndOfTheStack(() => finiTt(device.pool, tt));
    for (const bo of bos) bo.destroy();
    expectAllFree(device);
    device.closeSync();
  });
});

test("a memory whose state is not known says so, does no more, and can be closed", async () => {
  const { device, bos } = setup("ram");
  const cut = new RangeError("cut off");
  expect(device.global.poison(cut)).toBe(cut);
  for (const use of [
    () => at(bos, 0).readSync(0, new Uint8Array(1)),
    () => device.shrinkSync(),
    () => device.createBuffer(1),
    () => populateTtSync(device.pool, new Tt(1)),
  ]) {
    const error = failsSync("EFAULT", use);
    expect(error.cause).toBe(cut);
    expect(error.message).toMatch(/close the device, and create another one/);
  }
  await expect(at(bos, 0).read(0, new Uint8Array(1))).rejects.toMatchObject({ code: "EFAULT" });
  await device.close({ force: true });
});
