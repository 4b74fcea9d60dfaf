/*
 * The file of `opfsSwap`, in the worker that reads and writes it. Errors are plain ones with a code: the worker
 * of a page has nothing else of the library, and sends them as they are.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { View } from "../host_types.ts";
import { coded } from "./coded.ts";
import type { ShortWrite, SwapRun } from "./types.ts";
import { bytesOf, gather, scatter } from "./views.ts";

/* As much of the Origin Private File System as is used here: not every compiler knows it. */

interface SyncAccessHandle {
  read(target: View, options: { at: number }): number;
  write(source: View, options: { at: number }): number;
  truncate(size: number): void;
  close(): void;
}

interface FileHandle {
  createSyncAccessHandle(): Promise<SyncAccessHandle>;
}

interface DirectoryHandle {
  getDirectoryHandle(name: string, options: { create: boolean }): Promise<DirectoryHandle>;
  getFileHandle(name: string, options: { create: boolean }): Promise<FileHandle>;
  removeEntry(name: string): Promise<void>;
  keys(): AsyncIterable<string>;
}

interface Host {
  readonly navigator?: { readonly storage?: { getDirectory?(): Promise<DirectoryHandle> } };
  readonly crypto?: { randomUUID?(): string };
}

/** Folder of the origin's that has the swap files and nothing else. */
const FOLDER = "ttm-wasm-swap";

/** How often a file is made that another tab clears away before it is locked. */
const TRIES_MAX = 8;

/** The next write takes this; one for all, since calls end before they return. */
let staging: View = new Uint8Array(0);

function stagingOf(bytes: number): View {
  if (staging.length < bytes) staging = new Uint8Array(bytes);
  return staging.subarray(0, bytes);
}

/** A swap file that is open, and locked by that: no other tab or worker can open, or remove, it. */
export class OpfsFile {
  readonly #folder: DirectoryHandle;
  readonly #name: string;
  readonly #handle: SyncAccessHandle;
  /** Where the file ends (bytes). */
  #size = 0;

  private constructor(folder: DirectoryHandle, name: string, handle: SyncAccessHandle) {
    this.#folder = folder;
    this.#name = name;
    this.#handle = handle;
    // What a named file still holds belonged to a tab that was killed.
    handle.truncate(0);
  }

  /** Opens the file of a name, or one of its own, after clearing away what killed tabs have left. */
  static async open(name: string | undefined): Promise<OpfsFile> {
    const { navigator, crypto } = globalThis as Host;
    if (navigator?.storage?.getDirectory === undefined || crypto?.randomUUID === undefined) {
      const text = "opfsSwap needs a host with an Origin Private File System, and a secure context";
      throw coded("ENOSYS", `${text}: https, or localhost`);
    }
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(FOLDER, { create: true });
    await sweep(folder);
    for (let tries = 1; ; tries++) {
      const own = name ?? crypto.randomUUID();
      try {
        const file = await folder.getFileHandle(own, { create: true });
        return new OpfsFile(folder, own, await file.createSyncAccessHandle());
      } catch (error) {
        const kind = (error as { name?: unknown } | null)?.name;
        const busy = kind === "NoModificationAllowedError";
        // Another tab's sweep may have it for a moment, or may have removed it before it was locked.
        if (tries < TRIES_MAX && (busy || kind === "NotFoundError")) continue;
        if (!busy) throw error;
        throw coded("EBUSY", `opfsSwap file ${own} is in use by another tab or worker`, error);
      }
    }
  }

  write(runs: readonly SwapRun[]): void | ShortWrite {
    let pages = 0;
    for (const { slot, views } of runs) {
      // A call costs as much as copying 100 KiB and more.
      const gathered = views.length > 1;
      const bytes = gathered ? stagingOf(bytesOf(views)) : (views[0] as View);
      if (gathered) gather(views, bytes);
      const from = (slot - 1) * PAGE_SIZE;
      let done = 0;
      try {
        while (done < bytes.length) {
          const n = this.#handle.write(done === 0 ? bytes : bytes.subarray(done), {
            at: from + done,
          });
          if (n === 0) throw coded("EIO", "the OPFS swap file took no more bytes");
          done += n;
          this.#size = Math.max(this.#size, from + done);
        }
      } catch (error) {
        pages += Math.floor(done / PAGE_SIZE);
        if (pages === 0) throw error;
        return { pages, error };
      }
      pages += bytes.length / PAGE_SIZE;
    }
  }

  read(runs: readonly SwapRun[]): void {
    for (const { slot, views } of runs) {
      const gathered = views.length > 1;
      const bytes = gathered ? stagingOf(bytesOf(views)) : (views[0] as View);
      const from = (slot - 1) * PAGE_SIZE;
      for (let done = 0; done < bytes.length; ) {
        const n = this.#handle.read(done === 0 ? bytes : bytes.subarray(done), { at: from + done });
        if (n === 0)
          throw coded("EIO", "the OPFS swap file is shorter than what was written to it");
        done += n;
      }
      if (gathered) scatter(bytes, views);
    }
  }

  /** Gives back what is behind slot `end`; there are no holes in such a file. */
  cut(end: number): void {
    const size = end * PAGE_SIZE;
    if (size >= this.#size) return;
    this.#handle.truncate(size);
    this.#size = size;
  }

  async close(): Promise<void> {
    this.#handle.close();
    // Another tab's sweep may have been quicker.
    await this.#folder.removeEntry(this.#name).catch(() => {});
  }
}

/** Removes the files that nobody has open. One that is open is locked, so to try is to ask. */
async function sweep(folder: DirectoryHandle): Promise<void> {
  const names: string[] = [];
  for await (const name of folder.keys()) names.push(name);
  await Promise.allSettled(names.map((name) => folder.removeEntry(name)));
}
