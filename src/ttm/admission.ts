/*
 * Admission: which async operations may be at work together, so that none of them fails or starves because of
 * the others. Each says what it will hold at most, and is let in, in order, when that fits beside what those
 * hold that are inside. What is inside can be served: what it lacks is held by nobody but those who can give it
 * up. An operation that finds too little all the same, because it could not know (of a zone, of slots, of sync
 * calls in between), is let in again when nobody else is: what it fails with then is its own.
 */
import { TtmError } from "../errors.ts";
import { type Waiter, WaitQueue } from "../wait_queue.ts";
import type { AsyncTask } from "./task.ts";
import { yieldTurn } from "./turns.ts";

/** What an operation needs, in pages. */
export interface Need {
  /** Frames that it will hold at most, those it has already included. */
  readonly frames: number;
  /** Of these, what it does not have yet: as many others may have to leave, to slots. */
  readonly lacking: number;
}

/** Nothing of its own: for those that only give pages up. */
export const NEED_NONE: Need = { frames: 0, lacking: 0 };
export const NEED_NOTHING = (): Need => NEED_NONE;

/** What there is, in pages, as it changes. */
interface Supply {
  /** Frames in all, less those that cannot be taken from whoever holds them. */
  readonly frames: number;
  /** Frames that are free, or that those inside have got of what they lacked, and slots that pages could leave to. */
  readonly exchange: number;
}

/** How often others may go before the first in the queue. */
const PASSES_MAX = 64;
/** How many in the queue are looked at for one that fits: nobody looks at all of them. */
const LOOK_AHEAD = 16;

/** A stay inside, or the wish for one. */
interface Stay {
  /** Asked whenever there may be room: what it has can be taken from it while it waits. */
  readonly need: () => Need;
  /** Nobody else may be inside. */
  readonly alone: boolean;
  /** What it needed when it came in. */
  granted: Need;
  /** Entries counted when it came in, and whether somebody was inside then. */
  entries: number;
  crowded: boolean;
}

/** Whether it failed for want of what others may have held. */
export function lacks(failure: unknown): boolean {
  return failure instanceof TtmError && (failure.code === "ENOMEM" || failure.code === "ENOSPC");
}

export class Admission {
  readonly #supply: Supply;
  readonly #queue: WaitQueue<Stay> = new WaitQueue();
  /** Operations inside, and what they may hold and lack together. */
  #inside = 0;
  #frames = 0;
  #lacking = 0;
  #alone = false;
  /** How many were let in so far: who leaves compares it with what it was at the start, to see if others came. */
  #entries = 0;
  /** How often others have gone before the one that is first now. */
  #passes = 0;

  constructor(supply: Supply) {
    this.#supply = supply;
  }

  /** Operations inside (a count). */
  get inside(): number {
    return this.#inside;
  }

  /** What those inside lacked when they came in (pages). */
  get lacking(): number {
    return this.#lacking;
  }

  /** Whether so many frames can be had, with nobody inside, and nobody who waits to be. */
  hasAlone(frames: number): boolean {
    return this.#inside === 0 && !this.#queue.first && frames <= this.#supply.frames;
  }

  /** Whether one is inside that must not be disturbed. */
  get exclusive(): boolean {
    return this.#alone;
  }

  /**
   * Runs `attempt` inside, with a `need` that is asked for when it wants in. Returns what the attempt
   * returns: what made it fail, or `undefined`. If that was a lack, and others were inside meanwhile, it is
   * made once more, alone.
   *
   * @throws TtmError what stopped the task while it waited
   */
  async run(task: AsyncTask, need: () => Need, attempt: () => Promise<unknown>): Promise<unknown> {
    for (let alone = false; ; alone = true) {
      const stay: Stay = { need, alone, granted: NEED_NONE, entries: 0, crowded: false };
      if (this.#mayEnter(stay)) this.#enter(stay);
      else await this.#wait(task, stay);
      let failure: unknown;
      let others: boolean;
      // A device may keep it for ever, and it has failed by then: what it holds is all that others have to do without.
      const heard = alone ? task.onStop(() => this.#letOthersIn()) : undefined;
      try {
        // What is pinned or mapped for a moment only is let go of by then.
        if (stay.granted.frames > this.#supply.frames) await yieldTurn();
        failure = await attempt();
      } finally {
        heard?.();
        others = stay.crowded || stay.entries !== this.#entries;
        this.#leave(stay);
      }
      if (alone || !others || !lacks(failure)) return failure;
    }
  }

  /** Runs what holds no frames of its own, and only gives some up. */
  async giveUp(task: AsyncTask, work: () => Promise<void>): Promise<void> {
    await this.run(task, NEED_NOTHING, work as () => Promise<undefined>);
  }

  /** Waits to be let in: who was inside before, and comes again, before all others. */
  async #wait(task: AsyncTask, stay: Stay): Promise<void> {
    try {
      await task.wait(this.#queue, stay, stay.alone);
    } catch (error) {
      this.#next(); // those behind it may fit
      throw error;
    }
  }

  /** Whether somebody new may go in at once: without passing anybody, or as one of few who do. */
  #mayEnter(stay: Stay): boolean {
    if (!this.#fits(stay)) return false;
    if (!this.#queue.first) return true;
    if (stay.alone || this.#passes >= PASSES_MAX) return false;
    this.#passes++;
    return true;
  }

  #fits({ need, alone }: Stay): boolean {
    if (this.#inside === 0) return true;
    if (alone || this.#alone) return false;
    const { frames, lacking } = need();
    // By itself it may try, whatever there is.
    if (frames === 0 || this.#frames === 0) return true;
    const { frames: all, exchange } = this.#supply;
    return this.#frames + frames <= all && this.#lacking + lacking <= exchange;
  }

  #enter(stay: Stay): void {
    stay.crowded = this.#inside > 0;
    stay.entries = ++this.#entries;
    stay.granted = stay.need();
    this.#inside++;
    this.#frames += stay.granted.frames;
    this.#lacking += stay.granted.lacking;
    this.#alone = stay.alone;
  }

  /** Whoever is alone does not have to be any more. */
  #letOthersIn(): void {
    this.#alone = false;
    this.#next();
  }

  #leave(stay: Stay): void {
    this.#inside--;
    this.#frames -= stay.granted.frames;
    this.#lacking -= stay.granted.lacking;
    this.#alone = false;
    this.#next();
  }

  /** Lets in who can be, from the front; a few that fit may pass one that does not. */
  #next(): void {
    for (
      let first = this.#queue.first;
      first && this.#fits(first.wants);
      first = this.#queue.first
    ) {
      this.#passes = 0;
      this.#admit(first);
    }
    if (this.#frames >= this.#supply.frames) return; // mostly so: nobody fits, and looking costs
    let waiter = this.#queue.first?.next;
    for (let looked = 0; waiter && looked < LOOK_AHEAD && this.#passes < PASSES_MAX; looked++) {
      const { next } = waiter;
      if (!waiter.wants.alone && this.#fits(waiter.wants)) {
        this.#passes++;
        this.#admit(waiter);
      }
      waiter = next;
    }
  }

  #admit(waiter: Waiter<Stay>): void {
    this.#queue.remove(waiter);
    this.#enter(waiter.wants);
    waiter.wake();
  }
}
