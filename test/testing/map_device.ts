/* A good device, of which each test of broken.test.ts breaks something. */
import { type AsyncSwapDevice, PAGE_SIZE, type SwapRun } from "../../src/index.ts";
import { turn } from "../support/delays.ts";

/** Keeps each page under its slot. */
export class MapDevice implements AsyncSwapDevice {
  readonly name: string = "map";
  readonly slots: number;
  readonly queueDepth: number = 8;
  pages: Map<number, Uint8Array> = new Map();
  room: number = Number.POSITIVE_INFINITY;
  damaged: Set<number> = new Set();

  constructor(slots: number) {
    this.slots = slots;
  }

  open(): void {}

  async read(runs: readonly SwapRun[], _signal?: AbortSignal): Promise<void> {
    await turn();
    for (const [slot, view] of pagesOf(runs)) this.get(slot, view);
  }

  async write(
    runs: readonly SwapRun[],
    _signal?: AbortSignal,
  ): Promise<void | { pages: number; error: unknown }> {
    await turn();
    let pages = 0;
    for (const [slot, view] of pagesOf(runs)) {
      if (!this.pages.has(slot) && this.pages.size >= this.room) {
        const error = Object.assign(new Error("no more room"), { code: "ENOSPC" });
        return this.short(pages, error);
      }
      this.set(slot, view);
      pages++;
    }
  }

  short(pages: number, error: Error): { pages: number; error: unknown } {
    return { pages, error };
  }

  get(slot: number, view: Uint8Array): void {
    if (this.damaged.has(slot)) throw new Error("a bad block");
    view.set(this.pages.get(slot) as Uint8Array);
  }

  set(slot: number, view: Uint8Array): void {
    this.pages.set(slot, view.slice());
  }

  discard(ranges: readonly { slot: number; pages: number }[], _end: number): void | Promise<void> {
    for (const { slot, pages } of ranges) {
      for (let at = slot; at < slot + pages; at++) this.pages.delete(at);
    }
  }

  /** Another one on the same store. */
  second(): MapDevice {
    return new MapDevice(this.slots);
  }

  close(): void | Promise<void> {
    this.pages.clear();
  }
}

/** Slots and views of each page. */
export function pagesOf(runs: readonly SwapRun[]): [number, Uint8Array<ArrayBuffer>][] {
  return runs.flatMap(({ slot, views }) => {
    const pages = views.flatMap((view) =>
      Array.from({ length: view.length / PAGE_SIZE }, (_, i) =>
        view.subarray(i * PAGE_SIZE, (i + 1) * PAGE_SIZE),
      ),
    );
    return pages.map((page, i): [number, Uint8Array<ArrayBuffer>] => [slot + i, page]);
  });
}

/** Copies of what a call writes, made when it is made. */
export function copied(runs: readonly SwapRun[]): [number, Uint8Array<ArrayBuffer>][] {
  return pagesOf(runs).map(([slot, view]) => [slot, view.slice()]);
}
