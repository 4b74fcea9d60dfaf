/*
 * Memory given back to the host: what the swap device holds and does not need, frames and slots of RAM swap that are
 * free. It is work in attempts (ttm/work.ts), and never done on the way of an allocation.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { FrameWalk, moveMemory, releaseSlots } from "../engine/trim.ts";
import { messageOf } from "../errors.ts";
import { after, ignoreOutcome } from "../host.ts";
import { formatSize } from "../size.ts";
import type { TtmGlobal } from "../ttm/global.ts";
import { AsyncTask, type Task } from "../ttm/task.ts";
import { border, Pending, throwFailure, type Work } from "../ttm/work.ts";
import { type InPlace, inPlace } from "./in_place.ts";
import { LeftMemory } from "./left.ts";
import type { Declined, TrimMeans, Trimmed, TrimRequest } from "./options.ts";

/** A move that nothing is said about has to give back so much (bytes). */
const MOVE_WORTH = 2 ** 20;
/** How often a move waits for those that have pages on their way, as others may come meanwhile, and how long at most. */
const WAITS_MAX = 4;
const WAIT_MS = 100;

/** One trim of a memory. */
export class TrimWork implements Work {
  readonly #global: TtmGlobal;
  readonly #task: Task;
  readonly #request: TrimRequest;
  readonly #declined: Declined[] = [];
  /** What is left to do, in this order. */
  readonly #steps: (() => Pending | undefined)[];
  #bytes = 0;
  #swapBytes = 0;
  #means: TrimMeans | undefined;
  #by: string | undefined;
  #waits = 0;

  constructor(global: TtmGlobal, task: Task, request: TrimRequest) {
    this.#global = global;
    this.#task = task;
    this.#request = request;
    this.#steps = [() => this.#trimSwap(), ...request.means.map((means) => this.#stepOf(means))];
  }

  /** What it came to. */
  get trimmed(): Trimmed {
    const [bytes, swapBytes] = [this.#bytes + this.#swapBytes, this.#swapBytes];
    return { bytes, swapBytes, means: this.#means, by: this.#by, declined: this.#declined };
  }

  attempt(): Pending | undefined {
    for (let step = this.#steps[0]; step; step = this.#steps[0]) {
      const waits = step();
      if (waits) return waits;
      this.#steps.shift();
      if (this.#means) this.#steps.length = 0;
    }
    return undefined;
  }

  /** Memory of the swap device's own. */
  #trimSwap(): Pending | undefined {
    const { store } = this.#global;
    const count = (bytes: unknown) => {
      if (Number.isFinite(bytes) && (bytes as number) > 0) this.#swapBytes += bytes as number;
    };
    const failed = (error: unknown) => this.#decline("swap", messageOf(error));
    this.#steps[0] = () => undefined;
    try {
      const trimmed = store.trim?.();
      if (typeof trimmed !== "object") count(trimmed);
      else if (this.#waiting) return new Pending(Promise.resolve(trimmed).then(count, failed));
      else ignoreOutcome(trimmed);
    } catch (error) {
      failed(error);
    }
    return undefined;
  }

  #stepOf(means: TrimMeans): () => Pending | undefined {
    if (means === "move") return () => this.#move();
    let walk: { readonly frames: FrameWalk; readonly how: InPlace } | undefined;
    return () => {
      const why = this.#nested ? "an operation is under way" : undefined;
      const how = walk?.how ?? why ?? inPlace(means);
      if (typeof how === "string") return this.#decline(means, how);
      const { engine } = this.#global;
      walk ??= { how, frames: new FrameWalk(engine, how.release, how.unit) };
      const { frames } = walk;
      while (frames.step()) {
        const stop = border(this.#task);
        if (stop instanceof Pending) return stop;
        throwFailure(stop);
      }
      this.#bytes += frames.pages * PAGE_SIZE;
      if (frames.refused) return this.#decline(means, `${how.by} was refused`);
      const { ram } = engine.geometry;
      if (ram) this.#bytes += releaseSlots(engine, how.release, how.unit);
      this.#used(means, how.by);
      return undefined;
    };
  }

  /** To another memory, if that can be done and is worth it. */
  #move(): Pending | undefined {
    const { engine, tasks } = this.#global;
    if (this.#nested || engine.movingPages > 0) {
      if (this.#waiting && this.#waits++ < WAITS_MAX) {
        // Two moves would wait for each other.
        const others = [...tasks].filter(({ op }) => op !== "trim");
        const late = new Promise<void>((resolve) => after(WAIT_MS, resolve));
        return new Pending(Promise.race([late, Promise.all(others.map(({ settled }) => settled))]));
      }
      return this.#decline("move", "pages are on their way to swap, or from there");
    }
    const why = this.#whyNotMove();
    if (why !== undefined) return this.#decline("move", why);
    let left: LeftMemory;
    try {
      const { bytes, buffer } = moveMemory(engine);
      this.#bytes += bytes;
      left = new LeftMemory(buffer);
    } catch (error) {
      return this.#decline("move", messageOf(error));
    }
    this.#used("move", "move");
    return this.#letGo(left);
  }

  #letGo(left: LeftMemory): Pending | undefined {
    const { collect } = this.#request;
    this.#steps[0] = () => undefined;
    if (collect) collect();
    else {
      const gone = left.letGo();
      if (this.#waiting) return new Pending(gone);
    }
    return undefined;
  }

  #whyNotMove(): string | undefined {
    const { engine, frames, heldPages } = this.#global;
    const { budget } = this.#request;
    const { ram } = engine.geometry;
    if (frames.stuck > 0) return `${formatSize(frames.stuck * PAGE_SIZE)} are pinned or mapped`;
    const bytes = (engine.residentFrames - heldPages + (ram ? engine.backedFree : 0)) * PAGE_SIZE;
    const copied = (heldPages + (ram ? engine.usedSlots : 0)) * PAGE_SIZE;
    if (bytes <= 0) return "there is nothing to give back";
    const sizes = `${formatSize(copied)} would be there twice, to give ${formatSize(bytes)} back`;
    if (budget === undefined && bytes < Math.max(copied, MOVE_WORTH)) return sizes;
    return budget !== undefined && copied > budget ? `${sizes}: more than the budget` : undefined;
  }

  #used(means: TrimMeans, by: string): void {
    this.#means = means;
    this.#by = by;
  }

  #decline(means: Declined["means"], why: string): undefined {
    this.#declined.push({ means, why });
    return undefined;
  }

  /** Whether somebody is there to wait for what takes time. */
  get #waiting(): boolean {
    return this.#task instanceof AsyncTask;
  }

  /** Whether it was called from within an operation: by a swap device, or a trace. */
  get #nested(): boolean {
    return this.#global.busy > (this.#waiting ? 0 : 1);
  }
}
