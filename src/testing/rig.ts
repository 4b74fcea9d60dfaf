import type { Device, DeviceOptions } from "../device.ts";
import { after } from "../host.ts";
import type { HostSignal } from "../host_types.ts";
import type { SlotRange } from "../swap/types.ts";
import { Arena, type Placed } from "./arena.ts";
import {
  expectStored,
  type Pair,
  pairsOf,
  type Refusal,
  settled,
  type TestedDevice,
} from "./pair.ts";
import type { Random } from "./random.ts";
import { SwapContractError, type SwapRule, within } from "./rules.ts";

/** Slots that a device must have to be tested. */
export const SLOTS = 1024;

/** Pages of memory for the views of calls. */
const ARENA_PAGES = 2048;
/** Free ones that the next calls of a test may need. */
const ARENA_LOW = 600;

/** What a test has of the user's options. */
export interface Kit<F extends { readonly device: TestedDevice }> {
  create(): Promise<F>;
  /** A store with room for fewer pages than it has slots. */
  createSmall(pages: number): Promise<F>;
  second(fixture: F): Promise<TestedDevice>;
  bytes(fixture: F): Promise<number>;
  left(fixture: F): Promise<number>;
  damage(fixture: F, slot: number): Promise<void>;
  dispose(fixture: F): Promise<void>;
  createDevice(options: DeviceOptions): Promise<Device>;
  /** Milliseconds in which a call that has settled would have its later effect. */
  readonly quiet: number;
  /** Milliseconds in which a call must have settled. */
  readonly patience: number;
  readonly random: Random;
}

type Settings = { readonly random: Random; readonly patience: number };

/** A device at work, by one pair of its calls, and what it should hold. */
export class Rig {
  readonly device: TestedDevice;
  readonly pair: Pair;
  readonly random: Random;
  readonly arena: Arena;
  /** Seed of the page in each slot that was written. */
  readonly model: Map<number, number> = new Map();
  /** Whether the views of a write hold something else as soon as it has settled; else much later. */
  hasty = false;
  #seeds: number;
  readonly #patience: number;
  #held: Placed[] = [];

  constructor(device: TestedDevice, pair: Pair, { random, patience }: Settings) {
    this.device = device;
    this.pair = pair;
    this.random = random;
    this.#patience = patience;
    this.#seeds = random.next(); // two devices hold different pages
    this.arena = new Arena(ARENA_PAGES, random);
  }

  /** Slots as runs of one page to `most`, cut at random. */
  cut(slots: readonly number[], most = 256): number[][] {
    const runs: number[][] = [];
    let run: number[] = [];
    for (const slot of slots) {
      const follows = run.length > 0 && run.length < most && slot === (run.at(-1) as number) + 1;
      if (!follows || this.random.chance(0.1)) {
        run = [];
        runs.push(run);
      }
      run.push(slot);
    }
    return runs;
  }

  /** Views that hold new content for slots. */
  fresh(runs: readonly (readonly number[])[]): { placed: Placed; seeds: Map<number, number> } {
    const seeds = new Map(runs.flat().map((slot) => [slot, this.#seeds++]));
    return { placed: this.arena.place(runs, seeds), seeds };
  }

  /** Writes new content, and takes down what was stored. */
  async put(
    runs: readonly (readonly number[])[],
    signal?: HostSignal,
  ): Promise<Refusal | undefined> {
    const { placed, seeds } = this.fresh(runs);
    const refused = await this.pair.write(placed.runs, signal);
    this.arena.expect(placed, seeds, "source", `after ${this.pair.writes}`);
    this.#held.push(placed);
    if (this.hasty || this.arena.free < ARENA_LOW) this.reuse();
    const stored = [...seeds].slice(0, refused?.pages);
    for (const [slot] of seeds) this.model.delete(slot);
    for (const [slot, seed] of stored) this.model.set(slot, seed);
    return refused;
  }

  /** Uses the memory of all writes that have settled for something else. */
  reuse(): void {
    for (const placed of this.#held.splice(0)) this.arena.reuse(placed);
  }

  /** The same where nothing may be refused. */
  async write(runs: readonly (readonly number[])[], rule: SwapRule = "content"): Promise<void> {
    expectStored(await this.put(runs), rule, this.pair.writes);
  }

  /** Reads slots, and compares them with what they should hold. */
  async read(runs: readonly (readonly number[])[], rule: SwapRule = "content"): Promise<void> {
    const placed = this.arena.place(runs);
    await within(rule, this.pair.reads, () => this.pair.read(placed.runs));
    this.arena.expect(placed, this.model, rule, this.pair.reads);
    this.arena.reuse(placed);
  }

  /** Reads all that it should hold, in calls of 256 pages at most. */
  async readAll(rule: SwapRule): Promise<void> {
    const slots = [...this.model.keys()].sort((a, b) => a - b);
    for (let at = 0; at < slots.length; at += 256) {
      await this.read(this.cut(slots.slice(at, at + 256)), rule);
    }
  }

  /** Gives slots up; what the device throws then is ignored, as a pool does. */
  async discard(ranges: readonly SlotRange[]): Promise<void> {
    for (const { slot, pages } of ranges) {
      for (let at = slot; at < slot + pages; at++) this.model.delete(at);
    }
    try {
      const end = Math.max(0, ...this.model.keys());
      await settled(this.device.discard?.(ranges, end), "discard", this.#patience);
    } catch (error) {
      // What a device throws is nobody's business: best effort.
      if (error instanceof SwapContractError) throw error;
    }
  }
}

/** Waits so many milliseconds. */
export function pause(ms: number): Promise<void> {
  return new Promise((resolve) => {
    after(ms, resolve);
  });
}

/** Runs a test once for each pair of calls of the device, each time with a new, open one, which it closes. */
export async function eachPair<F extends { readonly device: TestedDevice }>(
  kit: Kit<F>,
  create: () => Promise<F>,
  test: (rig: Rig, fixture: F) => Promise<void>,
): Promise<void> {
  for (let i = 0, count = 1; i < count; i++) {
    await withFixture(kit, create, async (fixture) => {
      const { device } = fixture;
      const pairs = pairsOf(device, kit.patience);
      count = pairs.length;
      await settled(device.open?.(), "open", kit.patience);
      await test(new Rig(device, pairs[i] as Pair, kit), fixture);
      await settled(device.close?.(), "close", kit.patience);
    });
  }
}

/** Makes a fixture for some work; it is disposed of in any case. */
export async function withFixture<F extends { readonly device: TestedDevice }>(
  kit: Kit<F>,
  create: () => Promise<F>,
  work: (fixture: F) => Promise<void>,
): Promise<void> {
  const fixture = await create();
  try {
    await work(fixture);
  } catch (error) {
    // What went wrong first is what is told.
    await kit.dispose(fixture).catch(() => {});
    throw error;
  }
  await kit.dispose(fixture);
}
