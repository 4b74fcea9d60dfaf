import { Buffer } from "node:buffer";
import { isPage } from "../../../src/engine/entry.ts";
import { createDeviceSync, type Device, PAGE_SIZE, TtmError } from "../../../src/index.ts";
import {
  type Caching,
  finiTt,
  Pool,
  populateTtSync,
  shrinkTtSync,
  Tt,
  type TtmGlobal,
} from "../../../src/ttm.ts";
import { ArraySwap } from "../../support/array_swap.ts";
import { pattern } from "../../support/bytes.ts";
import { expectInvariants, expectUntouched } from "./invariants.ts";

/** One case of an exhaustive test. */
export interface Shape {
  readonly pages: number;
  readonly caching: Caching;
  readonly dma: boolean;
  /** Shrunken in part: its first pages are in swap, the next few single pages, the rest chunks. */
  readonly partly: boolean;
  /** Whether restored pages keep their slots. */
  readonly keepClean: boolean;
}

/** Sizes, and how many pages leave of a tt that is shrunken in part: inside one of its chunks. */
const PARTS: ReadonlyMap<number, number> = new Map([
  [1, 0],
  [19, 10],
  [531, 300],
  [1100, 712],
]);

export const SIZES: readonly number[] = [...PARTS.keys()];
export const CACHINGS: readonly Caching[] = ["cached", "wc", "uc"];

/** All shapes of a size, with clean pages kept, without, or both. */
function shapesOf(pages: number, keeping: readonly boolean[]): Shape[] {
  const shapes = CACHINGS.flatMap((caching) =>
    [false, true].flatMap((dma) =>
      [false, true].flatMap((partly) =>
        keeping.map((keepClean) => ({ pages, caching, dma, partly, keepClean })),
      ),
    ),
  );
  return shapes.filter(({ partly }) => !(partly && pages === 1));
}

/** Small ones with clean pages kept and without; of the others 531 pages without, 1100 with. */
export const SHAPES: readonly Shape[] = SIZES.flatMap((pages) =>
  shapesOf(pages, pages < 100 ? [false, true] : [pages > 1000]),
);

/** Those that a test can go through several times for each of their pages. */
export const SMALLER_SHAPES: readonly Shape[] = SHAPES.filter(({ pages }) => pages < 1000);

/** For `test.each`. */
export const TITLE =
  "$pages pages, $caching, dma: $dma, partly: $partly, clean pages kept: $keepClean" as const;

const FRAMES = 2048;
const SLOTS = 1536;
/** Pages of each transfer when it does not matter where one stops. */
const LARGE = 100;

/** A tt on a memory of its own, with a swap device that counts; each page is one transfer. */
export class Subject {
  readonly shape: Shape;
  readonly swap: ArraySwap;
  readonly device: Device;
  readonly global: TtmGlobal;
  readonly pool: Pool;
  readonly bytes: Uint8Array;
  tt: Tt;

  /** @param content whether its content matters: a test of metadata is faster without */
  constructor(shape: Shape, content = true) {
    const { pages, keepClean } = shape;
    this.shape = shape;
    this.swap = new ArraySwap(SLOTS, content);
    this.device = createDeviceSync({
      memory: FRAMES * PAGE_SIZE,
      swap: this.swap,
      transferPages: 1,
      keepClean,
      checksums: content,
    });
    this.global = this.device.global;
    this.pool = new Pool(this.global);
    this.bytes = content ? pattern(pages, pages * PAGE_SIZE) : new Uint8Array(0);
    this.tt = this.#newTt();
  }

  /** Pages that leave when it is shrunken as its shape says. */
  get leaving(): number {
    const { pages, partly } = this.shape;
    return partly ? (PARTS.get(pages) as number) : pages;
  }

  /** Runs `work` with larger transfers, where it does not matter what one of them is. */
  fast<T>(work: () => T): T {
    const { global } = this;
    setTransferPages(global, LARGE);
    try {
      return work();
    } finally {
      setTransferPages(global, 1);
    }
  }

  /** Populates the tt, and writes its content. */
  populate(): void {
    this.fast(() => populateTtSync(this.pool, this.tt));
    if (this.bytes.length > 0) writeContent(this.pool, this.tt, this.bytes);
    else this.#mark();
  }

  /** Without content: no page that is in memory is zeros, which would not be written. */
  #mark(): void {
    const { engine } = this.global;
    for (let i = this.tt.vector; i < this.tt.vector + this.tt.numPages; i++) {
      if (isPage(engine.entry(i))) engine.view(engine.entry(i), 1)[0] = 1;
    }
  }

  /** Shrinks the populated tt as its shape says: in part means that it was stopped after some pages. */
  shrink(): void {
    const { pool, tt, swap, leaving, shape } = this;
    pool.dirty(tt, 0, tt.numPages, false);
    if (this.bytes.length === 0) this.#mark();
    const end = swap.pagesOut + leaving;
    const signal = {
      get aborted() {
        return swap.pagesOut >= end;
      },
    };
    const released = shape.partly
      ? shrinkTtSync(pool, tt, { signal })
      : this.fast(() => shrinkTtSync(pool, tt));
    if (released !== leaving) throw new Error(`${released} pages left, not ${leaving}`);
  }

  /** Shrinks a tt that was shrunken as its shape says, and then restored, in the same way. */
  shrinkAgain(): void {
    const { pool, tt, leaving } = this;
    const released = this.fast(() => shrinkTtSync(pool, tt, { pages: leaving }));
    if (released !== leaving) throw new Error(`${released} pages left again, not ${leaving}`);
  }

  /** Restores the tt without any trouble. */
  restore(): void {
    this.fast(() => populateTtSync(this.pool, this.tt));
  }

  /** Destroys the tt, and expects that nothing is left of it; another one takes its place. */
  replace(): void {
    const { resident } = this.tt;
    const freed = finiTt(this.pool, this.tt);
    if (freed !== resident) throw new Error(`${freed} frames were freed, not ${resident}`);
    expectUntouched(this.global);
    if (this.tt.flags !== 0 || this.tt.resident !== 0) throw new Error("the tt is not empty");
    this.tt = this.#newTt();
  }

  expectInvariants(): void {
    expectInvariants(this.global, [this]);
  }

  /** Expects that the tt is populated, and shows what was written. */
  expectContent(): void {
    if (!this.tt.populated) throw new Error("the tt is not populated");
    expectContent(this.global, this.tt, this.bytes);
  }

  #newTt(): Tt {
    const { pages, caching, dma } = this.shape;
    return new Tt(pages, { caching, dma, id: 7 });
  }
}

function setTransferPages(global: TtmGlobal, transferPages: number): void {
  Object.assign(global, { transferPages });
}

/** Writes the whole content of a populated tt. */
export function writeContent(pool: Pool, tt: Tt, bytes: Uint8Array): void {
  pool.dirty(tt, 0, tt.numPages, false);
  forEachPart(pool.global, tt, bytes, (view, part) => view.set(part));
}

/** @throws Error naming the first page of a populated tt that shows something else */
export function expectContent(global: TtmGlobal, tt: Tt, bytes: Uint8Array): void {
  forEachPart(global, tt, bytes, (view, part, page) => {
    if (Buffer.compare(view, part) === 0) return;
    const at = view.findIndex((byte, i) => byte !== part[i]);
    const bad = page + Math.floor(at / PAGE_SIZE);
    throw new Error(
      `page ${bad} of the tt: byte ${at % PAGE_SIZE} is ${view[at]}, not ${part[at]}`,
    );
  });
}

function forEachPart(
  { engine }: TtmGlobal,
  { vector, numPages }: Tt,
  bytes: Uint8Array,
  use: (view: Uint8Array, part: Uint8Array, page: number) => void,
): void {
  let page = 0;
  for (const { address, pages } of engine.vectorExtents(vector, numPages, 0, numPages)) {
    const part = bytes.subarray(page * PAGE_SIZE, (page + pages) * PAGE_SIZE);
    use(engine.view(address, pages * PAGE_SIZE), part, page);
    page += pages;
  }
}

/** What `run` throws, which must be a `TtmError`; `undefined` when it does not. */
export function ttmErrorOf(run: () => unknown): TtmError | undefined {
  try {
    run();
  } catch (error) {
    if (error instanceof TtmError) return error;
    throw error;
  }
  return undefined;
}
