/*
 * The model: what a buffer has to show, as plain bytes. An operation takes effect in the order of the calls, so what
 * has ended waits here for what was called before it. Where the contract leaves something open (how far a failed write
 * over several windows came, whether what was not needed is still there) a window has several candidates, and what is
 * read next tells them apart.
 */
import { Buffer } from "node:buffer";

/** Bytes [start, start + size) of a buffer that come and go by themselves. */
interface Stretch {
  readonly start: number;
  readonly size: number;
}

interface Candidate {
  bytes: Uint8Array;
  /** It was thrown away, and nothing was written since. */
  purged: boolean;
}

interface Pane extends Stretch {
  candidates: Candidate[];
  /** It may be thrown away at any time. */
  purgeable: boolean;
  /** Nothing is known of it any more: too many candidates. */
  lost: boolean;
}

/** A call that has not taken effect in the model yet. */
export interface Entry {
  apply: (() => void) | undefined;
  /** What was there may have been thrown away while it was under way. */
  mayVanish: boolean;
}

const CANDIDATES_MAX = 16;

/** Content that is not what it has to be. */
export class Mismatch extends Error {}

export class Content {
  #panes: Pane[];
  readonly #log: Entry[] = [];

  constructor(stretches: readonly Stretch[]) {
    this.#panes = stretches.map(({ start, size }) => ({
      start,
      size,
      candidates: [{ bytes: new Uint8Array(size), purged: false }],
      purgeable: false,
      lost: false,
    }));
  }

  /** Whether no call is under way. */
  get quiet(): boolean {
    return this.#log.length === 0;
  }

  /** Whether there is just one thing that it may show. */
  get certain(): boolean {
    return this.#panes.every(
      ({ candidates, purgeable, lost }) => candidates.length === 1 && !purgeable && !lost,
    );
  }

  /** Whether pressure may throw some of it away. */
  get purgeable(): boolean {
    return this.#panes.some(({ purgeable }) => purgeable);
  }

  get size(): number {
    const last = this.#panes[this.#panes.length - 1] as Pane;
    return last.start + last.size;
  }

  /** A call is made. */
  begin(): Entry {
    const entry: Entry = { apply: undefined, mayVanish: false };
    this.#log.push(entry);
    return entry;
  }

  /** A call has ended; `apply` is what became of it, in its turn. */
  end(entry: Entry, apply: () => void): void {
    entry.apply = apply;
    for (let first = this.#log[0]; first?.apply; first = this.#log[0]) {
      this.#log.shift();
      first.apply();
    }
  }

  /** Forgets the calls under way. */
  drop(): void {
    this.#log.length = 0;
  }

  write(offset: number, data: Uint8Array): void {
    this.#each(offset, data.length, (pane, from, to, done) => {
      const part = data.subarray(done, done + to - from);
      for (const candidate of pane.candidates) {
        candidate.bytes.set(part, from);
        candidate.purged = false;
      }
      pane.purgeable = false;
      if (to - from === pane.size) this.#settle(pane, part.slice());
    });
  }

  /** A write failed: in one window it wrote nothing, of several it wrote some. */
  mayWrite(offset: number, data: Uint8Array): void {
    const panes = this.#panesOf(offset, data.length);
    for (const pane of panes) pane.purgeable = false;
    if (panes.length === 1) return;
    this.#each(offset, data.length, (pane, from, to, done) => {
      this.#fork(pane, ({ bytes }) => {
        bytes.set(data.subarray(done, done + to - from), from);
        return false;
      });
    });
  }

  /** What was advised against it is taken back: it is going to be written. */
  need(offset: number, length: number): void {
    for (const pane of this.#panesOf(offset, length)) pane.purgeable = false;
  }

  /** It is mapped to be written to: what it shows now counts as written. */
  touch(offset: number, length: number): void {
    for (const pane of this.#panesOf(offset, length)) {
      pane.purgeable = false;
      for (const candidate of pane.candidates) candidate.purged = false;
    }
  }

  zero(offset: number, length: number): void {
    this.#each(offset, length, (pane, from, to) => {
      for (const { bytes } of pane.candidates) bytes.fill(0, from, to);
    });
  }

  /** A discard failed: each end, and what lies between, may be zeros. */
  mayZero(offset: number, length: number, page: number): void {
    this.#each(offset, length, (pane, from, to) => {
      const first = Math.min(Math.ceil(from / page) * page, to);
      const last = to === pane.size ? to : Math.max(Math.floor(to / page) * page, first);
      for (const [a, b] of [
        [from, first],
        [first, last],
        [last, to],
      ] as const) {
        if (a < b) {
          this.#fork(pane, (candidate) => {
            candidate.bytes.fill(0, a, b);
            return candidate.purged;
          });
        }
      }
    });
  }

  /** `"dontneed"` is said: it may be gone from now on, for calls that are under way, too. */
  letGo(): void {
    for (const entry of this.#log) entry.mayVanish = true;
    this.end(this.begin(), () => this.#release());
  }

  #release(): void {
    for (const pane of this.#panes) {
      pane.purgeable = true;
      this.#vanish(pane);
    }
  }

  /** `"willneed"`, and what it said: whether all is still there. */
  keep(survived: boolean): void {
    const known = this.quiet ? survived : undefined;
    this.end(this.begin(), () => this.#keep(known));
  }

  #keep(survived: boolean | undefined): void {
    for (const pane of this.#panes) {
      pane.purgeable = false;
      if (survived !== true && (survived === undefined || this.#panes.length > 1)) continue;
      const left = pane.candidates.filter(({ purged }) => purged !== survived);
      if (left.length > 0) pane.candidates = left;
      else if (survived) throw new Mismatch("content that was thrown away is said to be there");
    }
  }

  /** What was there may have vanished before the call that ends now. */
  vanish(offset: number, length: number): void {
    for (const pane of this.#panesOf(offset, length)) this.#vanish(pane);
  }

  /** @throws Mismatch when nothing that it may hold shows `data` at `offset` */
  expect(offset: number, data: Uint8Array, what: string): void {
    this.#each(offset, data.length, (pane, from, to, done) => {
      const part = data.subarray(done, done + to - from);
      if (pane.lost) {
        if (part.length === pane.size) this.#settle(pane, part.slice());
        return;
      }
      const fits = pane.candidates.filter(
        ({ bytes }) => Buffer.compare(bytes.subarray(from, to), part) === 0,
      );
      if (fits.length === 0) throw this.#mismatch(pane, from, part, what);
      pane.candidates = fits;
      if (pane.purgeable) this.#vanish(pane);
    });
  }

  /** Another size, with all that is certain kept. */
  resize(stretches: readonly Stretch[]): void {
    const old = new Uint8Array(this.size);
    for (const { start, candidates } of this.#panes) {
      old.set((candidates[0] as Candidate).bytes, start);
    }
    this.#panes = new Content(stretches).#panes;
    this.write(0, old.subarray(0, Math.min(old.length, this.size)));
  }

  /** Bytes of it that are certain. */
  peek(offset: number, length: number): Uint8Array {
    const bytes = new Uint8Array(length);
    this.#each(offset, length, ({ candidates }, from, to, done) => {
      bytes.set((candidates[0] as Candidate).bytes.subarray(from, to), done);
    });
    return bytes;
  }

  #settle(pane: Pane, bytes: Uint8Array): void {
    pane.candidates = [{ bytes, purged: false }];
    pane.lost = false;
    if (pane.purgeable) this.#vanish(pane);
  }

  #vanish(pane: Pane): void {
    if (pane.candidates.some(({ bytes, purged }) => purged && bytes.every((byte) => byte === 0)))
      return;
    pane.candidates.push({ bytes: new Uint8Array(pane.size), purged: true });
    this.#limit(pane);
  }

  /** `change` may have been made to it, or not; it says whether what it made is thrown away. */
  #fork(pane: Pane, change: (candidate: Candidate) => boolean): void {
    const changed = pane.candidates.map(({ bytes, purged }) => {
      const candidate = { bytes: bytes.slice(), purged };
      candidate.purged = change(candidate);
      return candidate;
    });
    pane.candidates.push(...changed);
    this.#limit(pane);
  }

  #limit(pane: Pane): void {
    if (pane.candidates.length <= CANDIDATES_MAX) return;
    pane.lost = true;
    pane.candidates.length = 1;
  }

  #panesOf(offset: number, length: number): Pane[] {
    const { size } = this.#panes[0] as Pane;
    return this.#panes.slice(
      Math.floor(offset / size),
      Math.floor((offset + length - 1) / size) + 1,
    );
  }

  #each(
    offset: number,
    length: number,
    use: (pane: Pane, from: number, to: number, done: number) => void,
  ): void {
    for (const pane of this.#panesOf(offset, length)) {
      const from = Math.max(offset, pane.start);
      const to = Math.min(offset + length, pane.start + pane.size);
      use(pane, from - pane.start, to - pane.start, from - offset);
    }
  }

  #mismatch({ start, candidates }: Pane, from: number, part: Uint8Array, what: string): Mismatch {
    const { bytes } = candidates[0] as Candidate;
    let at = 0;
    while (at < part.length && part[at] === bytes[from + at]) at++;
    let wrong = 0;
    for (let i = at; i < part.length; i++) if (part[i] !== bytes[from + i]) wrong++;
    const others = candidates.length > 1 ? `, and ${candidates.length - 1} others do not fit` : "";
    return new Mismatch(
      `${what}: byte ${start + from + at} is ${part[at]} instead of ${bytes[from + at]}, and ` +
        `${wrong} of ${part.length} from byte ${start + from} on are wrong${others}`,
    );
  }
}
