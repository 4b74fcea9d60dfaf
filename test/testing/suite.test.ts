/* The contract suite on devices that keep the contract: scripted ones, records, a map, files. */
import { readdirSync, statSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { PAGE_SIZE, type SyncSwapDevice } from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import {
  checkSwapDevice,
  PageRecords,
  type RecordStore,
  type ScriptedCall,
  type ScriptedSwap,
  type SwapDeviceTestsOptions,
  type SwapFixture,
  scriptedSwap,
  swapDeviceTests,
} from "../../src/testing.ts";
import { CAN_MOUNT, HAS_PROC, SmallDisk, TempFolder } from "../support/files.ts";
import { Random } from "../support/random.ts";

function suite<F extends SwapFixture>(name: string, options: SwapDeviceTestsOptions<F>): void {
  describe(name, () => {
    for (const { name, run } of swapDeviceTests(options)) test(name, run);
  });
}

interface ScriptedFixture {
  readonly device: ScriptedSwap;
  readonly damaged: Set<number>;
}

/** Scripted devices, which must not find the suite breaking the pool's part. */
function scripted(
  pairs: "sync" | "async" | "both",
  delay: () => number | undefined,
): SwapDeviceTestsOptions<ScriptedFixture> {
  const make = (slots: number, capacity: number): ScriptedFixture => {
    const damaged = new Set<number>();
    const script = ({ kind, sync, runs }: ScriptedCall) => {
      const hit = [...damaged].some((at) =>
        runs.some(({ slot, pages }) => at >= slot && at < slot + pages),
      );
      const wait = sync ? undefined : delay();
      return {
        ...(wait !== undefined && { wait, heeds: wait % 2 === 0 }),
        ...(kind === "read" && hit && { error: new Error("a bad block") }),
      };
    };
    return {
      device: scriptedSwap({ slots, capacity, pairs, queueDepth: 40, script }),
      damaged,
    };
  };
  return {
    create: ({ slots }) => make(slots, slots),
    createSmall: ({ slots, pages }) => make(slots, pages),
    second: ({ device }) => make(device.slots, device.slots).device,
    bytes: ({ device }) => device.pages.size * PAGE_SIZE,
    left: ({ device }) => device.pages.size,
    damage: ({ damaged }, slot) => void damaged.add(slot),
    dispose: ({ device }) => expect(device.broken).toBeUndefined(),
  };
}

const random = new Random(1);
suite(
  "a scripted device at once",
  scripted("sync", () => undefined),
);
suite(
  "a scripted device that ends calls in any order",
  scripted("async", () => random.below(4)),
);
suite(
  "a scripted device with both pairs",
  scripted("both", () => (random.chance(0.5) ? undefined : 0)),
);

suite("a map without anything optional", {
  create: ({ slots }) => {
    const pages = new Map<number, Uint8Array>();
    const device: SyncSwapDevice = {
      name: "map",
      slots,
      readSync(runs) {
        for (const { slot, views } of runs) {
          let at = slot;
          for (const view of views) {
            for (let i = 0; i < view.length; i += PAGE_SIZE) {
              view.set(pages.get(at++) as Uint8Array, i);
            }
          }
        }
      },
      writeSync(runs) {
        for (const { slot, views } of runs) {
          let at = slot;
          for (const view of views) {
            for (let i = 0; i < view.length; i += PAGE_SIZE) {
              pages.set(at++, view.slice(i, i + PAGE_SIZE));
            }
          }
        }
      },
    };
    return { device };
  },
});

function recordsOf(slots: number, pages: number, room: number, waits: boolean) {
  const map = new Map<number, Uint8Array>();
  const damaged = new Set<Uint8Array>();
  const used = () => [...map.values()].reduce((sum, bytes) => sum + bytes.length, 0) / PAGE_SIZE;
  const store: RecordStore = {
    get(id) {
      const bytes = map.get(id) as Uint8Array;
      if (damaged.has(bytes)) throw new Error("a bad block");
      return bytes;
    },
    set(id, bytes) {
      const more = (bytes.length - (map.get(id)?.length ?? 0)) / PAGE_SIZE;
      if (more > 0 && used() + more > room) {
        throw Object.assign(new Error("quota"), { name: "QuotaExceededError" });
      }
      map.set(id, bytes);
    },
    delete: (id) => map.delete(id),
  };
  const turn = () => new Promise((resolve) => setTimeout(resolve, random.below(2)));
  const late: RecordStore = {
    get: (id) => turn().then(() => store.get(id)),
    set: (id, bytes) => turn().then(() => store.set(id, bytes)),
    delete: (id) => turn().then(() => store.delete(id)),
  };
  const records = new PageRecords(waits ? late : store, { pages });
  const base = { name: "records", slots };
  const device = waits
    ? {
        ...base,
        queueDepth: 8,
        read: records.read.bind(records),
        write: records.write.bind(records),
        discard: records.discard.bind(records),
        close: () => records.clear(),
      }
    : {
        ...base,
        readSync: records.readSync.bind(records),
        writeSync: records.writeSync.bind(records),
        discard: records.discardSync.bind(records),
        close: () => records.clearSync(),
      };
  return { device, records, map, damaged };
}

for (const waits of [false, true]) {
  for (const pages of [1, 16]) {
    suite(`records of ${pages} pages in a store that ${waits ? "waits" : "does not wait"}`, {
      create: ({ slots }) => recordsOf(slots, pages, slots, waits),
      createSmall: (wanted) => recordsOf(wanted.slots, pages, wanted.pages, waits),
      bytes: ({ map }) => [...map.values()].reduce((sum, bytes) => sum + bytes.length, 0),
      left: ({ map }) => map.size,
      damage: ({ records, map, damaged }, slot) =>
        void damaged.add(map.get(records.recordOf(slot) as number) as Uint8Array),
    });
  }
}

interface FileFixture {
  readonly device: SyncSwapDevice;
  readonly folder: TempFolder | SmallDisk;
}

function file(slots: number, folder: TempFolder | SmallDisk): FileFixture {
  const path = folder.file("swap");
  return { device: fileSwap({ size: slots * PAGE_SIZE, path }), folder };
}

suite("fileSwap", {
  create: ({ slots }) => file(slots, new TempFolder()),
  ...(CAN_MOUNT && {
    createSmall: ({ slots, pages }) => file(slots, new SmallDisk(`${4 * pages}k`)),
  }),
  second: ({ device, folder }) =>
    fileSwap({ size: device.slots * PAGE_SIZE, path: folder.file("swap") }),
  ...(HAS_PROC && { bytes: ({ folder }) => statSync(folder.file("swap")).size }),
  left: ({ folder }) => readdirSync(folder.path).length,
  dispose: ({ folder }) => folder[Symbol.dispose](),
});

test("fileSwap, a private file", () =>
  checkSwapDevice({
    create: ({ slots }) => ({ device: fileSwap({ size: slots * PAGE_SIZE }) }),
  }));
