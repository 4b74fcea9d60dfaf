/*
 * A swap device that takes its time, ends calls in any order, and fails as it is told: in every way that a device may
 * fail by the contract, and in some in which it may not. It also watches over the rules that the pool has to keep.
 */
import { Buffer } from "node:buffer";
import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { SlotRange, SwapRun } from "../../src/swap/types.ts";
import type { Random } from "../../src/testing/random.ts";
import { PoolWatch } from "../../src/testing/watch.ts";
import type { Clock } from "./clock.ts";
import { FAULTS, type Fault, type FaultKind } from "./faults.ts";

/** How a device is made. */
export interface SwapSetup {
  readonly slots: number;
  readonly pairs: "sync" | "async" | "both";
  readonly queueDepth: number;
  /** Longest time that a call takes (milliseconds). */
  readonly latency: number;
  /** Per cent of the calls that take any time, and of the Sync calls of a device with both pairs that would. */
  readonly slow: number;
  readonly discards: boolean;
  readonly checksums: boolean;
}

/** A call on its way. */
export interface Call {
  readonly kind: "read" | "write";
  readonly runs: readonly SwapRun[];
  readonly slots: readonly number[];
  readonly fault: Fault | undefined;
}

type Short = { readonly pages: number; readonly error: unknown };

/** Faults that were armed, and wait for their call. */
interface Armed {
  readonly fault: Fault;
  /** Calls that go before it, and calls that it happens to. */
  skip: number;
  times: number;
}

const EMPTY = 0;
const HOLDS = 1;
const SPOILT = 2;

export class SimSwap {
  readonly name = "simulated";
  readonly slots: number;
  readonly queueDepth: number | undefined;
  /** Pages that it has room for. */
  capacity: number;
  /** Calls of each kind, and pages that they moved (counts). */
  calls = 0;
  pagesMoved = 0;
  /** Whether the pool is closed by force. */
  forced = false;
  readonly opened = { opens: 0, closes: 0 };
  /** Faults that happened, by kind. */
  readonly happened: Partial<Record<FaultKind, number>> = {};
  /** Every error that it gave, by code (a count). */
  readonly given: Map<string, number> = new Map();
  readonly #random: Random;
  readonly #clock: Clock;
  readonly #setup: SwapSetup;
  readonly #watch: PoolWatch;
  readonly #bytes: Uint8Array;
  /** What each slot held before. */
  readonly #before = new Map<number, Uint8Array>();
  readonly #state: Uint8Array;
  /** Slots that hold other than what was written. */
  readonly #damaged = new Set<number>();
  #held = 0;
  readonly #armed: Armed[] = [];
  readonly #heeding = new WeakMap<AbortSignal, (() => void)[]>();
  /** Calls that do not answer until they are told to. */
  readonly #silent: (() => void)[] = [];

  constructor(setup: SwapSetup, clock: Clock, random: Random) {
    this.#setup = setup;
    this.#clock = clock;
    this.#random = random;
    this.slots = setup.slots;
    this.capacity = setup.slots;
    this.queueDepth = setup.pairs === "sync" ? undefined : setup.queueDepth;
    this.#watch = new PoolWatch(setup.slots, setup.queueDepth);
    this.#bytes = new Uint8Array(setup.slots * PAGE_SIZE);
    this.#state = new Uint8Array(setup.slots + 1);
    const self = this as unknown as Record<string, unknown>;
    if (setup.pairs === "async")
      for (const name of ["readSync", "writeSync"]) self[name] = undefined;
    if (setup.pairs === "sync") for (const name of ["read", "write"]) self[name] = undefined;
    if (!setup.discards) self.discard = undefined;
  }

  /** The first rule that the pool broke. */
  get broken(): string | undefined {
    return this.#watch.broken;
  }

  /** Slots whose content is not what was written. */
  get damaged(): number {
    return this.#damaged.size;
  }

  /** Calls that do not answer. */
  get silent(): number {
    return this.#silent.length;
  }

  arm(fault: Fault, skip: number, times: number): void {
    this.#armed.push({ fault, skip, times });
  }

  /** What is armed happens no more. */
  disarm(): void {
    this.#armed.length = 0;
    this.capacity = this.slots;
  }

  /** Calls that did not answer do, as if nothing had been. */
  answer(): void {
    for (const go of this.#silent.splice(0)) go();
  }

  /** Counts a fault that happened. */
  note(kind: FaultKind): void {
    this.happened[kind] = (this.happened[kind] ?? 0) + 1;
  }

  open(): void {
    this.#watch.opened();
    this.opened.opens++;
  }

  close(): void {
    this.opened.closes++;
    // A forced close does not wait for ever for what does not answer.
    if (!this.forced) this.#watch.closed();
  }

  readSync(runs: readonly SwapRun[]): void {
    this.#now("read", runs);
  }

  writeSync(runs: readonly SwapRun[]): void | Short {
    return this.#now("write", runs);
  }

  read(runs: readonly SwapRun[], signal?: AbortSignal): Promise<void> {
    return this.#later("read", runs, signal) as Promise<void>;
  }

  write(runs: readonly SwapRun[], signal?: AbortSignal): Promise<void | Short> {
    return this.#later("write", runs, signal);
  }

  discard(ranges: readonly SlotRange[], end: number): void | Promise<void> {
    const slots = this.#watch.discarded(ranges, end, this.#holding());
    const done = this.#watch.begin(slots, "discard", true);
    const forget = () => {
      done();
      for (const slot of slots) {
        this.#state[slot] = EMPTY;
        this.#held--;
        this.#damaged.delete(slot);
        this.#before.delete(slot);
      }
    };
    if (this.#setup.pairs === "sync" || !this.#random.percent(this.#setup.slow)) return forget();
    return new Promise((resolve) => {
      this.#clock.after(this.#random.fraction() * this.#setup.latency, () => {
        forget();
        resolve();
      });
    });
  }

  /** A bit of some page that it holds turns over. Says whether there was one. */
  flip(): boolean {
    const slot = this.#anySlot();
    if (slot === undefined) return false;
    const at = (slot - 1) * PAGE_SIZE + this.#random.below(PAGE_SIZE);
    this.#bytes[at] = (this.#bytes[at] as number) ^ (1 << this.#random.below(8));
    this.#damaged.add(slot);
    return true;
  }

  /** Some slot has again what it had before. */
  stale(): boolean {
    const slot = this.#anySlot();
    const before = slot === undefined ? undefined : this.#before.get(slot);
    if (slot === undefined || !before) return false;
    const page = this.#page(slot);
    if (before.every((byte, i) => byte === page[i])) return false;
    page.set(before);
    this.#damaged.add(slot);
    return true;
  }

  #anySlot(): number | undefined {
    for (let tries = 0; tries < 20; tries++) {
      const slot = 1 + this.#random.below(this.slots);
      if (this.#state[slot] === HOLDS && !this.#damaged.has(slot)) return slot;
    }
    return undefined;
  }

  *#holding(): Generator<number, void> {
    for (let slot = 1; slot <= this.slots; slot++) if (this.#state[slot] !== EMPTY) yield slot;
  }

  #begin(kind: Call["kind"], runs: readonly SwapRun[], sync: boolean): [Call, () => void] {
    const reads = kind === "read";
    const slots = this.#watch.slotsOf(
      runs,
      reads ? (slot) => this.#state[slot] === HOLDS : undefined,
    );
    const done = this.#watch.begin(slots, kind, sync);
    this.calls++;
    return [{ kind, runs, slots, fault: this.#due(kind) }, done];
  }

  /** The fault that happens to the next call of a kind, if one does. */
  #due(kind: Call["kind"]): Fault | undefined {
    let due: Fault | undefined;
    for (const armed of this.#armed) {
      if (due || (armed.fault.on && armed.fault.on !== kind)) continue;
      if (armed.skip > 0) armed.skip--;
      else if (armed.times > 0) {
        armed.times--;
        due = armed.fault;
      }
    }
    if (due) {
      const over = this.#armed.findIndex(({ times }) => times === 0);
      if (over >= 0) this.#armed.splice(over, 1);
    }
    return due;
  }

  #now(kind: Call["kind"], runs: readonly SwapRun[]): void | Short {
    const [call, done] = this.#begin(kind, runs, true);
    try {
      const { pairs, slow } = this.#setup;
      if (pairs === "both" && this.#random.percent(slow)) {
        throw Object.assign(new Error("it would have to wait"), { code: "EWOULDBLOCK" });
      }
      return this.#do(call);
    } finally {
      done();
    }
  }

  #later(
    kind: Call["kind"],
    runs: readonly SwapRun[],
    signal: AbortSignal | undefined,
  ): Promise<void | Short> {
    const [call, done] = this.#begin(kind, runs, false);
    const { fault } = call;
    const { slow, latency } = this.#setup;
    const heeds = fault?.kind === "heeds";
    return new Promise((resolve, reject) => {
      let over = false;
      const end = () => {
        if (over) return;
        over = true;
        done();
        try {
          if (heeds && signal?.aborted) throw signal.reason;
          resolve(this.#do(call));
        } catch (error) {
          reject(error);
        }
        if (fault?.kind === "twice") {
          this.note("twice");
          resolve({ pages: 0, error: new Error("a second answer") });
          reject(new Error("a third answer"));
        }
      };
      if (heeds && signal) this.#heed(signal, end);
      if (fault?.kind === "silent") {
        this.note("silent");
        this.#silent.push(end);
        return;
      }
      const wait = this.#random.percent(slow) ? this.#random.fraction() * latency : -1;
      if (fault?.kind === "late") this.note("late");
      if (fault?.kind === "late") this.#clock.after(1000 + wait, end);
      else if (wait < 0 && this.#random.chance(0.5)) end();
      else if (wait < 0) void Promise.resolve().then(end);
      else this.#clock.after(wait, end);
    });
  }

  /** Has a call end when its signal is aborted: one listener for all calls of an operation, as hosts warn of many. */
  #heed(signal: AbortSignal, end: () => void): void {
    const ends = this.#heeding.get(signal) ?? [];
    ends.push(end);
    if (ends.length > 1) return;
    this.#heeding.set(signal, ends);
    signal.addEventListener("abort", () => {
      for (const each of ends) each();
    });
  }

  #do(call: Call): void | Short {
    const { kind, runs, slots, fault } = call;
    const pages = pagesOf(runs);
    const outcome = fault && FAULTS[fault.kind].outcome?.(slots.length, this.#random);
    if (outcome) this.note(fault.kind);
    const short = kind === "write" ? this.#store(pages, slots, outcome) : undefined;
    if (kind === "read") this.#fill(pages, slots, outcome);
    return short;
  }

  #fill(pages: Uint8Array[], slots: readonly number[], outcome: Outcome | undefined): void {
    const error = outcome?.error;
    pages.forEach((page, i) => {
      if (error !== undefined) page.fill(this.#random.below(256));
      else page.set(this.#page(slots[i] as number));
    });
    if (error !== undefined) throw this.#gave(error);
    this.pagesMoved += pages.length;
    if (!outcome?.flips || !this.#setup.checksums) return;
    const page = this.#random.pick(pages);
    const at = this.#random.below(PAGE_SIZE);
    page[at] = (page[at] as number) ^ (1 << this.#random.below(8));
    this.#gave({ code: "EIO" });
  }

  #store(
    pages: Uint8Array[],
    slots: readonly number[],
    outcome: Outcome | undefined,
  ): void | Short {
    const error = outcome?.error;
    const most = outcome?.take ?? (error === undefined ? pages.length : 0);
    const lost = this.#setup.checksums ? outcome?.loses : undefined;
    for (const [i, page] of pages.entries()) {
      const slot = slots[i] as number;
      const full = this.#state[slot] === EMPTY && this.#held >= this.capacity;
      if (i >= most || full) {
        const refused = this.#gave(i >= most ? (error ?? fullError()) : fullError());
        for (const left of slots.slice(i)) this.#spoil(left);
        this.pagesMoved += i;
        if (i > 0 || outcome?.take !== undefined) return { pages: i, error: refused };
        throw refused;
      }
      this.#put(slot, page, lost !== undefined && i >= lost);
    }
    this.pagesMoved += pages.length;
  }

  #put(slot: number, page: Uint8Array, lost: boolean): void {
    const state = this.#state[slot];
    if (state === EMPTY) this.#held++;
    const there = this.#page(slot);
    if (state === HOLDS && this.#setup.checksums) this.#before.set(slot, there.slice());
    this.#state[slot] = HOLDS;
    if (lost) {
      // It says that it stored it, and did not.
      if (Buffer.compare(page, there) === 0) this.#damaged.delete(slot);
      else this.#damaged.add(slot);
      return;
    }
    there.set(page);
    this.#damaged.delete(slot);
  }

  #spoil(slot: number): void {
    if (this.#state[slot] === EMPTY) return;
    this.#state[slot] = SPOILT;
    this.#damaged.delete(slot);
    this.#page(slot).fill(0xbd);
  }

  #page(slot: number): Uint8Array {
    return this.#bytes.subarray((slot - 1) * PAGE_SIZE, slot * PAGE_SIZE);
  }

  #gave(error: unknown): unknown {
    const code = String((error as { code?: unknown } | null)?.code ?? "EIO");
    this.given.set(code, (this.given.get(code) ?? 0) + 1);
    return error;
  }
}

/** What comes of a call that something happens to. */
export interface Outcome {
  readonly error?: unknown;
  /** Pages that are stored all the same. */
  readonly take?: number;
  /** A bit of what is read turns over on its way. */
  readonly flips?: boolean;
  /** The first page that is said to be stored, and is not. */
  readonly loses?: number;
}

function fullError(): Error {
  return Object.assign(new Error("no space left"), { code: "ENOSPC" });
}

function pagesOf(runs: readonly SwapRun[]): Uint8Array[] {
  const pages: Uint8Array[] = [];
  for (const { views } of runs) {
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) {
        pages.push(view.subarray(at, at + PAGE_SIZE));
      }
    }
  }
  return pages;
}
