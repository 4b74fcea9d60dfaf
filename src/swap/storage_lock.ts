/*
 * Who may use a prefix of a store: one pool at a time. It says so in a lock record, again and again; one that
 * has not been renewed for the time it is good for is that of an owner who is gone.
 */
import { TtmError } from "../errors.ts";
import { after, afterQuietly, now } from "../host.ts";
import { NOBODY } from "./storage_shelf.ts";
import type { Lock, Shelf } from "./storage_types.ts";

const { now: date } = Date;

/** Beats in the time that a lock is good for: two may be missed. */
const BEATS = 3;
/** Where a store cannot claim in one step: least time (ms) until it is looked at who came last. */
const SETTLE_MS = 200;

/** An id that nobody else has. */
export function drawOwner(): string {
  const bytes = new Uint8Array(8);
  try {
    globalThis.crypto.getRandomValues(bytes);
  } catch {
    // Worklets have none, and workerd's refuses outside of requests.
    for (let i = 0; i < bytes.length; i++) bytes[i] = Math.random() * 256;
  }
  return [...bytes].map((byte) => byte.toString(16).padStart(2, "0")).join("");
}

const wait = (ms: number): Promise<void> => new Promise((resolve) => void after(ms, resolve));

/** The right to a prefix, from `acquire` to `release`. */
export class Ownership {
  readonly owner: string = drawOwner();
  readonly #shelf: Shelf;
  readonly #what: string;
  readonly #goodMs: number;
  /** Called after every beat. */
  readonly #beaten: () => Promise<void>;
  #cancel: () => void = () => {};
  /** When the store last said that it is ours. */
  #since = 0;
  /** How long a claim has taken at most. */
  #claimMs = 0;
  #beating: Promise<void> | undefined;
  #released = false;
  /** What it was lost to. */
  #lost: TtmError | undefined;

  /**
   * @param what names device and prefix, for messages
   * @param goodMs how long a lock is good for that is not renewed
   * @param beaten what else is to be done now and then; may reject
   */
  constructor(shelf: Shelf, what: string, goodMs: number, beaten: () => Promise<void>) {
    this.#shelf = shelf;
    this.#what = what;
    this.#goodMs = goodMs;
    this.#beaten = beaten;
  }

  /** @throws TtmError EBUSY when the prefix is another's */
  async acquire(): Promise<void> {
    const other = await this.#claim([]);
    if (other) await this.#succeed(other);
    if (!this.#shelf.atomic) {
      // Whoever looked before this lock was there has put its own by then; the last one stays.
      await wait(Math.max(SETTLE_MS, 4 * this.#claimMs));
      const last = await this.#claim([]);
      if (last) throw this.#busy("another pool took it at the same time");
    }
    this.#since = now();
    this.#schedule();
  }

  /** Takes the place of an owner that seems to be gone. */
  async #succeed(other: Lock): Promise<void> {
    const age = date() - other.beat;
    const seconds = Math.ceil((this.#goodMs - age) / 1000);
    // Clocks differ: a beat from the future is as doubtful as an old one.
    if (Math.abs(age) <= this.#goodMs) {
      throw this.#busy(`use another prefix, or if that pool was killed, wait ${seconds} s`);
    }
    // So an owner that is alive is given the time for another beat.
    await wait((1.5 * this.#goodMs) / BEATS);
    const still = await this.#claim([]);
    if (!still) return;
    if (still.owner !== other.owner || still.beat !== other.beat) {
      throw this.#busy("use another prefix");
    }
    if (await this.#claim([other.owner])) throw this.#busy("another pool took it at the same time");
  }

  /**
   * Resolves if the prefix is ours, as far as can be known without asking; asks when it is long since.
   *
   * @throws TtmError ENODEV when it was lost to another
   */
  async assert(): Promise<void> {
    if (this.#lost) throw this.#lost;
    const age = now() - this.#since;
    if (age < this.#goodMs / BEATS) return;
    // Hosts whose timers do not run between requests beat here.
    const beat = this.#beat();
    if (age < this.#goodMs) beat.catch(() => {});
    else await beat;
    if (this.#lost) throw this.#lost;
  }

  /** Gives the prefix up. What still is under way has ended when it resolves. */
  async release(): Promise<void> {
    this.#released = true;
    this.#cancel();
    await this.#beating?.catch(() => {});
    await this.#shelf.release(this.owner);
  }

  async #claim(others: readonly string[]): Promise<Lock | undefined> {
    const start = now();
    const lock = { owner: this.owner, beat: date() };
    const other = await this.#shelf.claim(lock, [this.owner, ...others]);
    this.#claimMs = Math.max(this.#claimMs, now() - start);
    return other;
  }

  #schedule(): void {
    this.#cancel = afterQuietly(this.#goodMs / BEATS, () => {
      // A store that is away now is asked again; who waits for it hears of it.
      this.#beat()
        .catch(() => {})
        .finally(() => {
          if (!this.#released && !this.#lost) this.#schedule();
        });
    });
  }

  #beat(): Promise<void> {
    this.#beating ??= this.#beatOnce().finally(() => {
      this.#beating = undefined;
    });
    return this.#beating;
  }

  async #beatOnce(): Promise<void> {
    if (this.#released || this.#lost) return;
    const other = await this.#claim([NOBODY]);
    if (other) {
      const text = `${this.#what} was taken over by another pool, with all that was in it`;
      this.#lost = new TtmError("ENODEV", "restore", text);
      return;
    }
    this.#since = now();
    await this.#beaten();
  }

  #busy(hint: string): TtmError {
    return new TtmError("EBUSY", "open", `${this.#what} is in use by another pool; ${hint}`);
  }
}
