import { hostCiphers } from "./aes.ts";
import { sealedDevice } from "./sealed_device.ts";
import type { AsyncSwapDevice, SwapDevice, SyncSwapDevice } from "./types.ts";

/**
 * A swap device that holds nothing but ciphertext: pages are sealed with AES-256-GCM on their way to `device`, any swap
 * device, and opened on their way back, by `node:crypto` where that is (Node, Deno, Bun), else by `crypto.subtle`
 * (browsers, workerd).
 *
 * The key is made at random when the device is opened, never leaves the process, and is gone with `close`: what a store
 * keeps, copies or leaks then is noise. Each page that is written has a nonce of its own, which counts up; after 2^48
 * pages, 1 EiB, no more can be written (`EIO`), and all that was can be read. Nonces and tags are kept here, 24 bytes a
 * slot in use, beside 1 MiB for calls. A page is bound to its slot: one that was changed, torn, moved to another slot or
 * put back from an earlier time is refused (`EIO`, which names the slot), and others can be read. The store still sees
 * which slots are written and read, and when. What is encrypted cannot be compressed: compress before.
 *
 * It has the pairs of calls that `device` has; where `node:crypto` is not there is no Sync pair, but an async one for
 * any device. `device` is opened and closed with it, and is in use meanwhile. `ramSwap` needs a size here: its pages
 * then lie in the heap of JavaScript.
 *
 * @throws TypeError, RangeError for what is no swap device
 * @throws TtmError ENOSYS where the host has neither; pages of the web have `crypto.subtle` in secure contexts only
 */
export function encryptedSwap(device: SwapDevice): SyncSwapDevice | AsyncSwapDevice {
  return sealedDevice(device, hostCiphers());
}
