import type { Device, DeviceOptions } from "../device.ts";
import { messageOf, show } from "../errors.ts";
import { createDevice as ownCreateDevice } from "../index.ts";
import { assertOptions } from "../options.ts";
import type { AsyncSwapDevice, SyncSwapDevice } from "../swap/types.ts";
import { contentTests, type KitTest } from "./content_tests.ts";
import { fullTests } from "./full_tests.ts";
import { poolTests } from "./pool_tests.ts";
import { Random } from "./random.ts";
import { type Kit, SLOTS } from "./rig.ts";
import { storeTests } from "./store_tests.ts";

/** A device to be tested, and whatever else the other options need to know of it. */
export interface SwapFixture {
  /** The device, not open. */
  readonly device: SyncSwapDevice | AsyncSwapDevice;
}

/** Options of `swapDeviceTests`: what to test, and how to look into it. What is not given is not tested. */
export interface SwapDeviceTestsOptions<F extends SwapFixture> {
  /** Makes a device of at least so many slots on a store of its own with nothing in it; called for each test. */
  create(wanted: { readonly slots: number }): F | Promise<F>;
  /** The same on a store that is full after some `pages`, give or take a few. */
  createSmall?(wanted: { readonly slots: number; readonly pages: number }): F | Promise<F>;
  /** Another device on the store of one that is open. Its `open` is to throw, or to take another store. */
  second?(fixture: F): F["device"] | Promise<F["device"]>;
  /** Bytes of pages that the store holds: 0 when there are none. */
  bytes?(fixture: F): number | Promise<number>;
  /** What is there of the device's after close: files, keys, rows; 0 when nothing is. */
  left?(fixture: F): number | Promise<number>;
  /** Makes the page of a slot unreadable, as a bad block does, or a record that is lost. */
  damage?(fixture: F, slot: number): void | Promise<void>;
  /** Called at the end of each test, also of one that failed. */
  dispose?(fixture: F): void | Promise<void>;
  /** Milliseconds in which something that was still going on would be seen. Default: 25. */
  readonly quiet?: number;
  /** Milliseconds in which a call must have settled. Default: 10,000. */
  readonly patience?: number;
  /** Of the random numbers. Default: another one each time; messages name it. */
  readonly seed?: number;
  /** `createDevice` of the entry that the host needs. Default: that of `ttm-wasm`, with the engine inlined. */
  createDevice?(options: DeviceOptions): Promise<Device>;
}

/** One test, for any runner. */
export interface SwapDeviceTest {
  /** What the device does, as in "gives back what was written". */
  readonly name: string;
  /** Rejects when a rule of the contract is broken, which the message names, with the seed. */
  run(): Promise<void>;
}

/** What `checkSwapDevice` found. */
export interface SwapDeviceReport {
  /** Names of the tests that were run. */
  readonly passed: readonly string[];
  /** Names of those that were not, each with the option that they need. */
  readonly skipped: readonly string[];
}

const PROBES = ["createSmall", "second", "bytes", "left", "damage", "dispose"] as const;
const OPTIONS: readonly string[] = [
  "create",
  ...PROBES,
  "quiet",
  "patience",
  "seed",
  "createDevice",
];

/** @throws TypeError naming an option that is not what it should be */
function assertTests(options: Readonly<Record<string, unknown>> | undefined): void {
  if (options === undefined) throw new TypeError("swapDeviceTests needs at least { create }");
  assertOptions(options, OPTIONS, "swapDeviceTests");
  for (const name of ["create", ...PROBES, "createDevice"] as const) {
    const value = options[name];
    if (typeof value === "function" || (value === undefined && name !== "create")) continue;
    throw new TypeError(`${name} must be a function, not ${show(value)}`);
  }
}

function kitOf<F extends SwapFixture>(options: SwapDeviceTestsOptions<F>, seed: number): Kit<F> {
  const slots = SLOTS;
  const made = (fixture: F): F => {
    const device = fixture?.device as { slots?: unknown } | undefined;
    if (typeof device !== "object" || device === null) {
      throw new TypeError("create must return an object with a device in it");
    }
    if ((device.slots as number) < slots) {
      const text = `create made a device of ${show(device.slots)} slots; ${slots} are needed`;
      throw new RangeError(text);
    }
    return fixture;
  };
  return {
    create: async () => made(await options.create({ slots })),
    createSmall: async (pages) => made((await options.createSmall?.({ slots, pages })) as F),
    second: async (fixture) => (await options.second?.(fixture)) as F["device"],
    bytes: async (fixture) => (await options.bytes?.(fixture)) as number,
    left: async (fixture) => (await options.left?.(fixture)) as number,
    damage: async (fixture, slot) => options.damage?.(fixture, slot),
    dispose: async (fixture) => options.dispose?.(fixture),
    createDevice: options.createDevice?.bind(options) ?? ownCreateDevice,
    quiet: options.quiet ?? 25,
    patience: options.patience ?? 10_000,
    random: new Random(seed),
  };
}

async function runTest<F extends SwapFixture>(
  test: KitTest<F>,
  options: SwapDeviceTestsOptions<F>,
): Promise<void> {
  const seed = options.seed ?? Math.floor(Math.random() * 2 ** 32);
  try {
    await test.run(kitOf(options, seed));
  } catch (error) {
    if (!(error instanceof Error)) throw error;
    error.message = `${error.message} [seed: ${seed}]`;
    throw error;
  }
}

function testsOf<F extends SwapFixture>(): KitTest<F>[] {
  return [...contentTests<F>(), ...storeTests<F>(), ...fullTests<F>(), ...poolTests<F>()];
}

/**
 * The contract of swap devices (`SwapDeviceBase`) as tests, for any runner:
 * `for (const { name, run } of swapDeviceTests({ create })) test(name, run)`. Each makes devices of its own,
 * and goes through both pairs of calls that a device may have.
 *
 * @throws TypeError for an option that is none, or not what it should be
 */
export function swapDeviceTests<F extends SwapFixture>(
  options: SwapDeviceTestsOptions<F>,
): SwapDeviceTest[] {
  assertTests(options as unknown as Record<string, unknown>);
  return testsOf<F>()
    .filter(({ needs }) => needs === undefined || options[needs] !== undefined)
    .map((test) => ({ name: test.name, run: () => runTest(test, options) }));
}

/**
 * Runs all of `swapDeviceTests`, one after the other, and says what was tested. Rejects with the first error; when
 * there are several, with an `AggregateError` whose message has all of theirs.
 *
 * @throws TypeError for an option that is none, or not what it should be
 */
export async function checkSwapDevice<F extends SwapFixture>(
  options: SwapDeviceTestsOptions<F>,
): Promise<SwapDeviceReport> {
  const passed: string[] = [];
  const failed: { name: string; error: unknown }[] = [];
  for (const { name, run } of swapDeviceTests(options)) {
    try {
      await run();
      passed.push(name);
    } catch (error) {
      failed.push({ name, error });
    }
  }
  if (failed.length > 0) {
    const texts = failed.map(({ name, error }) => `- ${name}: ${messageOf(error)}`);
    const errors = failed.map(({ error }) => error);
    if (errors.length === 1) throw errors[0];
    throw new AggregateError(errors, `${failed.length} tests failed:\n${texts.join("\n")}`);
  }
  const skipped = testsOf<F>()
    .filter(({ name }) => !passed.includes(name))
    .map(({ name, needs }) => `${name} (needs ${needs})`);
  return { passed, skipped };
}
