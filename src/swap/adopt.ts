import { show } from "../errors.ts";
import { assertWhole } from "../options.ts";
import type { BlockSwapDevice, SwapDevice } from "./types.ts";

const SLOTS_MAX = 2 ** 31 - 1;

/**
 * A user's swap device as it was when it was handed over: its name, its slots, whether it waits and what it
 * can do stay as they were read here, once. Its methods are called as they are at the time of the call.
 *
 * @throws TypeError, RangeError when it is none
 */
export function adopt(device: SwapDevice): SwapDevice {
  if (typeof device !== "object" || device === null) throw noSwap(device);
  if ((device as { ram?: unknown }).ram === true) {
    const { slots } = device;
    // More than fits is told by its size.
    assertWhole(slots, "swap.slots", 0);
    return Object.freeze({ name: "ram", slots, ram: true });
  }
  const block = device as BlockSwapDevice;
  const { name, slots, async: waits, read, write, open, truncate, close } = block;
  if (typeof read !== "function" || typeof write !== "function") throw noSwap(device);
  if (typeof name !== "string" || name === "") {
    throw new TypeError(`swap.name must be a string that is not empty, not ${show(name)}`);
  }
  if (!Number.isInteger(slots) || slots < 1 || slots > SLOTS_MAX) {
    throw new RangeError(`swap.slots must be 1 to ${SLOTS_MAX} pages, not ${show(slots)}`);
  }
  if (waits !== undefined && typeof waits !== "boolean") {
    throw new TypeError(`swap.async must be true or false, not ${show(waits)}`);
  }
  for (const [method, value] of Object.entries({ open, truncate, close })) {
    if (value === undefined || typeof value === "function") continue;
    throw new TypeError(`swap.${method} must be a function, not ${show(value)}`);
  }
  const adopted = Object.freeze<BlockSwapDevice>({
    name,
    slots,
    async: waits === true,
    read: (slot, views) => block.read(slot, views),
    write: (slot, views) => block.write(slot, views),
    ...(open && { open: () => block.open?.() }),
    ...(truncate && { truncate: (slots) => block.truncate?.(slots) }),
    ...(close && { close: () => block.close?.() }),
  });
  sources.set(adopted, device);
  return adopted;
}

/** Users' devices by what they were adopted as. */
const sources = new WeakMap<SwapDevice, SwapDevice>();

/** The user's device itself. */
export function sourceOf(swap: SwapDevice): SwapDevice {
  return sources.get(swap) ?? swap;
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
