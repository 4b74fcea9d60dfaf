/*
 * Pages in a store of records (keys and values, rows, objects) instead of blocks. What is written together goes
 * into one record; an index tells in which record a page is, and a record without pages that count is deleted.
 * Records of fixed slots, which a write of some of them reads and rewrites, were twice the calls and four times
 * the bytes when runs of 16 pages are written anywhere; these hold at most twice what counts then.
 */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { codeOf } from "../errors.ts";
import type { HostSignal, View } from "../host_types.ts";
import { assertWhole } from "../options.ts";
import type { ShortWrite, SlotRange, SwapRun } from "./types.ts";

/** What keeps records: values by number. What its methods return is awaited where the caller can wait. */
export interface RecordStore {
  /** Bytes of a record that was set, unchanged; they are only read. */
  get(id: number): RecordBytes | Promise<RecordBytes>;
  /**
   * Makes a record, or replaces it by one of the same length: all of it, or, if it throws, none. It may keep `bytes`,
   * which are its own. Replacing must work in a store that is full, so a record may not give up its room for it.
   */
  set(id: number, bytes: View): unknown;
  /** Ends a record that was set, or one whose `set` threw and that there may not be. */
  delete(id: number): unknown;
}

/** What a record comes back as. */
export type RecordBytes = Uint8Array | ArrayBuffer;

/** Options of `PageRecords`. */
export interface PageRecordsOptions {
  /** Most pages of one record, 1 to 256. Default: 16, which is 64 KiB. */
  readonly pages?: number;
  /** Most calls of the store at the same time, for each call of the device: 1 to 256. Default: 16. */
  readonly parallel?: number;
}

/** A record: the page of `slots[i]` is at `i * PAGE_SIZE` in it, if the index leads here for that slot. */
interface Row {
  readonly id: number;
  slots: readonly number[];
  /** How many of them the index leads here for. */
  live: number;
}

/** A page of a call. */
interface Page {
  readonly slot: number;
  readonly view: View;
  readonly at: number;
}

interface Success {
  readonly value: unknown;
}

interface Failure {
  readonly error: unknown;
}

type Outcome = Success | Failure;
/** Calls of the store that may be made at the same time. After one that failed no others are begun. */
type Calls = readonly (() => unknown)[];
/** How calls went; none for those that were not begun. */
type Outcomes = readonly (Outcome | undefined)[];
/** Asks for calls and hears how they went: one walk for those who wait and those who do not. */
type Steps<T> = Generator<Calls, T, Outcomes>;

/**
 * Keeps pages in a `RecordStore`: the methods of a swap device are those of this. Ids count from 1 and are never
 * used for something else, so what is in the store when nothing is in here is left over from others.
 *
 * A store that is full takes no new records, but it takes those again that it has: then pages that have a
 * place are written there, record by record. So what it once took stays its capacity.
 */
export class PageRecords {
  readonly #store: RecordStore;
  readonly #most: number;
  readonly #parallel: number;
  /** The record of each slot. */
  readonly #rows = new Map<number, Row>();
  /** Records that are not needed, and could not be deleted yet. */
  readonly #dead = new Set<Row>();
  readonly #all = new Set<Row>();
  #pages = 0;
  #next = 1;
  /** Somebody rewrites records in place: two of them in one would lose pages. */
  #patching: Promise<void> | undefined;

  /** Pages in records of `store`, which nobody else uses. */
  constructor(store: RecordStore, options: PageRecordsOptions = {}) {
    const { pages = 16, parallel = 16 } = options;
    assertWhole(pages, "pages", 1, 256);
    assertWhole(parallel, "parallel", 1, 256);
    this.#store = store;
    this.#most = pages;
    this.#parallel = parallel;
  }

  /** Records in the store. */
  get records(): number {
    return this.#all.size;
  }

  /** Bytes in the store, of pages that count and of those beside them. */
  get bytes(): number {
    return this.#pages * PAGE_SIZE;
  }

  /** The id of the record that the page of a slot is in, if there is one: for tests and messages. */
  recordOf(slot: number): number | undefined {
    return this.#rows.get(slot)?.id;
  }

  /** As `SyncSwapDevice.readSync`. */
  readSync(runs: readonly SwapRun[]): void {
    runNow(this.#read(runs));
  }

  /** As `SyncSwapDevice.writeSync`. */
  writeSync(runs: readonly SwapRun[]): void | ShortWrite {
    return runNow(this.#write(runs));
  }

  /** As `AsyncSwapDevice.read`. */
  read(runs: readonly SwapRun[], signal?: HostSignal): Promise<void> {
    return runAwaiting(this.#read(runs), this.#parallel, signal);
  }

  /** As `AsyncSwapDevice.write`. */
  write(runs: readonly SwapRun[], signal?: HostSignal): Promise<void | ShortWrite> {
    return runAwaiting(this.#write(runs), this.#parallel, signal);
  }

  /** As `SwapDeviceBase.discard`, for a store that does not wait. */
  discardSync(ranges: readonly SlotRange[]): void {
    runNow(this.#discard(ranges));
  }

  /** As `SwapDeviceBase.discard`. */
  discard(ranges: readonly SlotRange[]): Promise<void> {
    return runAwaiting(this.#discard(ranges), this.#parallel);
  }

  /** Deletes all records, for `close`; throws what the first that stays was kept by. */
  clearSync(): void {
    runNow(this.#clear());
  }

  /** Deletes all records, for `close`; rejects with what the first that stays was kept by. */
  clear(): Promise<void> {
    return runAwaiting(this.#clear(), this.#parallel);
  }

  *#read(runs: readonly SwapRun[]): Steps<void> {
    const wanted = new Map<Row, Page[]>();
    for (const page of pagesOf(runs)) {
      const row = this.#rows.get(page.slot);
      if (!row) throw new Error(`slot ${page.slot} holds nothing`);
      const pages = wanted.get(row);
      if (pages) pages.push(page);
      else wanted.set(row, [page]);
    }
    const rows = [...wanted];
    const gets = rows.map(([row]) => row).map((row) => () => this.#store.get(row.id));
    const outcomes = yield gets;
    const failed = outcomes.find(isFailure);
    if (failed) throw failed.error;
    for (const [i, [row, pages]] of rows.entries()) {
      const bytes = whole(row, (outcomes[i] as Success).value);
      for (const { slot, view, at } of pages) {
        const from = row.slots.indexOf(slot) * PAGE_SIZE;
        view.set(bytes.subarray(from, from + PAGE_SIZE), at);
      }
    }
  }

  *#write(runs: readonly SwapRun[]): Steps<void | ShortWrite> {
    const pages = pagesOf(runs);
    const pieces: Piece[] = [];
    for (let at = 0; at < pages.length; at += this.#most) {
      pieces.push(this.#piece(pages.slice(at, at + this.#most)));
    }
    const outcomes = yield pieces.map((one) => () => this.#store.set(one.id, one.bytes));
    // What was stored is taken into account, also behind what was not.
    const left = pieces.filter((piece, i) => {
      const outcome = outcomes[i];
      if (outcome && !isFailure(outcome)) {
        this.#took(piece);
        return false;
      }
      if (outcome) this.#doubt(piece);
      return true;
    });
    const failed = outcomes.find(isFailure);
    const short = failed && (yield* this.#inPlace(pieces, left, failed.error));
    yield* this.#bury();
    if (short && short.pages === 0) throw short.error;
    return short;
  }

  /** Pages to be one record: a new one, or one as long all of whose pages that count are among them. */
  #piece(pages: readonly Page[]): Piece {
    const old = new Map<Row, number>();
    for (const { slot } of pages) {
      const row = this.#rows.get(slot);
      if (row) old.set(row, (old.get(row) ?? 0) + 1);
    }
    const fits = (row: Row, count: number) =>
      row.live === count && row.slots.length === pages.length;
    const [row] = [...old].find(([row, count]) => fits(row, count)) ?? [];
    const bytes = new Uint8Array(pages.length * PAGE_SIZE);
    pages.forEach(({ view, at }, i) => {
      bytes.set(view.subarray(at, at + PAGE_SIZE), i * PAGE_SIZE);
    });
    return { id: row?.id ?? this.#next++, row, pages, bytes };
  }

  /** The store has it. */
  #took({ id, row: old, pages }: Piece): void {
    const row = old ?? { id, slots: [], live: 0 };
    this.#all.add(row);
    this.#pages += pages.length - row.slots.length;
    for (const { slot } of pages) {
      const before = this.#rows.get(slot);
      if (before && before !== row) this.#leave(before);
      this.#rows.set(slot, row);
    }
    row.slots = pages.map(({ slot }) => slot);
    row.live = pages.length;
  }

  /** A new record may be there although that failed, as when only the answer was lost. */
  #doubt({ id, row: old }: Piece): void {
    if (old) return;
    const row = { id, slots: [], live: 0 };
    this.#all.add(row);
    this.#dead.add(row);
  }

  #leave(row: Row): void {
    if (--row.live === 0) this.#dead.add(row);
  }

  /** Writes what a store had no room for as new records where its slots are, as far as they are somewhere. */
  *#inPlace(
    pieces: readonly Piece[],
    left: readonly Piece[],
    error: unknown,
  ): Steps<ShortWrite | undefined> {
    const short = (piece: Piece, done: number): ShortWrite => {
      const before = pieces.slice(0, pieces.indexOf(piece));
      return { pages: before.reduce((sum, { pages }) => sum + pages.length, done), error };
    };
    if (codeOf(error) !== "ENOSPC") return short(left[0] as Piece, 0);
    while (this.#patching) {
      const [turn] = yield [() => this.#patching];
      // Aborted, or not one that can wait.
      if (isFailure(turn)) return short(left[0] as Piece, 0);
    }
    let end = () => {};
    this.#patching = new Promise((resolve) => {
      end = resolve;
    });
    try {
      for (const piece of left) {
        const done = yield* this.#patch(piece);
        if (done < piece.pages.length) return short(piece, done);
      }
      return undefined;
    } finally {
      this.#patching = undefined;
      end();
    }
  }

  /** Returns how many pages, from the first on, have been written to the records they are in. */
  *#patch({ pages }: Piece): Steps<number> {
    let done = 0;
    while (done < pages.length) {
      const row = this.#rows.get((pages[done] as Page).slot);
      if (!row) return done;
      let next = done;
      while (next < pages.length && this.#rows.get((pages[next] as Page).slot) === row) next++;
      const [got] = yield [() => this.#store.get(row.id)];
      if (isFailure(got)) return done;
      const bytes = whole(row, (got as Success).value).slice();
      for (const { slot, view, at } of pages.slice(done, next)) {
        bytes.set(view.subarray(at, at + PAGE_SIZE), row.slots.indexOf(slot) * PAGE_SIZE);
      }
      const [set] = yield [() => this.#store.set(row.id, bytes)];
      if (isFailure(set)) return done;
      done = next;
    }
    return done;
  }

  *#discard(ranges: readonly SlotRange[]): Steps<void> {
    for (const { slot: first, pages } of ranges) {
      // A range may be far longer than what is there.
      const few = pages <= this.#rows.size;
      const slots = few ? Array.from({ length: pages }, (_, i) => first + i) : this.#rows.keys();
      for (const slot of slots) {
        const row = this.#rows.get(slot);
        if (!row || slot < first || slot >= first + pages) continue;
        this.#rows.delete(slot);
        this.#leave(row);
      }
    }
    yield* this.#bury();
  }

  /** Deletes what is not needed; what stays is tried again the next time. Returns what kept the first. */
  *#bury(): Steps<Failure | undefined> {
    const rows = [...this.#dead];
    if (rows.length === 0) return undefined;
    this.#dead.clear();
    const outcomes = yield rows.map((row) => () => this.#store.delete(row.id));
    for (const [i, row] of rows.entries()) {
      const outcome = outcomes[i];
      if (outcome && !isFailure(outcome)) {
        this.#all.delete(row);
        this.#pages -= row.slots.length;
      } else this.#dead.add(row);
    }
    return outcomes.find(isFailure);
  }

  *#clear(): Steps<void> {
    this.#rows.clear();
    for (const row of this.#all) this.#dead.add(row);
    const failed = yield* this.#bury();
    if (failed) throw failed.error;
  }
}

/** A record to be. */
interface Piece {
  readonly id: number;
  /** The one that it replaces. */
  readonly row: Row | undefined;
  readonly pages: readonly Page[];
  readonly bytes: View;
}

function pagesOf(runs: readonly SwapRun[]): Page[] {
  const pages: Page[] = [];
  for (const { slot: first, views } of runs) {
    let slot = first;
    for (const view of views) {
      for (let at = 0; at < view.length; at += PAGE_SIZE) pages.push({ slot: slot++, view, at });
    }
  }
  return pages;
}

/** @throws Error when the store gave something else back than it took */
function whole(row: Row, value: unknown): Uint8Array {
  const length = row.slots.length * PAGE_SIZE;
  const bytes = ArrayBuffer.isView(value)
    ? new Uint8Array(value.buffer, value.byteOffset, value.byteLength)
    : new Uint8Array(typeof value === "object" && value ? (value as ArrayBuffer) : []);
  if (bytes.length === length) return bytes;
  throw new Error(`record ${row.id} does not come back as the ${length} bytes that were set`);
}

function isFailure(outcome: Outcome | undefined): outcome is Failure {
  return outcome !== undefined && "error" in outcome;
}

/** @throws what the steps throw; EWOULDBLOCK when the store answers later */
function runNow<T>(steps: Steps<T>): T {
  let next = steps.next();
  while (!next.done) {
    const outcomes: Outcome[] = [];
    for (const call of next.value) {
      outcomes.push(outcomeNow(call));
      if (isFailure(outcomes.at(-1))) break;
    }
    next = steps.next(outcomes);
  }
  return next.value;
}

function outcomeNow(call: () => unknown): Outcome {
  try {
    const value = call();
    if (typeof (value as Promise<unknown> | undefined)?.then !== "function") return { value };
    void Promise.resolve(value).catch(() => {});
    const error = new Error("the store answers later; use the asynchronous form");
    return { error: Object.assign(error, { code: "EWOULDBLOCK" }) };
  } catch (error) {
    return { error };
  }
}

async function runAwaiting<T>(steps: Steps<T>, parallel: number, signal?: HostSignal): Promise<T> {
  let next = steps.next();
  while (!next.done) next = steps.next(await allOf(next.value, parallel, signal));
  return next.value;
}

/** Settles when all that were begun have, so that nothing happens later. */
async function allOf(
  calls: Calls,
  parallel: number,
  signal: HostSignal | undefined,
): Promise<Outcome[]> {
  const outcomes: Outcome[] = [];
  let begun = 0;
  let failed = false;
  const work = async () => {
    while (begun < calls.length && !failed) {
      const at = begun++;
      try {
        signal?.throwIfAborted();
        outcomes[at] = { value: await calls[at]?.() };
      } catch (error) {
        failed = true;
        outcomes[at] = { error };
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(parallel, calls.length) }, work));
  return outcomes;
}
