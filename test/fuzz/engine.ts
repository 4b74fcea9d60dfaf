/*
 * The raw exports, in the hands of a host that makes sense and one that does not, in turns. What makes sense are
 * fills and shrinks of vectors whose content is known; between any two steps of these comes a call with random
 * integers, on an exchange area full of noise, and is taken back. No call traps in a release build, writes outside
 * of what is laid out, breaks an invariant, or, when it is refused, changes anything.
 */
import { Buffer } from "node:buffer";
import * as abi from "../../assembly/abi.ts";
import {
  abortOf,
  DEBUGGING,
  EngineUnderTest,
  equal,
  how,
  must,
  U32_MAX,
  WASM_PAGE,
} from "../assembly/engine_under_test.ts";
import { fillAll, mustHaveStamps, shrinkAll, stampVector } from "../assembly/page_content.ts";
import type { Random } from "../support/random.ts";

/** Wasm pages behind all that is laid out. */
const GUARD_PAGES = 2;
const GUARD = 0x5a;
const WHOLE: Uint8Array = new Uint8Array((GUARD_PAGES + 1) * WASM_PAGE).fill(GUARD);

type Call = (...args: number[]) => number;

/** Results that are numbers of 32 bits and no refusals, even when they look negative. */
const UNSIGNED: ReadonlySet<string> = new Set(["memoryPages", "pageChecksum", "slotsFree"]);

interface Content {
  readonly vector: number;
  readonly entries: number;
  stamps: number[];
}

class Engine extends EngineUnderTest {
  readonly functions: readonly (readonly [string, Call])[];
  /** Bytes that nobody has to write to, by where they begin and end. */
  readonly #guards: readonly (readonly [from: number, to: number])[];

  constructor(random: Random) {
    const frames = 1 + random.below(random.pick([4, 40]));
    const zone = random.percent(20) ? 0 : frames;
    super({
      frames,
      slots: 1 + random.below(random.pick([3, 70])),
      entries: frames + random.below(90),
      ram: true,
      dma32: zone,
      guardPages: GUARD_PAGES,
    });
    this.functions = Object.entries(this.wasm).filter(
      (entry): entry is [string, Call] => typeof entry[1] === "function",
    );
    const end = this.header(abi.H_END);
    const sums = this.header(abi.H_SUM) + this.sizes.entries * abi.ENTRY_BYTES;
    this.#guards = [
      [0, abi.HEADER],
      [abi.HEADER + abi.HEADER_WORDS * 4, 8192],
      [abi.EXTENTS + abi.EXTENTS_MAX * abi.EXTENT_BYTES, abi.SUM_KEY],
      [sums, this.firstPfn * abi.PAGE_SIZE],
      [end, this.bytes.length],
    ];
    for (const [from, to] of this.#guards) this.bytes.fill(GUARD, from, Math.max(from, to));
  }

  /** @throws Error when something was written to where nothing lies */
  mustBeInside(what: string): void {
    for (const [from, to] of this.#guards) {
      const guard = this.bytes.subarray(from, to);
      if (Buffer.compare(guard, WHOLE.subarray(0, guard.length)) === 0) continue;
      const at = from + guard.findIndex((byte) => byte !== GUARD);
      throw new Error(`${what} wrote to byte ${at}, outside of all that is laid out`);
    }
  }
}

/** An integer as a caller might take it for something: small, a page, an entry, at an edge of 32 bits, or any. */
function integer(random: Random, e: Engine): number {
  switch (random.below(8)) {
    case 0:
    case 1:
      return random.below(8);
    case 2:
      return random.below(e.sizes.entries + 3);
    case 3:
      return e.firstPfn + random.below(e.sizes.frames + 2) - 1;
    case 4:
      return random.pick([U32_MAX, 2 ** 31, 2 ** 31 - 1, -1, 2 ** 30, 2 ** 16, 4096, 512, 1024]);
    case 5:
      return random.next();
    case 6:
      return random.below(e.sizes.slots + 3);
    default:
      return how({ type: random.below(5) - 1, orders: [0, random.below(10)] });
  }
}

/** Fills the exchange area with what no host would put there; some of it nearly makes sense. */
function noise(random: Random, e: Engine, vectors: readonly Content[]): void {
  for (const area of [abi.ITEMS / 4, abi.EXTENTS / 4]) {
    for (let i = 0; i < 40; i++) e.words[area + i] = integer(random, e);
  }
  if (vectors.length === 0 || random.percent(30)) return;
  e.putItems(
    Array.from({ length: 4 }, () => {
      const { vector, entries } = random.pick(vectors);
      return { vector, entries, start: random.below(entries) };
    }),
  );
}

/** Arguments of which the first ones often name a vector that is there, and the others lie within it. */
function argumentsOf(
  random: Random,
  e: Engine,
  name: string,
  length: number,
  vectors: readonly Content[],
): number[] {
  const any = () => integer(random, e);
  const args = Array.from({ length }, any);
  if (vectors.length === 0 || random.percent(25)) return args;
  const { vector, entries } = random.pick(vectors);
  const within = () => (random.percent(15) ? any() : random.below(entries + 1));
  if (/^(vector|fill|shrinkSaved)/.test(name)) {
    return args.map((each, i) => [vector, entries][i] ?? (i === 5 ? each : within()));
  }
  if (/^entries/.test(name)) return [vector + within(), within(), random.below(20)];
  if (/^shrink/.test(name)) return [random.below(5), random.percent(50) ? within() : 1024];
  return args;
}

/** A few calls that make no sense, one after the other; then all is as it was before. */
function hostile(random: Random, e: Engine, vectors: readonly Content[]): string {
  const back = e.snapshot();
  const calls: string[] = [];
  noise(random, e, vectors);
  for (let i = 1 + random.below(4); i > 0; i--) {
    const [name, call] = random.pick(e.functions);
    const args = argumentsOf(random, e, name, call.length, vectors);
    calls.push(`${name}(${args.join(", ")})`);
    try {
      hostileCall(e, name, () => call(...args));
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`${calls.join("; ")}: ${text}`, { cause });
    }
  }
  back();
  return calls.join("; ");
}

function hostileCall(e: Engine, name: string, call: () => number): void {
  const [state, content] = [e.stateHash(), e.contentHash()];
  const before = DEBUGGING ? e.snapshot() : undefined;
  let result = 0;
  const abort = abortOf(() => {
    result = call();
  });
  if (abort !== undefined) {
    // A debug build says what no host may do, and does not go on.
    must(abort.startsWith("abort: host: "), abort);
    before?.();
    return;
  }
  must(Number.isInteger(result), `it returned ${result}`);
  // Frames that were named for being given back are zeros then, as a host makes them.
  if (name === "trimRun" && result >= 0) e.releaseExtents();
  if (result < 0 && !UNSIGNED.has(name)) {
    equal(e.stateHash(), state, `state after it was refused (${result})`);
    equal(e.contentHash(), content, `content after it was refused (${result})`);
  }
  e.mustHold("it");
  e.mustBeInside("it");
}

/** Runs a program of so many steps on an engine of random sizes. */
export function runProgram(random: Random, steps: number): void {
  const e = new Engine(random);
  const vectors: Content[] = [];
  let last = "nothing";
  const sensible: readonly (() => string)[] = [
    () => {
      const entries = 1 + random.below(Math.min(20, e.sizes.frames));
      const vector = e.wasm.vectorAlloc(entries);
      if (vector >= 0) vectors.push({ vector, entries, stamps: new Array(entries).fill(0) });
      return `vectorAlloc(${entries})`;
    },
    () => {
      const v = random.pick(vectors);
      const missing = e.wasm.entriesCount(v.vector, v.entries, abi.KINDS - abi.KIND_PAGE);
      if (missing > e.freePages) return "no room to fill";
      const before = v.stamps;
      fillAll(e, v, { keep: random.percent(50), budget: 1 + random.below(30) });
      mustHaveStamps(e, v, before);
      return "a fill";
    },
    () => {
      const v = random.pick(vectors);
      if (e.wasm.entriesCount(v.vector, v.entries, abi.KIND_PAGE) !== v.entries) return "-";
      equal(e.wasm.vectorDirty(v.vector, v.entries, 0, v.entries, 0) >= 0, true, "vectorDirty");
      v.stamps = stampVector(e, v, random.next());
      return "a write";
    },
    () => {
      const v = random.pick(vectors);
      if (e.freeSlots < v.entries) return "no room to shrink";
      shrinkAll(e, [v]);
      return "a shrink";
    },
    () => {
      if (random.percent(70)) return "-";
      const [v] = vectors.splice(random.below(vectors.length), 1) as [Content];
      must(e.wasm.vectorDrop(v.vector, v.entries, 0) >= 0, "vectorDrop");
      equal(e.wasm.vectorFree(v.vector, v.entries), 0, "vectorFree");
      return "a drop";
    },
  ];
  for (let step = 0; step < steps; step++) {
    try {
      last = random.percent(60) ? hostile(random, e, vectors) : doIt();
    } catch (cause) {
      const text = cause instanceof Error ? cause.message : String(cause);
      throw new Error(`step ${step} (after ${last}): ${text}`, { cause });
    }
  }
  for (const v of vectors) mustHaveStamps(e, v, v.stamps);

  function doIt(): string {
    const work = vectors.length === 0 ? sensible[0] : random.pick(sensible);
    const what = work?.() ?? "";
    e.mustHold(what);
    e.mustBeInside(what);
    return what;
  }
}
