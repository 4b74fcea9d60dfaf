/*
 * Overwrite: gives those entries of a shrunken tt pages that are about to be written, and reads of them only what the
 * write leaves of its first and its last page.
 *
 *   held        entry = handle | empty   shadow = page    old content still valid in the slot
 *   written     the same, and the bytes are in the page
 *   committed   entry = page             shadow = 0, or the slot, kept to leave to again
 *
 * - All frames are held before one is written, and nobody sees them: whatever stops it until then, or then, they are
 *   given back, and the old content is where it was. From the first byte to the commit nothing waits.
 * - A page that is read lies in a chunk of its own, so that it stays when the rest is given back: a retry goes on.
 * - Who finds no room for all of them reads as many as are too many, which gives their slots to others, who leave
 *   there: with all frames and slots taken pages are exchanged, as by a restore.
 */
import { isPage } from "../engine/entry.ts";
import { codeOf, failureOf } from "../errors.ts";
import { lacks } from "./admission.ts";
import { Claim } from "./frames.ts";
import { countersOf } from "./global.ts";
import type { Pool } from "./pool.ts";
import {
  type Batch,
  becomePopulated,
  dropHeldIn,
  mismatch,
  OVERWRITES_NOTHING,
  type Overwritten,
  Populate,
  prepare,
  take,
} from "./restore.ts";
import { claimRoom, freeFor, hasRoom, Room, type Want } from "./room.ts";
import { AsyncTask, type Task } from "./task.ts";
import { Mismatch, Moved, transfer } from "./transfer.ts";
import type { RestoreState, Tt } from "./tt.ts";
import { Pending, run, runSync, throwFailure, type Work } from "./work.ts";

/** Frames that were held together, and entries of them that have their content. */
interface Hold {
  readonly state: RestoreState;
  readonly batch: Batch;
  moved: number;
}

/**
 * Whether there is something to be saved: pages that are to be overwritten are not in memory. Pages with mappings of
 * their own, or another caching, are brought in by a restore.
 */
export function overwrites(pool: Pool, tt: Tt, { from, to }: Overwritten): boolean {
  if (!tt.shrunken || from >= to) return false;
  if (tt.caching !== "cached" || tt.dma || tt.sg || pool.coherent) return false;
  return pool.global.engine.firstMissing(tt.vector, from, to) < to;
}

/** Makes ready what is to be overwritten, at a stretch: to be written and committed, or ended. */
export function overwriteSync(pool: Pool, task: Task, tt: Tt, overwritten: Overwritten): Overwrite {
  const work = new Overwrite(pool, task, tt, overwritten);
  runSync(pool.global, task, work);
  return work;
}

/** The same for a task that waits. */
export async function overwrite(
  pool: Pool,
  task: AsyncTask,
  tt: Tt,
  overwritten: Overwritten,
): Promise<Overwrite> {
  const work = new Overwrite(pool, task, tt, overwritten);
  await run(task, work);
  return work;
}

/** An overwrite on its way. When it has come to its end without a failure the frames are there to be written. */
export class Overwrite implements Work, Want {
  readonly tt: Tt;
  readonly #pool: Pool;
  readonly #task: Task;
  readonly #overwritten: Overwritten;
  readonly #claim: Claim | undefined;
  #room: Room | undefined = undefined;
  /** What reads pages, as there is no room for all. */
  #restore: Populate | undefined = undefined;
  #lacking = 0;
  #fresh = 0;
  /** Whether all frames are there, and from which entry on they are to be held, up to which border of chunks. */
  #begun = false;
  #cursor = 0;
  #border = 0;
  #holds: Hold[] = [];
  failure: unknown = undefined;

  constructor(pool: Pool, task: Task, tt: Tt, overwritten: Overwritten) {
    this.tt = tt;
    this.#pool = pool;
    this.#task = task;
    this.#overwritten = overwritten;
    this.#claim = task instanceof AsyncTask ? new Claim(pool.global.frames) : undefined;
    this.#count();
  }

  get pages(): number {
    return this.#overwritten.end - this.#overwritten.first;
  }

  get lacking(): number {
    return this.#lacking;
  }

  get fresh(): number {
    return this.#fresh;
  }

  attempt(): Pending | undefined {
    try {
      const waits = this.#findRoom() ?? this.#hold();
      if (waits) return waits;
    } catch (error) {
      this.failure = failureOf("populate", error);
    }
    if (this.failure !== undefined) {
      this.end();
      const { global } = this.#pool;
      if (this.failure !== this.#restore?.failure) {
        countersOf(global).interrupted++;
        global.trace?.({ type: "interrupt", tt: this.tt.id, code: codeOf(this.failure) });
      }
    }
    return undefined;
  }

  #count(): void {
    const { engine } = this.#pool.global;
    const { first, end } = this.#overwritten;
    this.#lacking = engine.countGaps(this.tt.vector, first, end);
    this.#fresh = engine.countEmpty(this.tt.vector, first, end);
  }

  /** Until there are frames for all pages that are lacking. */
  #findRoom(): Pending | undefined {
    const pool = this.#pool;
    const claim = this.#claim;
    while (!this.#begun) {
      if (this.#restore) {
        const waits = this.#restore.attempt();
        if (waits) return waits;
        throwFailure(this.#restore.failure);
        this.#restore = undefined;
        this.#count();
      }
      if (this.#lacking > 0 && (this.#room || !hasRoom(pool, this, claim))) {
        this.#room ??= new Room(pool, this.#task, this, claim);
        const waits = this.#room.attempt();
        if (waits) return waits;
        const { failure } = this.#room;
        this.#room = undefined;
        if (lacks(failure) && this.#dropHalfRead()) continue;
        throwFailure(failure);
      }
      if (claim) claimRoom(pool, this, claim);
      const tooMany = this.#lacking - freeFor(pool, claim);
      if (tooMany > 0) this.#read(tooMany);
      else this.#begin();
    }
    return undefined;
  }

  /** A chunk that is half read takes up frames and slots, and mostly of pages that are overwritten. Says whether there was one. */
  #dropHalfRead(): boolean {
    const { first, end } = this.#overwritten;
    if (dropHeldIn(this.tt, first, end) === 0) return false;
    this.#count();
    return true;
  }

  /** The first `pages` that are lacking come in with their content, as there is no other way. */
  #read(pages: number): void {
    const { tt } = this;
    const { first, end } = this.#overwritten;
    const from = this.#pool.global.engine.firstMissing(tt.vector, first, end);
    const part = { from, to: Math.min(from + pages, end) };
    this.#claim?.end();
    this.#restore = new Populate(this.#pool, this.#task, tt, OVERWRITES_NOTHING, part);
  }

  /** Finds where to hold frames: up to the nearest border of chunks, as a chunk behind it may be half read. */
  #begin(): void {
    const { tt } = this;
    const { engine } = this.#pool.global;
    const { first, end } = this.#overwritten;
    this.#begun = true;
    dropHeldIn(tt, first, end);
    this.#cursor = engine.firstMissing(tt.vector, first, end);
    this.#border = this.#cursor;
    while (this.#border < end) {
      const entry = engine.entry(tt.vector + this.#border);
      this.#border += isPage(entry) ? engine.chunkPages(entry) : 1;
    }
  }

  #hold(): Pending | undefined {
    const { tt } = this;
    const pool = this.#pool;
    while (this.failure === undefined && this.#cursor < this.#overwritten.end) {
      const { resident } = tt;
      const state = { cursor: this.#cursor, read: 0, mapping: undefined, failed: false };
      const { pages, lacking, fresh } = this;
      const fill = { pool, tt, state, pages, lacking, fresh };
      const batch = prepare(fill, this.#task, this.#overwritten, this.#border);
      this.#claim?.take(tt.resident - resident);
      this.#cursor += batch.covered;
      const hold = { state, batch, moved: 0 };
      this.#holds.push(hold);
      const moved = transfer(pool.global, this.#task, false, batch.covered, 0);
      if (!(moved instanceof Moved)) return new Pending(moved.then((m) => this.#took(hold, m)));
      this.#took(hold, moved);
    }
    return undefined;
  }

  #took(hold: Hold, { moved, pages, failure }: Moved): void {
    const { state, batch } = hold;
    countersOf(this.#pool.global).pagesIn += pages;
    hold.moved = moved;
    const fill = { pool: this.#pool, tt: this.tt, state };
    this.failure = failure instanceof Mismatch ? mismatch(fill, batch, failure) : failure;
  }

  /**
   * The bytes are in the frames: these are what the tt shows from now on. What swap has of it is no longer valid; of a
   * tt that is not written whole the slots are kept, so that its content stays side by side in swap.
   */
  commit(): void {
    const { tt } = this;
    const pool = this.#pool;
    const { global } = pool;
    const { first, end } = this.#overwritten;
    const keeps = end - first < tt.numPages;
    const holds = this.#holds;
    this.#holds = [];
    global.busy++;
    try {
      for (const { state, batch } of holds) take({ pool, tt, state }, batch, batch.covered);
      pool.dirty(tt, first, end - first, keeps && global.roomForClean);
    } finally {
      global.busy--;
    }
    if (tt.resident === tt.numPages && !tt.restore?.read) {
      tt.restore = undefined;
      becomePopulated(tt);
    }
    if (holds.length > 0) global.trace?.({ type: "restore", tt: tt.id, pages: this.pages });
  }

  /** To be called in any case: gives back what is held, if something is; pages that were read stay. */
  end(): void {
    const { tt } = this;
    const pool = this.#pool;
    for (const { state, batch, moved } of this.#holds.splice(0)) {
      take({ pool, tt, state }, batch, moved > 0 && this.#isRead(batch) ? 1 : 0);
    }
    this.#claim?.end();
  }

  /** Whether a batch begins with a page that is not overwritten whole, in a chunk of its own. */
  #isRead({ start }: Batch): boolean {
    const { vector } = this.tt;
    const { from, to } = this.#overwritten;
    const { engine } = this.#pool.global;
    if ((start >= from && start < to) || isPage(engine.entry(vector + start))) return false;
    return engine.chunkPages(engine.shadow(vector + start)) === 1;
  }
}
