import type { BufferObject } from "./buffer_object.ts";
import type { Signal } from "./host_types.ts";
import type { Reclaim } from "./reclaim.ts";
import type { TtmGlobal } from "./ttm/global.ts";

/** Buffers that a resume brings back at the same time, on a store that takes time. */
const RESUMES_MAX = 32;

/** Buffers that hibernation moved out, of all devices on a memory, and that have not come back. */
export class Hibernation {
  readonly #global: TtmGlobal;
  readonly #reclaimer: Reclaim;
  readonly #hibernated = new Set<BufferObject>();

  constructor(global: TtmGlobal, reclaimer: Reclaim) {
    this.#global = global;
    this.#reclaimer = reclaimer;
  }

  /** Returns what is to be called when pages have left, however that ended: it notes whose they were. */
  begin(): () => void {
    const resident = this.#reclaimer.resident() as BufferObject[];
    return () => {
      for (const bo of resident) if (bo.inSwap) this.#hibernated.add(bo);
    };
  }

  /** It is destroyed. */
  forget(bo: BufferObject): void {
    this.#hibernated.delete(bo);
  }

  /** Brings them back. `closed`: whether the device is closed on which that was asked for. */
  async resume(signal: Signal | undefined, closed: () => boolean): Promise<void> {
    const { store } = this.#global;
    const width = store.sync ? 1 : Math.min(store.width, RESUMES_MAX);
    const rest = this.#hibernated.values();
    let failed = false;
    const resumeSome = async () => {
      for (let next = rest.next(); !next.done && !failed; next = rest.next()) {
        const bo = next.value;
        try {
          if (bo.inSwap) await bo.populate({ signal });
        } catch (error) {
          failed = closed() || !bo.gone;
          if (failed) throw error;
        }
        this.#hibernated.delete(bo);
      }
    };
    const all = await Promise.allSettled(Array.from({ length: width }, resumeSome));
    for (const each of all) if (each.status === "rejected") throw each.reason;
  }

  resumeSync(signal: Signal | undefined, closed: () => boolean): void {
    for (const bo of this.#hibernated) {
      try {
        if (bo.inSwap) bo.populateSync({ signal });
      } catch (error) {
        // What somebody else did meanwhile is no failure: destroyed it, or closed its device.
        if (closed() || !bo.gone) throw error;
      }
      this.#hibernated.delete(bo);
    }
  }
}
