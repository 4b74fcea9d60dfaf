import { failureOf, show } from "../errors.ts";
import { assertOptions } from "../options.ts";
import { pagesOf, parseSize, type Size } from "../size.ts";
import { OpfsFile } from "./opfs_file.ts";
import { OpfsRemote, type OpfsWorker, QUEUE_DEPTH } from "./opfs_remote.ts";
import type { AsyncSwapDevice, SwapDeviceBase, SyncSwapDevice } from "./types.ts";

export type { OpfsWorker } from "./opfs_remote.ts";
export { serveOpfsSwap } from "./opfs_serve.ts";

/** Options of `opfsSwap`. */
export interface OpfsSwapOptions {
  /** Most bytes the file may hold; rounded up to pages. It grows only as pages leave, and shrinks with them. */
  readonly size: Size;
  /** A name that one tab or worker of the origin may have at a time. Default: a file of its own, unseen. */
  readonly name?: string;
  /**
   * Starts the worker that has the file, for pages whose bundler or policy does not let this package start its
   * own. It must call `serveOpfsSwap()`, does nothing else, and ends with the device. In a web worker, where
   * none is needed, it gets the waiting for the file off this one.
   */
  readonly worker?: () => OpfsWorker;
}

const OPTIONS: readonly string[] = ["size", "name", "worker"];

/**
 * A swap file in the Origin Private File System of browsers. In a web worker it is a `SyncSwapDevice`; on a page,
 * which may not block, a worker of the device's own reads and writes the file, and `...Sync` calls that need it
 * are refused (`EWOULDBLOCK`).
 *
 * The file belongs to its device alone, and is locked while it is open. It is removed by `close`; what a
 * killed tab has left is removed when the next such device of the origin is opened. It counts for the quota
 * of the origin: when that is used up, the device is full (`ENOSPC`).
 *
 * @throws TypeError, RangeError when an option is not what it should be. Opening it, in `createDevice`, fails
 *   with `ENOSYS` where there is no such file system, `EBUSY` when the name is in use
 */
export function opfsSwap(options: OpfsSwapOptions): SyncSwapDevice | AsyncSwapDevice {
  if (options === undefined) {
    throw new TypeError('opfsSwap needs at least a size: opfsSwap({ size: "1 GiB" })');
  }
  assertOptions(options, OPTIONS, "opfsSwap");
  const { name, worker } = options;
  if (name !== undefined && (typeof name !== "string" || !/^[\w-][\w.-]*$/.test(name))) {
    const rule = "letters, digits, _, - and ., not with a . first";
    throw new TypeError(`opfsSwap name must consist of ${rule}, not ${show(name)}`);
  }
  if (worker !== undefined && typeof worker !== "function") {
    throw new TypeError(`opfsSwap worker must be a function that starts one, not ${show(worker)}`);
  }
  const slots = pagesOf(parseSize(options.size, "opfsSwap size"));
  // Where files can be had that are read and written on the spot: in web workers.
  const here = worker === undefined && "FileSystemSyncAccessHandle" in globalThis;
  return here ? direct(slots, name) : remote(slots, name, worker);
}

/** What both kinds have around the calls that move pages. */
function around<T extends { cut(end: number): void | Promise<void>; close(): Promise<void> }>(
  slots: number,
  open: () => Promise<T>,
): { base: Required<Omit<SwapDeviceBase, "trim" | "memoryBytes">>; file: () => T } {
  let file: T | undefined;
  const base: Required<Omit<SwapDeviceBase, "trim" | "memoryBytes">> = {
    name: "opfs",
    slots,
    async open() {
      try {
        file = await open();
      } catch (error) {
        throw failureOf("open", error, "the OPFS swap file cannot be opened");
      }
    },
    discard: (_, end) => file?.cut(end),
    async close() {
      const open = file;
      file = undefined;
      await open?.close();
    },
  };
  return { base, file: () => file as T };
}

function direct(slots: number, name: string | undefined): SyncSwapDevice {
  const { base, file } = around(slots, () => OpfsFile.open(name));
  return {
    ...base,
    readSync: (runs) => file().read(runs),
    writeSync: (runs) => file().write(runs),
  };
}

function remote(
  slots: number,
  name: string | undefined,
  worker: (() => OpfsWorker) | undefined,
): AsyncSwapDevice {
  const { base, file } = around(slots, () => OpfsRemote.open(worker, name));
  return {
    ...base,
    queueDepth: QUEUE_DEPTH,
    read: (runs) => file().read(runs),
    write: (runs) => file().write(runs),
  };
}
