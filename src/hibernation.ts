import { PAGE_SIZE } from "../assembly/abi.ts";
import { TtmError } from "./errors.ts";
import type { Signal } from "./host_types.ts";
import type { Reclaim } from "./reclaim.ts";
import type { TtmGlobal } from "./ttm/global.ts";
import type { Window } from "./window.ts";

/** Windows that a resume brings back at the same time, on a store that takes time. */
const RESUMES_MAX = 32;

/** A stretch of a window (bytes). */
interface Range {
  readonly offset: number;
  readonly length: number;
}

/** The same bytes in as few stretches as there can be: else each hibernation would add some. */
function union(ranges: readonly Range[]): Range[] {
  const united: Range[] = [];
  for (const range of [...ranges].sort((a, b) => a.offset - b.offset)) {
    const last = united[united.length - 1];
    if (!last || last.offset + last.length < range.offset) united.push(range);
    else {
      const end = Math.max(last.offset + last.length, range.offset + range.length);
      united[united.length - 1] = { offset: last.offset, length: end - last.offset };
    }
  }
  return united;
}

/** Windows of buffers that hibernation moved out, of all devices on a memory, and that have not come back. */
export class Hibernation {
  readonly #global: TtmGlobal;
  readonly #reclaimer: Reclaim;
  /** What of each was in memory. */
  readonly #hibernated = new Map<Window, readonly Range[]>();

  constructor(global: TtmGlobal, reclaimer: Reclaim) {
    this.#global = global;
    this.#reclaimer = reclaimer;
  }

  /** Returns what is to be called when pages have left, however that ended: it notes whose they were. */
  begin(): () => void {
    const windows = this.#reclaimer.resident() as Window[];
    const resident = windows.map((window) => [window, this.#residentOf(window)] as const);
    return () => {
      for (const [window, ranges] of resident) {
        if (!window.inSwap) continue;
        // What an earlier one moved out, and has not come back, comes back as well.
        this.#hibernated.set(window, union([...(this.#hibernated.get(window) ?? []), ...ranges]));
      }
    };
  }

  /** The stretches of a window that are in memory (bytes). */
  #residentOf({ tt, start, size }: Window): Range[] {
    if (tt.populated) return [{ offset: start, length: size }];
    const { engine } = this.#global;
    const { vector, numPages } = tt;
    const ranges: Range[] = [];
    for (let from = engine.firstPage(vector, 0, numPages); from < numPages; ) {
      const to = engine.firstMissing(vector, from, numPages);
      const offset = from * PAGE_SIZE;
      ranges.push({ offset: start + offset, length: Math.min(to * PAGE_SIZE, size) - offset });
      from = engine.firstPage(vector, to, numPages);
    }
    return ranges;
  }

  /** They are destroyed. */
  forget(windows: readonly Window[]): void {
    for (const window of windows) this.#hibernated.delete(window);
  }

  /** Brings them back. `assertOpen` throws when the device is closed on which that was asked for. */
  async resume(signal: Signal | undefined, assertOpen: () => void): Promise<void> {
    const { store } = this.#global;
    const width = store.sync ? 1 : Math.min(store.width, RESUMES_MAX);
    const rest = this.#hibernated.entries();
    let failed = false;
    const resumeSome = async () => {
      for (let next = rest.next(); !next.done && !failed; next = rest.next()) {
        const [window, ranges] = next.value;
        try {
          for (const range of ranges) if (window.inSwap) await window.populate(range, signal);
        } catch (error) {
          const failure = failureAt(window, error, assertOpen);
          failed ||= failure !== undefined;
          if (failure !== undefined) throw failure;
        }
        this.#hibernated.delete(window);
      }
    };
    const all = await Promise.allSettled(Array.from({ length: width }, resumeSome));
    for (const each of all) if (each.status === "rejected") throw each.reason;
  }

  resumeSync(signal: Signal | undefined, assertOpen: () => void): void {
    for (const [window, ranges] of this.#hibernated) {
      try {
        for (const range of ranges) if (window.inSwap) window.populateSync(range, signal);
      } catch (error) {
        const failure = failureAt(window, error, assertOpen);
        if (failure !== undefined) throw failure;
      }
      this.#hibernated.delete(window);
    }
  }
}

/** What kept a window from coming back. What somebody else did is no failure: destroyed it, or closed its device. */
function failureAt(window: Window, error: unknown, assertOpen: () => void): unknown {
  if (!window.gone) return error;
  try {
    assertOpen();
    return undefined;
  } catch (closed) {
    // That it was destroyed is nothing that the caller did, nor asked about.
    return error instanceof TtmError ? error : closed;
  }
}
