import { Buffer } from "node:buffer";
import { isPage } from "../../../src/engine/entry.ts";
import {
  createDeviceSync,
  type Device,
  PAGE_SIZE,
  type TrimMeans,
  TtmError,
} from "../../../src/index.ts";
import {
  type Caching,
  finiTt,
  type OperationContext,
  Pool,
  populateTtSync,
  type ShrinkTtOptions,
  shrinkTtSync,
  Tt,
  type TtmGlobal,
} from "../../../src/ttm.ts";
import { ArraySwap } from "../../support/array_swap.ts";
import { mixedPattern, pattern } from "../../support/bytes.ts";
import { PackedSwap } from "../../support/packed_swap.ts";
import { HERE, stepWith, Trims } from "../../support/trims.ts";
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
  /** Which of `GROUNDS` it stands on. */
  readonly on: string;
}

/** Where pages go, and by which means memory goes back to the host between any two steps. */
interface Ground {
  readonly swap: (slots: number, content: boolean) => ArraySwap;
  readonly trims?: TrimMeans;
}

/** The one that is fast enough for every shape. */
const PLAIN = "an array";
const packed = (slots: number) => new PackedSwap(slots);

export const GROUNDS: Readonly<Record<string, Ground>> = {
  [PLAIN]: { swap: (slots, content) => new ArraySwap(slots, content) },
  ...Object.fromEntries(
    HERE.map((trims) => [`compressed swap, with trims by ${trims}`, { swap: packed, trims }]),
  ),
};

const OTHERS = Object.keys(GROUNDS).filter((on) => on !== PLAIN);

/** Sizes, and how many pages leave of a tt that is shrunken in part: inside one of its chunks. */
const PARTS: ReadonlyMap<number, number> = new Map([
  [1, 0],
  [19, 10],
  [35, 20],
  [531, 300],
  [1100, 712],
]);

export const SIZES: readonly number[] = [1, 19, 531, 1100];
export const CACHINGS: readonly Caching[] = ["cached", "wc", "uc"];

/** All shapes of a size, with clean pages kept, without, or both. */
function shapesOf(pages: number, keeping: readonly boolean[]): Shape[] {
  const shapes = CACHINGS.flatMap((caching) =>
    [false, true].flatMap((dma) =>
      [false, true].flatMap((partly) =>
        keeping.map((keepClean) => ({ pages, caching, dma, partly, keepClean, on: PLAIN })),
      ),
    ),
  );
  return shapes.filter(({ partly }) => !(partly && pages === 1));
}

/** Small ones with clean pages kept and without; of the others 531 pages without, 1100 with. */
const PLAIN_SHAPES = SIZES.flatMap((pages) =>
  shapesOf(pages, pages < 100 ? [false, true] : [pages > 1000]),
);

/** On the other grounds, where each step takes longer: each state once, of one chunk, of a few, and of single pages. */
const FEW: readonly Omit<Shape, "on">[] = [
  { pages: 1, caching: "cached", dma: false, partly: false, keepClean: true },
  { pages: 19, caching: "cached", dma: false, partly: true, keepClean: false },
  { pages: 19, caching: "wc", dma: true, partly: false, keepClean: false },
  { pages: 19, caching: "uc", dma: true, partly: false, keepClean: true },
  { pages: 35, caching: "wc", dma: true, partly: true, keepClean: true },
];

export const SHAPES: readonly Shape[] = [
  ...PLAIN_SHAPES,
  ...OTHERS.flatMap((on) => FEW.map((shape) => ({ ...shape, on }))),
];

/** Those that a test can go through several times for each of their pages. */
export const SMALLER_SHAPES: readonly Shape[] = SHAPES.filter(({ pages }) => pages < 1000);

/** For `test.each`. */
export const TITLE =
  "$pages pages, $caching, dma: $dma, partly: $partly, clean pages kept: $keepClean, on $on" as const;

/** Sizes of a memory (pages): with trims as small as can be, since each looks at all of it. */
function sizesOf({ on }: Shape): { readonly frames: number; readonly slots: number } {
  return GROUNDS[on]?.trims ? { frames: 256, slots: 96 } : { frames: 2048, slots: 1536 };
}

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
  readonly trims: Trims | undefined;
  tt: Tt;

  /** @param content whether its content matters: a test of metadata is faster without */
  constructor(shape: Shape, content = true) {
    const { pages, keepClean, on } = shape;
    const ground = GROUNDS[on] as Ground;
    const { frames, slots } = sizesOf(shape);
    this.shape = shape;
    this.swap = ground.swap(slots, content);
    this.device = createDeviceSync({
      memory: frames * PAGE_SIZE,
      swap: this.swap,
      transferPages: 1,
      keepClean,
      checksums: content,
    });
    this.global = this.device.global;
    this.pool = new Pool(this.global);
    const patternOf = on === PLAIN ? pattern : mixedPattern;
    this.bytes = content ? patternOf(pages, pages * PAGE_SIZE) : new Uint8Array(0);
    if (ground.trims) this.trims = this.#trimsBy(ground.trims);
    this.tt = this.#newTt();
  }

  #trimsBy(means: TrimMeans): Trims {
    const trims = new Trims(this.device, means);
    trims.soil();
    this.swap.during = () => trims.now();
    return trims;
  }

  /** Does one step, after which a trim comes, whatever came of it. */
  step<T>(work: () => T): T {
    return stepWith(this.trims, work);
  }

  /** Populates or restores the tt, as one step. */
  populateTt(context?: OperationContext): void {
    this.step(() => populateTtSync(this.pool, this.tt, context));
  }

  /** Shrinks the tt, as one step. Returns pages released. */
  shrinkTt(options?: ShrinkTtOptions): number {
    return this.step(() => shrinkTtSync(this.pool, this.tt, options));
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
    this.fast(() => this.populateTt());
    this.step(() => {
      if (this.bytes.length > 0) writeContent(this.pool, this.tt, this.bytes);
      else this.#mark();
    });
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
    const released = shape.partly ? this.shrinkTt({ signal }) : this.fast(() => this.shrinkTt());
    if (released !== leaving) throw new Error(`${released} pages left, not ${leaving}`);
  }

  /** Shrinks a tt that was shrunken as its shape says, and then restored, in the same way. */
  shrinkAgain(): void {
    const { leaving } = this;
    const released = this.fast(() => this.shrinkTt({ pages: leaving }));
    if (released !== leaving) throw new Error(`${released} pages left again, not ${leaving}`);
  }

  /** Restores the tt without any trouble. */
  restore(): void {
    this.fast(() => this.populateTt());
  }

  /** Destroys the tt, and expects that nothing is left of it; another one takes its place. */
  replace(): void {
    const { resident } = this.tt;
    const freed = this.step(() => finiTt(this.pool, this.tt));
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
    const tt = new Tt(pages, { caching, dma, id: 7 });
    // As those of buffers, for nobody has views on it while it is moved.
    tt.evictable = this.trims !== undefined;
    return tt;
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
