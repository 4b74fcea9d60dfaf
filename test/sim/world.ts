/* What a run consists of while it goes on: devices, buffers, what is under way, and what was seen. */

import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Device, DeviceOptions } from "../../src/index.ts";
import { Random } from "../../src/testing/random.ts";
import { Clock } from "./clock.ts";
import type { Entry } from "./content.ts";
import { FAULTS, type FaultKind } from "./faults.ts";
import { drained, type Library, reported, useClock } from "./library.ts";
import type { Op, Plan } from "./plan.ts";
import type { SimSignal } from "./signal.ts";
import type { Subject } from "./subject.ts";
import { SimSwap } from "./swap.ts";

/** What one operation is about. */
export interface Doing {
  readonly what: string;
  readonly subject?: Subject | undefined;
  /** The device that it is about, if it is about all of one. */
  readonly device?: Device;
  /** Bytes of the subject that it is about. */
  readonly range?: { readonly offset: number; readonly length: number };
  /** Frames that it has to have at the same time. */
  readonly need: number;
  /** Pages that it may let go of, or take: what else may change what others can have. */
  readonly sync: boolean;
  readonly start: (signal: SimSignal) => unknown;
  /** What the model makes of it, in its turn. */
  readonly ok?: (value: unknown) => void;
  readonly failed?: (error: unknown) => void;
  /** What is done when it has ended, whatever became of it, at once. */
  readonly ended?: (done: boolean, value: unknown) => void;
}

/** An operation from its call until its end. */
export interface Running {
  readonly op: Op;
  readonly index: number;
  readonly doing: Doing;
  readonly signal: SimSignal;
  readonly entry: Entry | undefined;
  /** Errors that the swap device had given by then, by code. */
  readonly given: ReadonlyMap<string, number>;
  /** Faults that the library had injected by then. */
  readonly injected: number;
  readonly damaged: boolean;
  /** Turns and timers that had been run by then, and the time. */
  readonly events: number;
  /** Somebody else was under way at some time. */
  crowded: boolean;
  /** Its buffer was pinned or mapped at some time, or was going to be. */
  pinned: boolean;
  /** Most pages that others held meanwhile. */
  held: number;
  /** Pages that buffers might have in memory when it began. */
  readonly limit: number;
  /** Slots that swap had then. */
  readonly slots: number;
  /** Most pages that buffers had meanwhile. */
  data: number;
  abortedAt: number | undefined;
}

/** A failure of the library's, as the simulation sees it. */
export class Failure extends Error {}

export interface Counts {
  ops: number;
  skipped: number;
  failed: number;
  events: number;
  /** Of the swap device, and pages that these moved. */
  calls: number;
  pages: number;
  faults: Record<string, number>;
  flips: number;
}

export class World {
  readonly plan: Plan;
  readonly built: Library;
  readonly clock: Clock;
  readonly random: Random;
  readonly swap: SimSwap | undefined;
  readonly devices: Device[];
  readonly subjects: Subject[] = [];
  readonly inFlight: Set<Running> = new Set();
  readonly counts: Counts = {
    ...{ ops: 0, skipped: 0, failed: 0, events: 0, calls: 0, pages: 0, flips: 0 },
    faults: {},
  };
  /** Pages of all buffers alive. */
  data = 0;
  /** Pages of buffers that were destroyed while somebody was at work: he may not have let go of them yet. */
  ghosts = 0;
  /** Pages that operations were about, and a share of the memory for each: what they may have cost depends on it. */
  asked = 0;
  closing = false;
  /** Signals that somebody still listened to when their operations ended. */
  readonly listened: { readonly what: string; readonly signal: SimSignal }[] = [];
  failure: unknown;
  /** Errors that operations ended with, by code (a count). */
  readonly codes: Record<string, number> = {};

  constructor(plan: Plan, library: Library) {
    this.plan = plan;
    this.built = library;
    // Apart from the plan's numbers: these depend on what is done.
    this.random = new Random(plan.seed ^ 0x5bd1e995);
    this.clock = new Clock(new Random(plan.seed ^ 0x1b873593), plan.tick);
    useClock(this.clock);
    reported.length = 0;
    const { swap, frames, slots } = plan;
    this.swap =
      swap === "ram"
        ? undefined
        : new SimSwap(swap, this.clock, new Random(plan.seed ^ 0x2545f491));
    const options: DeviceOptions = {
      ...plan.options,
      memory: frames * PAGE_SIZE,
      swap: (this.swap as never) ?? library.ramSwap({ size: slots * PAGE_SIZE }),
    };
    const device = library.createDeviceSync(options);
    this.devices = [device];
    if (plan.watches) device.trace = () => this.#watch();
    for (const pool of plan.siblings) this.devices.push(device.createSibling(pool));
  }

  /** Something happened, in the midst of whatever is under way: somebody looks at a buffer then. */
  #watch(): void {
    const { subjects, random } = this;
    if (!random.percent(20) || subjects.length === 0) return;
    const { bo, content, name, destroyed } = random.pick(subjects);
    if (destroyed || !content.quiet || !content.certain) return;
    const offset = random.below(bo.size);
    try {
      content.expect(offset, bo.readSync(offset, new Uint8Array(1)), `${name}, from a trace`);
    } catch (error) {
      if (error instanceof this.built.TtmError) return;
      this.fail(error);
    }
  }

  get device(): Device {
    return this.devices[0] as Device;
  }

  /** Whether swap holds, or held, other than what was written. */
  get damaged(): boolean {
    return (this.swap?.damaged ?? 0) > 0;
  }

  /** Pages that are held by pins and mappings, those under way included. */
  get held(): number {
    let pages = this.ghosts;
    for (const subject of this.subjects) if (subject.stays) pages += subject.pages;
    return pages;
  }

  /** An operation begins: reads ahead, and pages that leave together, are a share of the memory at most. */
  ask({ range, subject, device }: Doing): void {
    if (this.device.global.tasks.size === 0) this.ghosts = 0;
    const { frames } = this.plan;
    const pages = range ? Math.ceil(range.length / PAGE_SIZE) + 1 : (subject?.pages ?? 1);
    this.asked += (device ? frames : pages) + (frames >> 3) + 16;
  }

  /** Some buffer is held now, or there is a new one. */
  noteMore(): void {
    const { held } = this;
    for (const running of this.inFlight) {
      running.held = Math.max(running.held, held);
      running.pinned ||= running.doing.subject?.held === true;
      running.data = Math.max(running.data, this.data + this.ghosts);
    }
  }

  /** A buffer was destroyed. */
  forget(subject: Subject): void {
    this.data -= subject.pages;
    if (this.device.global.tasks.size > 0) this.ghosts += subject.pages;
    this.noteMore();
    subject.destroyed = true;
    subject.content.drop();
    this.subjects.splice(this.subjects.indexOf(subject), 1);
  }

  /** Most calls in a row that a kind of fault happens to. */
  timesOf(kind: FaultKind): number {
    return FAULTS[kind].times;
  }

  /** The first failure counts. */
  fail(error: unknown): void {
    this.failure ??= error;
  }

  /** @throws the first failure, if there was one */
  assertSound(): void {
    if (reported.length > 0) this.fail(reported[0]);
    if (this.swap?.broken !== undefined) this.fail(new Failure(this.swap.broken));
    if (this.failure !== undefined) throw this.failure;
  }

  /** Runs a turn or a timer, and what follows from it. Says whether there was one. */
  async step(): Promise<boolean> {
    let stepped = this.clock.step();
    await drained();
    // What was called just now may only have begun.
    if (!stepped) stepped = this.clock.pending > 0;
    this.assertSound();
    return stepped;
  }

  /** Lets all that is under way come to its end. */
  async settle(): Promise<void> {
    await drained();
    for (;;) {
      while (await this.step());
      if (this.inFlight.size > 0) await this.#wake();
      else if (this.swap && this.swap.silent > 0) this.swap.answer();
      else return;
    }
  }

  /**
   * Nothing is on its way anywhere, and somebody waits: for a device that does not answer. Either it does now, or who
   * waits gives up, and has to get away although it does not.
   */
  async #wake(): Promise<void> {
    for (const { abortedAt, doing, index } of this.inFlight) {
      if (abortedAt !== undefined) {
        throw new Failure(`operation ${index} (${doing.what}) was aborted, and does not end`);
      }
    }
    const silent = this.swap?.silent ?? 0;
    if (silent === 0) {
      const waiting = [...this.inFlight].map(({ index, doing }) => `${index} (${doing.what})`);
      throw new Failure(`nothing is on its way, and operations wait: ${waiting.join(", ")}`);
    }
    const [first] = this.inFlight;
    if (first && this.random.percent(40)) this.abort(first);
    else this.swap?.answer();
    await drained();
  }

  abort(running: Running): void {
    if (!this.inFlight.has(running)) return;
    running.abortedAt = this.clock.time;
    running.signal.abort();
  }

  /** Waits until fewer than `most` operations are under way. */
  async atMost(most: number): Promise<void> {
    while (this.inFlight.size > most) {
      if (!(await this.step()) && this.inFlight.size > most) await this.#wake();
    }
  }
}
