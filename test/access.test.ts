/* Access to a buffer's pages: they are all there while it lasts, whatever they were before, and locked. */
import { describe, expect, test } from "vitest";
import { type BufferObject, type Device, PAGE_SIZE } from "../src/index.ts";
import { content, contentSync, expectSame, pattern } from "./support/bytes.ts";
import { Gate, turn } from "./support/delays.ts";
import { blockDevice, DEFAULT_KINDS, filled } from "./support/devices.ts";
import { fails, failsSync } from "./support/errors.ts";
import { MapSwap } from "./support/map_swap.ts";

const PAGES = 16;

describe.each(DEFAULT_KINDS)("with swap of kind $kind", ({ create }) => {
  /** Ways in which a buffer's pages are there, or not. */
  const STATES: readonly [string, (device: Device, bo: BufferObject) => void][] = [
    ["in memory", () => {}],
    ["in swap", (_, bo) => void bo.shrinkSync()],
    [
      "in memory, clean",
      (_, bo) => {
        bo.shrinkSync();
        bo.populateSync();
      },
    ],
    ["partly in swap", (device) => void device.shrinkSync({ pages: PAGES / 2 })],
  ];

  test.each(STATES)(
    "a buffer %s reads the same, in both forms, and is in memory then",
    async (_, put) => {
      const device = create({ memory: 32, swap: 64 });
      const bo = filled(device, PAGES, 5);
      for (const read of [contentSync, content]) {
        put(device, bo);
        expectSame(await read(bo), pattern(5, bo.size), "what was read");
        expect(bo.residentPages).toBe(PAGES);
      }
      device.check();
    },
  );

  test.each(STATES)("a buffer %s takes a write at its place, and keeps the rest", (_, put) => {
    const device = create({ memory: 32, swap: 64 });
    const bo = filled(device, PAGES, 5);
    put(device, bo);
    const bytes = pattern(5, bo.size);
    const piece = pattern(6, 3 * PAGE_SIZE);
    bo.writeSync(PAGE_SIZE / 2, piece);
    bytes.set(piece, PAGE_SIZE / 2);
    bo.shrinkSync();
    expectSame(contentSync(bo), bytes, "what was written");
  });

  test("a mapped buffer does not leave, one that was mapped does", () => {
    const device = create({ memory: 32, swap: 64 });
    const bo = filled(device, PAGES, 5);
    const mapping = bo.mapSync();
    failsSync("EBUSY", () => bo.shrinkSync());
    expect(device.shrinkSync()).toBe(0);
    mapping.unmap();
    expect(device.shrinkSync()).toBe(PAGES);
  });

  test("an aborted signal is heard before anything is moved", async () => {
    const device = create({ memory: 32, swap: 64 });
    const bo = filled(device, PAGES, 5);
    const signal = AbortSignal.abort();
    bo.shrinkSync();
    failsSync("EINTR", () => bo.populateSync({ signal }));
    await fails("EINTR", bo.populate({ signal }));
    expect(bo.residentPages).toBe(0);
    expectSame(contentSync(bo), pattern(5, bo.size), "content");
  });
});

describe("on a device that takes its time", () => {
  async function waiting() {
    const gate = new Gate();
    gate.open();
    const device = blockDevice(32, new MapSwap({ slots: 64, delay: gate.pass }));
    const bo = device.createBuffer(PAGES * PAGE_SIZE);
    await bo.write(0, pattern(5, bo.size));
    await bo.shrink();
    gate.close();
    return { gate, device, bo };
  }

  test("those who want the same buffer take turns, and read it once from swap", async () => {
    const { gate, device, bo } = await waiting();
    const before = device.stats().pagesIn;
    const all = [content(bo), content(bo), bo.populate()] as const;
    await turn();
    gate.open();
    const [one, other] = await Promise.all(all);
    for (const bytes of [one, other]) expectSame(bytes, pattern(5, bo.size), "content");
    expect(device.stats().pagesIn - before).toBe(PAGES);
    await device.close({ force: true });
  });

  test("a Sync call is refused while somebody is at work on the buffer, and when it would have to wait", async () => {
    const { gate, device, bo } = await waiting();
    failsSync("EWOULDBLOCK", () => contentSync(bo));
    const reading = content(bo);
    await turn();
    expect(() => contentSync(bo)).toThrow(/^(EBUSY|EWOULDBLOCK): /);
    gate.open();
    expectSame(await reading, pattern(5, bo.size), "content");
    expectSame(contentSync(bo), pattern(5, bo.size), "content");
    await device.close({ force: true });
  });
});
