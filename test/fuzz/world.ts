/*
 * A device on which anything is done, and what has to hold all the same. Buffers are of two kinds: the content of
 * kept ones is known, since only what cannot change it is done to them; of loose ones each byte that is not 0 is
 * the buffer's own mark, whatever has become of them. Code of the user's (`poke`: getters, traces, devices,
 * listeners) throws, and does more of the same.
 */
import {
  type BufferObject,
  createDevice,
  type Device,
  type Mapping,
  PAGE_SIZE,
  ramSwap,
  type SwapDevice,
} from "../../src/index.ts";
import { encryptedSwap } from "../../src/swap/encrypted.ts";
import { type ScriptedAnswer, type ScriptedSwap, scriptedSwap } from "../../src/testing.ts";
import { FAULT_SITES, finiTt, type Tt } from "../../src/ttm.ts";
import { expectSame, pattern } from "../support/bytes.ts";
import { expectRest } from "../support/crowd.ts";
import { turn, until } from "../support/delays.ts";
import { systemError } from "../support/errors.ts";
import { MapSwap } from "../support/map_swap.ts";
import type { Random } from "../support/random.ts";
import { judge } from "./judge.ts";
import { Mine, oddValue, plainOf } from "./odd_values.ts";

/** Where pages go, and whether Sync calls find it. */
const SWAPS = ["ram", "sync", "async", "both", "first", "first async"] as const;
/** Of a hundred devices so many are encrypted. */
const ENCRYPTED = 15;

export interface Kept {
  readonly bo: BufferObject;
  seed: number;
}

export interface Loose {
  readonly bo: BufferObject;
  readonly mark: number;
}

/** What was called, and what has come of it so far. */
interface Tracked {
  readonly what: string;
  readonly promise: Promise<void>;
}

/** Most levels of calls within calls. */
const DEPTH_MAX = 3;

export class World {
  readonly random: Random;
  readonly device: Device;
  readonly swap: ScriptedSwap | MapSwap | undefined;
  /** Whether Sync calls may use the swap device. */
  readonly sync: boolean;
  readonly kept: Kept[] = [];
  loose: Loose[] = [];
  readonly mappings: Mapping[] = [];
  /** Of the kernel's layer, to be ended. */
  readonly tts: Tt[] = [];
  /** What spoils bytes that somebody may wait for, aborts signals, and lets devices answer. */
  readonly later: (() => void)[] = [];
  /** Whether code of the user's does anything but what it should. */
  hostile = true;
  /** The last calls, for a message. */
  readonly log: string[] = [];
  /** What is done by `poke`. */
  act: () => void = () => {};
  /** Calls of what is beside the device and its buffers. */
  more: () => void = () => {};
  readonly #tracked = new Set<Tracked>();
  #failure: unknown;
  #depth = 0;
  #marks = 0;

  static async open(random: Random): Promise<World> {
    const kind = random.pick(SWAPS);
    const slots = random.pick([96, 256, 1024]);
    const memory = random.pick([16, 24, 64]);
    let world: World | undefined;
    const swap = swapOf(kind, slots, (call) => world?.answer(call));
    const plain = swap ?? ramSwap({ size: slots * PAGE_SIZE });
    const device = await createDevice({
      memory: memory * PAGE_SIZE,
      swap: random.percent(ENCRYPTED) ? encryptedSwap(plain) : plain,
      transferPages: random.pick([1, 7, 256]),
      checksums: random.percent(50),
      keepClean: random.percent(70),
      ...(random.percent(30) && { watermarks: { min: 1, low: 3, high: 6 } }),
    });
    const sync = kind !== "async" && kind !== "first async";
    world = new World(random, device, swap as World["swap"], sync);
    for (const pages of [1, 3, random.pick([9, 20]), random.pick([4, 33])]) {
      const size = pages * PAGE_SIZE - random.pick([0, 1, 4000]);
      const bo = device.createBuffer(size, { priority: random.below(4) });
      world.kept.push({ bo, seed: random.next() });
    }
    await world.writeKept();
    return world;
  }

  private constructor(random: Random, device: Device, swap: World["swap"], sync: boolean) {
    this.random = random;
    this.device = device;
    this.swap = swap;
    this.sync = sync;
  }

  /** What the user's code does when it is called: nothing, something else, or throw. */
  readonly poke = (): void => {
    if (!this.hostile || this.#depth >= DEPTH_MAX || this.random.percent(60)) return;
    if (this.random.percent(15)) throw new Mine("a poke");
    this.act();
  };

  /** What a scripted device makes of a call. */
  answer(call: { readonly kind: string; readonly sync: boolean }): ScriptedAnswer | undefined {
    if (!this.hostile) return undefined;
    this.poke();
    const { random } = this;
    const dice = random.below(100);
    if (dice < 6) return { error: random.pick([systemError("EIO"), new Mine("device")]) };
    if (dice < 8) return { error: oddValue(random, this.poke) };
    if (dice < 12 && call.kind === "write") return { take: random.below(3) };
    if (call.sync || dice < 50) return undefined;
    if (dice < 90) return { wait: random.below(3), heeds: random.percent(50) };
    return { wait: new Promise<void>((resolve) => this.later.push(resolve)), heeds: dice < 95 };
  }

  /** Calls something, whatever comes of it; a promise is tracked. Returns what it returned at once. */
  call(what: string, work: () => unknown, foreign = false): unknown {
    this.log.push(`${">".repeat(this.#depth)}${what}`);
    if (this.log.length > 60) this.log.shift();
    this.#depth++;
    try {
      const value = work();
      if (value instanceof Promise) this.track(what, value, foreign);
      return value;
    } catch (error) {
      this.#judge(what, error, foreign);
      return undefined;
    } finally {
      this.#depth--;
    }
  }

  track(what: string, value: Promise<unknown>, foreign = false): void {
    const over = () => {
      this.#tracked.delete(tracked);
    };
    const promise = value.then(over, (error: unknown) => {
      over();
      this.#judge(what, error, foreign);
    });
    const tracked = { what, promise };
    this.#tracked.add(tracked);
  }

  #judge(what: string, error: unknown, foreign: boolean): void {
    try {
      judge(error, foreign);
    } catch (complaint) {
      this.fail(new Error(`${what}: ${(complaint as Error).message}`, { cause: error }));
    }
  }

  /** Notes what must not be, wherever that was noticed. */
  fail(failure: unknown): void {
    this.#failure ??= failure;
  }

  addLoose(bo: BufferObject, mark: number = this.nextMark()): void {
    this.loose.push({ bo, mark });
  }

  nextMark(): number {
    return (this.#marks++ % 250) + 1;
  }

  /** One of what was put off: somebody's bytes go, a signal is aborted, a device answers. */
  disturb(): void {
    const [work] = this.later.splice(this.random.below(this.later.length), 1);
    if (work) this.call("a disturbance", work, true);
  }

  /** @throws Error when something has gone wrong so far */
  assertFine(): void {
    if (this.#failure) throw this.#failure;
    if (this.swap?.broken !== undefined) throw new Error(`a rule was broken: ${this.swap.broken}`);
  }

  /** Has all that is under way come to its end, with nobody hostile any more. @throws Error if it does not */
  async settle(): Promise<void> {
    this.hostile = false;
    this.device.trace = undefined;
    for (const site of FAULT_SITES) this.device.injectFault(site, {});
    while (this.later.length > 0) this.disturb();
    for (const { what, promise } of [...this.#tracked]) {
      await ends(what, promise);
    }
    while (this.later.length > 0) this.disturb();
    await turn();
    this.assertFine();
  }

  /** @throws Error unless the device is as good as new: all its bytes are there, and it works */
  async assertGood(): Promise<void> {
    const { device, kept, random } = this;
    for (const mapping of this.mappings.splice(0)) mapping.unmap();
    for (const tt of this.tts.splice(0)) finiTt(device.pool, tt);
    // Of what is not pinned by any call that came to its end, this fails.
    for (const { bo } of [...kept, ...this.loose]) while (bo.pinned) bo.unpin();
    device.check();
    for (const { bo, seed } of kept) {
      const bytes = await ends("a read of all", bo.read(0, new Uint8Array(bo.size)));
      expectSame(bytes, pattern(seed, bo.size), `kept buffer ${bo.id}`);
    }
    await this.#assertMarks();
    for (const one of kept) one.seed = random.next();
    await this.writeKept();
    device.check();
    expectRest(device);
    this.hostile = true;
  }

  /** Writes to kept buffers what they are to hold, and reads a part of it back. */
  async writeKept(): Promise<void> {
    const { hostile } = this;
    this.hostile = false;
    for (const { bo, seed } of this.kept)
      await ends("a write", bo.write(0, pattern(seed, bo.size)));
    for (const { bo, seed } of this.kept) {
      const at = this.random.below(bo.size);
      const bytes = await ends("a read", bo.read(at, new Uint8Array(bo.size - at)));
      expectSame(bytes, pattern(seed, bo.size).subarray(at), `kept buffer ${bo.id}, written anew`);
    }
    this.hostile = hostile;
  }

  async #assertMarks(): Promise<void> {
    this.loose = this.loose.filter(({ bo }) => !bo.destroyed);
    for (const { bo, mark } of this.loose) {
      const bytes = await ends("a read of marks", bo.read(0, new Uint8Array(bo.size)));
      this.expectMarks(bytes, mark, `loose buffer ${bo.id}`);
    }
    while (this.loose.length > 3) this.loose.shift()?.bo.destroy();
  }

  /** Bytes of a loose buffer are its own, or zeros. */
  expectMarks(value: unknown, mark: number, what: string): void {
    const odd = plainOf(value)?.find((byte) => byte !== 0 && byte !== mark);
    if (odd !== undefined) this.fail(new Error(`${what} has a byte ${odd}, its mark is ${mark}`));
  }

  /** Closes the device, with all at rest. @throws Error when something is left */
  async close(): Promise<void> {
    const { device } = this;
    this.hostile = false;
    for (const { bo } of [...this.kept, ...this.loose]) bo.destroy();
    device.check();
    // The background loop may be moving some of their pages: it frees them.
    await until(() => {
      const { pages, slots } = device.stats();
      return pages.free + pages.pooled === pages.total && slots.free === slots.total;
    });
    device.check();
    await ends("a close", device.close());
    this.#assertClosed();
  }

  /** Closes the device in the middle of everything. @throws Error when that does not come to its end */
  async abandon(): Promise<void> {
    const closing = this.device.close({ force: true });
    // A device that never answers is given up in the middle of its call: other tests are about that.
    this.hostile = false;
    while (this.later.length > 0) this.disturb();
    await ends("a close by force", closing);
    await this.settleClosed();
    this.#assertClosed();
  }

  async settleClosed(): Promise<void> {
    this.hostile = false;
    while (this.later.length > 0) this.disturb();
    for (const { what, promise } of [...this.#tracked]) {
      await ends(`${what}, of a closed device,`, promise);
    }
    this.assertFine();
  }

  #assertClosed(): void {
    const { swap, device } = this;
    if (!device.closed) throw new Error("it is not closed");
    if (swap && swap.closed !== 1)
      throw new Error(`the swap device was closed ${swap.closed} times`);
  }
}

/** A close of the store itself is waited for as long as it takes: nothing of it is to stay. */
class FirstEdition extends MapSwap {
  override close(): void {
    this.closed++;
  }
}

/** @throws Error when `running` takes more turns of the event loop than anything may */
async function ends<T>(what: string, running: Promise<T>): Promise<T> {
  let over = false;
  const done = () => {
    over = true;
  };
  running.then(done, done);
  try {
    await until(() => over);
  } catch {
    throw new Error(`${what} never settled`);
  }
  return running;
}

function swapOf(
  kind: (typeof SWAPS)[number],
  slots: number,
  script: (call: { readonly kind: string; readonly sync: boolean }) => ScriptedAnswer | undefined,
): SwapDevice | undefined {
  if (kind === "ram") return undefined;
  if (kind === "sync" || kind === "async" || kind === "both") {
    return scriptedSwap({ slots, pairs: kind, queueDepth: 3, script });
  }
  const wait = async () => {
    const answer = script({ kind: "read", sync: false });
    if (typeof answer?.wait === "number") await new Promise((go) => setTimeout(go, 1));
    else await answer?.wait;
  };
  const swap = new FirstEdition({ slots, ...(kind === "first async" && { delay: wait }) });
  swap.before = () => {
    const answer = script({ kind: "read", sync: true });
    if (answer?.error !== undefined) throw answer.error;
  };
  return swap;
}
