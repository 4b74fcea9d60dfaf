import { show } from "../errors.ts";
import { assertWhole } from "../options.ts";
import type {
  AsyncSwapDevice,
  BlockSwapDevice,
  RamSwapDevice,
  ShortWrite,
  SwapDevice,
  SwapDeviceBase,
  SyncSwapDevice,
} from "./types.ts";

const SLOTS_MAX = 2 ** 31 - 1;

/** A swap device as the pool uses it. */
export type Adopted =
  | (Omit<BlockSwapDevice, "open"> & Pick<SwapDeviceBase, "open">)
  | RamSwapDevice;

export function isRam(swap: Adopted): swap is RamSwapDevice {
  return "ram" in swap;
}

const QUEUE_DEPTH_MAX = 1024;

type Foreign = Partial<SyncSwapDevice & AsyncSwapDevice & BlockSwapDevice>;

/**
 * A user's swap device as it was when it was handed over: its name, its slots, whether it waits and what it
 * can do stay as they were read here, once. Its methods are called as they are at the time of the call.
 *
 * @throws TypeError, RangeError when it is none
 */
export function adopt(device: SwapDevice): Adopted {
  if (typeof device !== "object" || device === null) throw noSwap(device);
  if ((device as { ram?: unknown }).ram === true) {
    const { slots } = device;
    // More than fits is told by its size.
    assertWhole(slots, "swap.slots", 0);
    return Object.freeze({ name: "ram", slots, ram: true });
  }
  const given = device as unknown as Foreign;
  const { name, slots, queueDepth, async: waits, open, discard, truncate, close } = given;
  const { read, write, readSync, writeSync } = given;
  const pairs = [
    [read, write],
    [readSync, writeSync],
  ].filter((pair) => pair.every((method) => typeof method === "function"));
  if (pairs.length === 0) throw noSwap(device);
  if (typeof name !== "string" || name === "") {
    throw new TypeError(`swap.name must be a string that is not empty, not ${show(name)}`);
  }
  if (!Number.isInteger(slots) || (slots as number) < 1 || (slots as number) > SLOTS_MAX) {
    throw new RangeError(`swap.slots must be 1 to ${SLOTS_MAX} pages, not ${show(slots)}`);
  }
  if (waits !== undefined && typeof waits !== "boolean") {
    throw new TypeError(`swap.async must be true or false, not ${show(waits)}`);
  }
  const optional = { read, write, readSync, writeSync, open, discard, truncate, close };
  for (const [method, value] of Object.entries(optional)) {
    if (value === undefined || typeof value === "function") continue;
    throw new TypeError(`swap.${method} must be a function, not ${show(value)}`);
  }
  if (queueDepth !== undefined) assertWhole(queueDepth, "swap.queueDepth", 1, QUEUE_DEPTH_MAX);
  const first = readSync === undefined && queueDepth === undefined;
  const adopted = Object.freeze<Adopted>({
    name,
    slots: slots as number,
    ...(first
      ? firstEdition(given, waits === true, truncate !== undefined)
      : secondEdition(given, slots as number, discard !== undefined)),
    ...(open && { open: () => given.open?.() }),
    ...(close && { close: () => given.close?.() }),
  });
  sources.set(adopted, device);
  return adopted;
}

type Methods = Pick<BlockSwapDevice, "async" | "read" | "write" | "truncate">;

function firstEdition(given: Foreign, waits: boolean, truncate: boolean): Methods {
  const device = given as BlockSwapDevice;
  return {
    async: waits,
    read: (slot, views) => device.read(slot, views),
    write: (slot, views) => device.write(slot, views),
    ...(truncate && { truncate: (slots) => device.truncate?.(slots) }),
  };
}

function secondEdition(given: Foreign, slots: number, discard: boolean): Methods {
  const device = given as SyncSwapDevice & AsyncSwapDevice;
  const truncate = (end: number) => {
    void device.discard?.([{ slot: end + 1, pages: slots - end }], end);
  };
  const whole = (short: void | ShortWrite) => {
    if (short) throw short.error;
  };
  if (typeof device.readSync === "function") {
    return {
      async: false,
      read: (slot, views) => device.readSync([{ slot, views }]),
      write: (slot, views) => whole(device.writeSync([{ slot, views }])),
      ...(discard && { truncate }),
    };
  }
  return {
    async: true,
    read: (slot, views) => device.read([{ slot, views }]),
    write: async (slot, views) => whole(await device.write([{ slot, views }])),
    ...(discard && { truncate }),
  };
}

/** Users' devices by what they were adopted as. */
const sources = new WeakMap<Adopted, SwapDevice>();

/** The user's device itself. */
export function sourceOf(swap: Adopted): SwapDevice {
  return sources.get(swap) ?? (swap as SwapDevice);
}

function noSwap(given: unknown): TypeError {
  const text = "swap must be a swap device such as ramSwap() or fileSwap({ size })";
  return new TypeError(`${text}${hintOf(given)}`);
}

/** What somebody may have meant who gave this as a swap device. */
function hintOf(swap: unknown): string {
  if (typeof swap === "function") return `, not a function: call ${show(swap.name)}`;
  if (typeof swap !== "string") return "";
  const size = /^[\d.]+ ?[kmgt]?i?b?$/i.test(swap);
  const options = size ? `size: "${swap}"` : `path: ${JSON.stringify(swap)}, size: "4 GiB"`;
  return `, not a string: fileSwap({ ${options} }) of ttm-wasm/swap/file`;
}
