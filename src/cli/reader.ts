import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { BufferObject } from "../buffer_object.ts";
import { TtmError } from "../errors.ts";
import type { Signal } from "../host_types.ts";
import type { Mapping } from "../mapping.ts";
import { Random } from "../random.ts";
import { pagesOf } from "../size.ts";
import { BATCH_PAGES, TRANSFER_PAGES_MAX } from "../ttm/transfer.ts";
import type { Objects } from "./objects.ts";
import { Retry } from "./retry.ts";

/** What reading came to so far. */
export interface ReadCounts {
  mismatches: number;
  /** Restores that were stopped by the signal. */
  interrupted: number;
  /** Retries of these that came to their end. */
  resumed: number;
}

/**
 * A signal that aborts the restore of `buffer` at the `look`-th look of the library (one before each
 * transfer) after its pages began to arrive; at once for 0. No clock: it is the same in every run.
 */
export function interruption(buffer: BufferObject, look: number): Signal {
  const before = buffer.residentPages;
  let looks = 0;
  return {
    get aborted() {
      if (buffer.residentPages > before) looks++;
      return looks >= look;
    },
  };
}

/** Reads objects, some of them in two goes, and verifies each. */
export class Reader {
  readonly counts: ReadCounts = { mismatches: 0, interrupted: 0, resumed: 0 };
  readonly #objects: Objects;
  readonly #share: number;
  readonly #ram: boolean;
  readonly #retry: Retry;
  readonly #random: Random;

  /** `share` of restores is interrupted, drawn from `seed`; `ram`: the device swaps to RAM. */
  constructor(
    objects: Objects,
    share: number,
    seed: number,
    ram: boolean,
    retry: Retry = new Retry(false),
  ) {
    this.#objects = objects;
    this.#share = share;
    this.#ram = ram;
    this.#retry = retry;
    this.#random = new Random(seed);
  }

  /** Reads and verifies one object. Returns the milliseconds until its content was there to read. */
  read(index: number): number {
    const buffer = this.#objects.at(index);
    const missing = pagesOf(buffer.size) - buffer.residentPages;
    const stop = missing > 0 && this.#random.fraction() < this.#share;
    const signal = stop ? interruption(buffer, this.#look(missing)) : undefined;
    const start = performance.now();
    const mapping = signal ? this.#interrupted(buffer, signal) : this.#map(buffer);
    const time = performance.now() - start;
    if (!this.#objects.intact(index, mapping)) this.counts.mismatches++;
    mapping.unmap();
    return time;
  }

  #interrupted(buffer: BufferObject, signal: Signal): Mapping {
    try {
      return this.#retry.run(() => buffer.mapSync({ signal, write: false }));
    } catch (error) {
      if (!(error instanceof TtmError) || error.code !== "EINTR") throw error;
    }
    this.counts.interrupted++;
    const mapping = this.#map(buffer);
    this.counts.resumed++;
    return mapping;
  }

  /** To read only, so that its pages can leave again without a transfer. */
  #map(buffer: BufferObject): Mapping {
    return this.#retry.run(() => buffer.mapSync({ write: false }));
  }

  /**
   * Inside the restore if it has more than one transfer, else before its first. RAM swap has no
   * transfers, but a place to stop between two batches.
   */
  #look(missing: number): number {
    if (this.#ram) return missing > BATCH_PAGES ? 1 : 0;
    return missing > TRANSFER_PAGES_MAX ? 2 : 1;
  }
}

/**
 * After an error: verifies all objects, the ones in memory first, and frees each one then, so that
 * what is in swap finds room even if both are full. Returns how many bytes were intact.
 */
export function salvage(objects: Objects): { intact: number; bytes: number; failed: number } {
  const order = Array.from(objects.buffers.keys());
  const share = (index: number) => {
    const { residentPages, size } = objects.at(index);
    return (residentPages * PAGE_SIZE) / size;
  };
  const shares = order.map(share);
  order.sort((a, b) => (shares[b] as number) - (shares[a] as number));
  const result = { intact: 0, bytes: 0, failed: 0 };
  for (const index of order) {
    const buffer = objects.at(index);
    if (readsBack(objects, index)) {
      result.intact++;
      result.bytes += buffer.size;
      buffer.destroy();
    } else {
      result.failed++;
    }
  }
  return result;
}

function readsBack(objects: Objects, index: number): boolean {
  try {
    const mapping = objects.at(index).mapSync({ write: false });
    const intact = objects.intact(index, mapping);
    mapping.unmap();
    return intact;
  } catch (error) {
    if (error instanceof TtmError) return false;
    throw error;
  }
}
