/* That the suite is worth something: devices that break one rule each, and the rule that it finds broken. */
import { describe, expect, test } from "vitest";
import { PAGE_SIZE, type SwapRun } from "../../src/index.ts";
import {
  checkSwapDevice,
  SwapContractError,
  type SwapDeviceTestsOptions,
  type SwapRule,
  swapDeviceTests,
} from "../../src/testing.ts";
import { turn } from "../support/delays.ts";
import { copied, MapDevice, pagesOf } from "./map_device.ts";

function optionsOf(Broken: typeof MapDevice): SwapDeviceTestsOptions<{ device: MapDevice }> {
  return {
    seed: 7,
    quiet: 15,
    patience: 300,
    create: ({ slots }) => ({ device: new Broken(slots) }),
    createSmall({ slots, pages }) {
      const device = new Broken(slots);
      device.room = pages;
      return { device };
    },
    second: ({ device }) => device.second(),
    bytes: ({ device }) => device.pages.size * PAGE_SIZE,
    left: ({ device }) => device.pages.size,
    damage: ({ device }, slot) => void device.damaged.add(slot),
  };
}

/** The rule that is found broken first. */
async function firstBroken(Broken: typeof MapDevice): Promise<SwapContractError | undefined> {
  for (const { run } of swapDeviceTests(optionsOf(Broken))) {
    try {
      await run();
    } catch (error) {
      if (error instanceof SwapContractError) return error;
      throw error;
    }
  }
  return undefined;
}

const shared = new Map<number, Uint8Array>();
const staging = new Uint8Array(256 * PAGE_SIZE);

const BROKEN: readonly (readonly [rule: SwapRule, what: string, device: typeof MapDevice])[] = [
  [
    "shape",
    "has no name",
    class extends MapDevice {
      override readonly name = "";
    },
  ],
  [
    "shape",
    "has calls that wait and no queueDepth",
    class extends MapDevice {
      override readonly queueDepth = undefined as never;
    },
  ],
  [
    "shape",
    "reads at once and does not write so",
    class extends MapDevice {
      readSync() {}
    },
  ],
  [
    "pairs",
    "writes at once without saying so",
    class extends MapDevice {
      override write(runs: readonly SwapRun[]) {
        for (const [slot, view] of pagesOf(runs)) this.set(slot, view);
        return undefined as never;
      }
    },
  ],
  [
    "pairs",
    "calls a call Sync that is not",
    class extends MapDevice {
      readSync(runs: readonly SwapRun[]) {
        return this.read(runs);
      }
      writeSync(runs: readonly SwapRun[]) {
        return this.write(runs);
      }
    },
  ],
  [
    "content",
    "looks at the first run only",
    class extends MapDevice {
      override write(runs: readonly SwapRun[]) {
        return super.write(runs.slice(0, 1));
      }
    },
  ],
  [
    "content",
    "takes the views of a run for one page each",
    class extends MapDevice {
      override async write(runs: readonly SwapRun[]) {
        for (const { slot, views } of runs) {
          for (const [i, view] of views.entries()) this.set(slot + i, view);
        }
      }
    },
  ],
  [
    "runs",
    "finds what it wrote by the first slot of the run",
    class extends MapDevice {
      runs = new Map<number, Uint8Array[]>();
      override async write(runs: readonly SwapRun[]) {
        for (const run of runs) {
          const pages = pagesOf([run]).map(([, view]) => view.slice());
          this.runs.set(run.slot, pages);
        }
      }
      override async read(runs: readonly SwapRun[]) {
        for (const run of runs) {
          const pages = this.runs.get(run.slot);
          if (!pages) throw new Error("no such record");
          for (const [i, [, view]] of pagesOf([run]).entries()) {
            view.set(pages[i] ?? new Uint8Array(PAGE_SIZE));
          }
        }
      }
    },
  ],
  [
    "neighbours",
    "keeps records of 16 slots and loses those that are not written again",
    class extends MapDevice {
      override async write(runs: readonly SwapRun[]) {
        const pages = pagesOf(runs);
        const written = new Set(pages.map(([slot]) => slot));
        const records = new Set([...written].map((slot) => slot >> 4));
        const block = (record: number) => Array.from({ length: 16 }, (_, i) => 16 * record + i);
        // Where all of a call's slots are new nothing is lost.
        for (const slot of [...records].flatMap(block)) {
          if (this.pages.has(slot) && !written.has(slot) && written.size < 17) {
            this.pages.set(slot, new Uint8Array(PAGE_SIZE));
          }
        }
        for (const [slot, view] of pages) this.set(slot, view);
      }
    },
  ],
  [
    "views",
    "keeps the views",
    class extends MapDevice {
      override set(slot: number, view: Uint8Array) {
        this.pages.set(slot, view);
      }
    },
  ],
  [
    "fills",
    "writes beside the views",
    class extends MapDevice {
      override get(slot: number, view: Uint8Array) {
        super.get(slot, view);
        const next = view.byteOffset + PAGE_SIZE;
        if (next < view.buffer.byteLength) new Uint8Array(view.buffer, next, 1).fill(1);
      }
    },
  ],
  [
    "source",
    "encrypts in place",
    class extends MapDevice {
      override set(slot: number, view: Uint8Array) {
        view.forEach((byte, i) => {
          view[i] = byte ^ 0x55;
        });
        super.set(slot, view);
      }
      override get(slot: number, view: Uint8Array) {
        super.get(slot, view);
        view.forEach((byte, i) => {
          view[i] = byte ^ 0x55;
        });
      }
    },
  ],
  [
    "settles",
    "never answers a large write",
    class extends MapDevice {
      override write(runs: readonly SwapRun[]): Promise<void | never> {
        const never = new Promise<never>(() => {});
        return pagesOf(runs).length > 200 ? never : (super.write(runs) as Promise<never>);
      }
    },
  ],
  [
    "flight",
    "has one buffer for all calls",
    class extends MapDevice {
      override async write(runs: readonly SwapRun[]) {
        const pages = pagesOf(runs);
        for (const [i, [, view]] of pages.entries()) staging.set(view, i * PAGE_SIZE);
        await turn();
        for (const [i, [slot]] of pages.entries()) {
          this.set(slot, staging.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE));
        }
      }
    },
  ],
  [
    "apart",
    "has one store for all",
    class extends MapDevice {
      override pages = shared;
    },
  ],
  [
    "apart",
    "lets a second user on its store",
    class extends MapDevice {
      override second() {
        const second = new MapDevice(this.slots);
        second.pages = this.pages;
        return second;
      }
    },
  ],
  [
    "discard",
    "discards one slot too many",
    class extends MapDevice {
      override discard(ranges: readonly { slot: number; pages: number }[], end: number) {
        super.discard(
          ranges.map(({ slot, pages }) => ({ slot, pages: pages + 1 })),
          end,
        );
      }
    },
  ],
  [
    "discard",
    "cuts off what lies behind the first hole",
    class extends MapDevice {
      override discard(ranges: readonly { slot: number; pages: number }[], end: number) {
        super.discard([{ slot: ranges[0]?.slot as number, pages: this.slots }], end);
      }
    },
  ],
  [
    "space",
    "gives nothing back",
    class extends MapDevice {
      override discard() {}
    },
  ],
  [
    "reopen",
    "opens once",
    class extends MapDevice {
      opened = false;
      override open() {
        if (this.opened) throw new Error("it was opened before");
        this.opened = true;
      }
    },
  ],
  [
    "nothing",
    "keeps its pages after close",
    class extends MapDevice {
      override close() {}
    },
  ],
  [
    "later",
    "rejects when it is aborted, and writes all the same",
    class extends MapDevice {
      override write(runs: readonly SwapRun[], signal?: AbortSignal) {
        if (!signal) return super.write(runs);
        const pages = copied(runs);
        const done = turn()
          .then(turn)
          .then(turn)
          .then(() => {
            for (const [slot, view] of pages) this.set(slot, view);
          });
        const aborted = new Promise<never>((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
        return Promise.race([done, aborted]);
      }
    },
  ],
  [
    "later",
    "rejects a read when it is aborted, and fills its views all the same",
    class extends MapDevice {
      override read(runs: readonly SwapRun[], signal?: AbortSignal) {
        if (!signal) return super.read(runs);
        const aborted = new Promise<never>((_, reject) => {
          signal.addEventListener("abort", () => reject(signal.reason));
        });
        return Promise.race([
          turn()
            .then(turn)
            .then(() => super.read(runs)),
          aborted,
        ]);
      }
    },
  ],
  [
    "later",
    "discards once more when it has time",
    class extends MapDevice {
      override discard(ranges: readonly { slot: number; pages: number }[], end: number) {
        super.discard(ranges, end);
        const all = ranges[0]?.pages === this.slots;
        setTimeout(() => {
          for (let slot = 1; all && slot < 20; slot++) this.pages.delete(slot);
        }, 5);
      }
    },
  ],
  [
    "full",
    "says that it is full in words of its own",
    class extends MapDevice {
      override short(): never {
        throw new Error("the bucket is at its limit");
      }
    },
  ],
  [
    "short",
    "says that it stored more than it did",
    class extends MapDevice {
      override short(pages: number, error: Error) {
        return { pages: pages + 1, error };
      }
    },
  ],
  [
    "short",
    "says what it took as a number",
    class extends MapDevice {
      override short(pages: number) {
        return pages as never;
      }
    },
  ],
  [
    "kept",
    "makes room by dropping what is old",
    class extends MapDevice {
      override short(_: number, error: Error): never {
        for (const slot of [...this.pages.keys()].slice(0, 5)) this.pages.delete(slot);
        throw error;
      }
    },
  ],
  [
    "capacity",
    "is a log, and takes nothing more when it is full",
    class extends MapDevice {
      written = 0;
      override async write(runs: readonly SwapRun[]): Promise<void> {
        for (const [slot, view] of pagesOf(runs)) {
          if (++this.written > this.room) {
            throw Object.assign(new Error("no more room"), { code: "ENOSPC" });
          }
          this.set(slot, view);
        }
      }
    },
  ],
  [
    "fills",
    "reads what is damaged as if it were not",
    class extends MapDevice {
      override get(slot: number, view: Uint8Array) {
        view.set(this.pages.get(slot) as Uint8Array);
      }
    },
  ],
  [
    "failed",
    "gives up for good after a read that failed",
    class extends MapDevice {
      override get(slot: number, view: Uint8Array) {
        if (this.damaged.has(slot)) this.pages.clear();
        super.get(slot, view);
      }
    },
  ],
  [
    "pool",
    "takes pages that begin with zeros for none",
    class extends MapDevice {
      override set(slot: number, view: Uint8Array) {
        if (view.subarray(0, 16).some((byte) => byte !== 0)) super.set(slot, view);
      }
    },
  ],
];

describe("a device that", () => {
  test.each(BROKEN.map(([rule, what, device]) => ({ rule, what, device })))(
    '$what breaks "$rule"',
    async ({ rule, device }) => {
      const error = await firstBroken(device);
      expect(error?.message).toMatch(/^broken: ".*" \(\w+\); .* \[seed: 7\]$/s);
      expect(error?.rule).toBe(rule);
    },
  );

  test("breaks none passes, with all that there is to test", async () => {
    const report = await checkSwapDevice(optionsOf(MapDevice));
    expect(report.passed.length).toBe(swapDeviceTests(optionsOf(MapDevice)).length);
    expect(report.skipped).toEqual([]);
  });
});

test("every rule is broken by some device", () => {
  const rules = new Set(BROKEN.map(([rule]) => rule));
  expect(rules.size).toBe(22);
});
