import { MAX_ORDER, PAGE_SIZE } from "../assembly/abi.ts";
import { type DebugOptions, debugMaps } from "./debug/maps.ts";
import { Device } from "./device.ts";
import { Engine } from "./engine/engine.ts";
import { assertModule } from "./engine/instance.ts";
import { TtmError } from "./errors.ts";
import { Hibernation } from "./hibernation.ts";
import { ignoreOutcome } from "./host.ts";
import type { EngineModule } from "./host_types.ts";
import { Kswapd } from "./kswapd.ts";
import { assertWhole, takeOptions } from "./options.ts";
import { Reclaim } from "./reclaim.ts";
import { formatSize, parseSize, type Size } from "./size.ts";
import { LIMIT_MIN, makeSwap } from "./swap/compressed/device.ts";
import { ramSwap } from "./swap/ram.ts";
import { closeSwap, openSwap } from "./swap/space.ts";
import { adopt } from "./swap/store.ts";
import type { SwapDevice } from "./swap/types.ts";
import { Trimmer } from "./trim/trimmer.ts";
import { GLOBAL_OPTIONS, TtmGlobal, type TtmGlobalOptions } from "./ttm/global.ts";
import type { PoolOptions } from "./ttm/pool.ts";

/** Options of `createDevice`. */
export interface DeviceOptions extends TtmGlobalOptions {
  /** Page frames in bytes, all there will ever be: 64 KiB up to nearly 4 GiB; whole pages of it. */
  readonly memory: Size;
  /**
   * Where pages go under pressure. Default: `compressedSwap` for four times `memory`, which takes as many bytes as
   * `memory` at most (1 MiB where that is less); `ramSwap()` where `module` is given.
   */
  readonly swap?: SwapDevice;
  /** First bytes of the memory that are its DMA32 zone, a multiple of 2 MiB. Default: all of it. */
  readonly dma32?: Size;
  /** Orders, coherent DMA and DMA32 of the pool that the buffers' pages come from. */
  readonly pool?: PoolOptions;
  /**
   * Finds uses of views that are none. Mappings then give copies, which are brought up to date with the pages by every
   * call on the buffer, and written back by `unmap()`. After that a copy is poison: it reads as 0xdb, and what is written
   * to it is reported, with where it was mapped and unmapped, at the next `map()`, `unmap()`, `check()` or `close()`,
   * or 20 ms later. The last 8 MiB of such copies are watched; older ones are detached, so that using them throws.
   * Also reported: writes to a mapping that was made with `write: false`, writes beyond the ends of a view through its
   * `buffer`, and views that were transferred.
   *
   * What is written to a view shows in those of other mappings of the same bytes with the next call on the buffer, and
   * what is written while an async call on it is under way when that has settled. It costs a copy and a comparison of
   * all that is mapped, for each call: for tests and development. Default: false.
   */
  readonly debug?: boolean | DebugOptions;
  /**
   * Give memory back to the host, as `trim` does, whenever for so many milliseconds no page came or went, and a
   * sixteenth of the frames or more is free and was used. Default: 0, never.
   */
  readonly trimAfter?: number;
  /** The compiled engine, for hosts that neither compile inlined bytes nor resolve the package's. */
  readonly module?: EngineModule;
}

/** The modules of WebAssembly that a build of the package brings along, compiled when they are asked for. */
export interface BuiltIn {
  readonly engine: () => WebAssembly.Module;
  readonly codec: () => unknown;
}

const MEMORY_MIN = 64 * 1024;
/**
 * Spare vector entries: as many as needed, up to 24 MiB of untouched linear memory; 768 KiB in any case. A vector has
 * an entry for each page, also for those that were never written, so entries run out before pages do; and vectors
 * have to be packed again only when as many entries as are spare were given away.
 */
const SLACK_MAX = 2 ** 21;
const SLACK_MIN = 2 ** 16;
/** Swap that nobody chose, in parts of the memory: content that compresses to a quarter fills its limit by then. */
const SWAP_SIZE = 4;

const DEVICE_OPTIONS = [
  ...GLOBAL_OPTIONS,
  ...(["memory", "swap", "dma32", "pool", "debug", "trimAfter", "module"] as const),
];

/** `createDeviceSync` of index.ts, with what its build brings along. */
export function createDeviceSync(options: DeviceOptions, builtIn: BuiltIn): Device {
  const { device, opening } = make(options, builtIn);
  if (!opening) return device;
  const { store } = device.global;
  // Once it is open, nobody is there to use it.
  ignoreOutcome(opening.then(() => closeSwap(store)));
  const text = `swap device ${store.name} opens asynchronously; use createDevice, which waits`;
  throw new TtmError("EWOULDBLOCK", "open", text);
}

/** What `createDevice` and `createDeviceSync` begin with: `opening` while the swap device is being opened. */
function make(
  options: DeviceOptions,
  builtIn: BuiltIn,
): { device: Device; opening: void | Promise<void> } {
  const given = takeOptions(options, DEVICE_OPTIONS, "createDevice");
  const {
    memory: size,
    swap: device,
    dma32: zone,
    pool = {},
    debug = false,
    trimAfter = 0,
    ...rest
  } = given;
  const watch = debugMaps(debug);
  assertWhole(trimAfter, "trimAfter", 0, 2 ** 31 - 1);
  const memory = parseSize(size as Size, "memory");
  if (memory < MEMORY_MIN) {
    const { memory: given } = options;
    const hint = typeof given === "number" && given <= 4096 ? `; "${given} MiB" may be meant` : "";
    throw new RangeError(
      `memory of ${formatSize(memory)} is too small; the least is ${formatSize(MEMORY_MIN)}${hint}`,
    );
  }
  // Only where none is given: null is refused by its name, as anything else that is no device.
  const chosen = device === undefined ? defaultSwap(memory, !given.module, builtIn) : device;
  const store = adopt(chosen);
  const frames = Math.floor(memory / PAGE_SIZE);
  const slots = store.slots || frames;
  // Vectors of all that can be in memory or in swap, and as much again for pages that are neither.
  const slack = Math.min(Math.max(slots + frames, SLACK_MIN), SLACK_MAX);
  const entries = slots + frames + slack;
  const dma32 = zone === undefined ? frames : dma32Frames(zone, frames);
  const geometry = { frames, slots, entries, ram: store.ram, dma32 };
  const module: unknown = given.module ?? builtIn.engine();
  assertModule(module, "module");
  const { module: _, ...settings } = rest;
  const global = new TtmGlobal(new Engine(geometry, module), store, settings);
  const reclaimer = new Reclaim(global);
  const kswapd = new Kswapd(global);
  const hibernation = new Hibernation(global, reclaimer);
  const trimmer = new Trimmer(global, trimAfter);
  const made = new Device({ global, reclaimer, kswapd, hibernation, trimmer }, pool);
  global.shrinkers.register(reclaimer);
  watch?.(made);
  return { device: made, opening: openSwap(store) };
}

/** `createDevice` of index.ts, with what its build brings along. */
export async function createDevice(options: DeviceOptions, builtIn: BuiltIn): Promise<Device> {
  const { device, opening } = make(options, builtIn);
  await opening;
  return device;
}

/** Where pages go when nobody says. Who has to bring the engine along cannot have the codec compiled either. */
function defaultSwap(memory: number, compiles: boolean, { codec }: BuiltIn): SwapDevice {
  if (!compiles) return ramSwap();
  // A memory of more will be refused, by its name.
  const bytes = Math.min(memory, 2 ** 32);
  return makeSwap({ size: SWAP_SIZE * bytes, limit: Math.max(bytes, LIMIT_MIN) }, codec);
}

function dma32Frames(size: Size, frames: number): number {
  const zone = parseSize(size, "dma32") / PAGE_SIZE;
  if (zone >= frames) return frames;
  if (zone % 2 ** MAX_ORDER !== 0) throw new RangeError("dma32 must be a multiple of 2 MiB");
  return zone;
}
