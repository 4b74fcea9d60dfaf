/*
 * Frames on their way from one operation to another. An operation claims the frames that it found free or had
 * reclaimed until it takes them, so that nobody gets what another one waited for; and who finds nothing left to
 * reclaim while others write pages out waits for these.
 */
import { Lock } from "../lock.ts";
import { WaitQueue } from "../wait_queue.ts";

/** Frames of a memory that cannot be had for the time being, in pages, and shrinks at work on it. */
export class Frames {
  /** What all operations have claimed and not yet taken. */
  claimed = 0;
  /** Frames that operations claimed, have taken by now, and are still at work with. */
  taken = 0;
  /** What nobody but its owner can give up: pages of pinned buffers, and of tts that no shrinker knows. */
  stuck = 0;
  /** Whose turn it is to hold more and more until all is there: two at once would each hold what the other lacks. */
  readonly gathering: Lock = new Lock();
  /** How often one began to (a count). */
  gathered = 0;
  /** Those who write pages out. */
  readonly transits: Transits = new Transits();
}

/** Frames that one operation counts on. */
export class Claim {
  readonly #all: Frames;
  #frames = 0;
  #taken = 0;

  constructor(all: Frames) {
    this.#all = all;
  }

  /** Pages of it. */
  get frames(): number {
    return this.#frames;
  }

  /** Claims `frames` in all; never gives up what it has. */
  raise(frames: number): void {
    if (frames <= this.#frames) return;
    this.#all.claimed += frames - this.#frames;
    this.#frames = frames;
  }

  /** Notes that `frames` were taken: those it claimed, as far as they go. */
  take(frames: number): void {
    this.#drop(Math.min(frames, this.#frames));
    this.#taken += frames;
    this.#all.taken += frames;
  }

  end(): void {
    this.#drop(this.#frames);
    this.#all.taken -= this.#taken;
    this.#taken = 0;
  }

  #drop(frames: number): void {
    this.#all.claimed -= frames;
    this.#frames -= frames;
  }
}

/** Shrinks at work on a memory. Whoever waits for one of them to end stands in `queue`. */
export class Transits {
  readonly queue: WaitQueue = new WaitQueue();
  /** Pages on their way out, of which the frames will be free. */
  pages = 0;
  #count = 0;

  /** Shrinks that will end, and wake somebody then (a count). */
  get count(): number {
    return this.#count;
  }

  begin(): void {
    this.#count++;
  }

  end(): void {
    this.#count--;
    this.wakeNext();
  }

  /**
   * Wakes the next in the queue, to look for frames again. Also called when there may be none for it: it then
   * wakes the one behind it, which nobody else would do.
   */
  wakeNext(): void {
    this.queue.shift()?.wake();
  }
}
