/*
 * Many users of one pool at random, on a store that answers late, in any order, in part, wrongly or not at all. Each
 * has a buffer, or a tt of the kernel's layer, beside a plain copy of its bytes: they are always the same, errors have a
 * reason, the pool keeps the contract of swap devices, all calls come to an end, and nothing is left.
 */
import process from "node:process";
import { test } from "vitest";
import {
  type BufferObject,
  createDevice,
  type Device,
  type OperationOptions,
  PAGE_SIZE,
  TtmError,
} from "../../src/index.ts";
import {
  type ScriptedAnswer,
  type ScriptedCall,
  type ScriptedSwap,
  scriptedSwap,
} from "../../src/testing.ts";
import { FAULT_SITES, finiTt, Pool, populateTt, shrinkTt, swapoutTt, Tt } from "../../src/ttm.ts";
import { expectSame, pattern } from "../support/bytes.ts";
import { expectRest } from "../support/crowd.ts";
import { turn, until } from "../support/delays.ts";
import { systemError } from "../support/errors.ts";
import { type Random, seeded } from "../support/random.ts";
import { someTrim } from "../support/trims.ts";
import { expectContent as expectTt, writeContent } from "../ttm/support/subject.ts";

/** Operations in all. */
const OPS = Number(process.env.TTM_OPS ?? 6000);
/** Of one world. */
const WORLD_OPS = 600;

/** What may go wrong in a world, in per cent of the calls. */
interface Trouble {
  readonly eio: number;
  readonly full: number;
  readonly short: number;
  readonly never: number;
  readonly slow: number;
  readonly discards: number;
  readonly capacity: boolean;
  readonly faults: boolean;
}

interface World {
  readonly random: Random;
  readonly swap: ScriptedSwap;
  readonly device: Device;
  readonly pool: Pool;
  readonly trouble: Trouble;
  readonly sync: boolean;
  /** Operations that are still to be made. */
  left: number;
  mappedPages: number;
}

/** What never settles does when the world is calm again. */
class Silence {
  readonly #ends: (() => void)[] = [];

  wait(): Promise<void> {
    return new Promise((resolve) => this.#ends.push(resolve));
  }

  end(): void {
    for (const end of this.#ends.splice(0)) end();
  }
}

type Pairs = "sync" | "async" | "both";

function answer(
  random: Random,
  trouble: Trouble,
  pairs: Pairs,
  silence: Silence,
  call: ScriptedCall,
): ScriptedAnswer {
  const { kind, sync, pages } = call;
  const waits = (): { wait?: number | Promise<unknown>; heeds?: boolean } => {
    if (random.percent(trouble.never)) return { wait: silence.wait(), heeds: random.percent(30) };
    if (!random.percent(trouble.slow)) return {};
    return { wait: random.below(3), heeds: random.percent(20) };
  };
  if (kind === "discard") {
    const error = random.percent(20) ? { error: new Error("no") } : {};
    return random.percent(trouble.discards) ? { ...waits(), ...error } : error;
  }
  // A store of both pairs serves some slots slowly: Sync calls are told so.
  const wait = !sync
    ? waits()
    : pairs === "both" && random.percent(trouble.slow)
      ? { wait: 0 }
      : {};
  if (random.percent(trouble.eio)) return { ...wait, error: systemError("EIO") };
  if (kind === "read") return wait;
  if (random.percent(trouble.full)) return { ...wait, error: systemError("ENOSPC") };
  if (random.percent(trouble.short)) {
    const take = random.pick([0, 1, pages >>> 1, pages - 1]);
    const why = random.pick(["ENOSPC", "EIO", ""]);
    return { ...wait, take, ...(why ? { error: systemError(why) } : {}) };
  }
  return wait;
}

function troubleOf(random: Random): Trouble {
  const calm = random.percent(20);
  const some = (most: number) => (!calm && random.percent(40) ? random.below(most + 1) : 0);
  return {
    eio: some(20),
    full: some(20),
    short: some(40),
    never: !calm && random.percent(25) ? random.below(10) : 0,
    slow: random.pick([0, 50, 100]),
    discards: random.pick([0, 100]),
    capacity: !calm && random.percent(40),
    faults: !calm && random.percent(20),
  };
}

/** Who uses one buffer, or one tt, call by call. */
interface User {
  act(world: World, signal: AbortSignal | undefined): Promise<void>;
  /** Compares its bytes, with nobody else at work. */
  check(world: World): Promise<void>;
  end(world: World): void;
}

class BufferUser implements User {
  readonly bo: BufferObject;
  readonly bytes: Uint8Array;

  constructor({ random }: World, device: Device, pages: number) {
    this.bo = device.createBuffer(pages * PAGE_SIZE - random.below(PAGE_SIZE), {
      priority: random.below(4),
      dma: random.percent(10),
      caching: random.pick(["cached", "cached", "wc", "uc"]),
    });
    this.bytes = new Uint8Array(this.bo.size);
  }

  async act(world: World, signal: AbortSignal | undefined): Promise<void> {
    const { random, device } = world;
    const { bo, bytes } = this;
    const from = random.percent(40) ? 0 : random.below(bo.size);
    const length = random.percent(40) ? bo.size - from : random.below(bo.size - from) + 1;
    const sync = world.sync && random.percent(30);
    const options = { signal };
    switch (random.below(11)) {
      case 0:
      case 1:
      case 2: {
        const source = pattern(random.next(), length);
        if (sync) bo.writeSync(from, source, options);
        else await bo.write(from, source, options);
        bytes.set(source, from);
        return;
      }
      case 3:
      case 4:
      case 5: {
        const target = new Uint8Array(length);
        if (sync) bo.readSync(from, target, options);
        else await bo.read(from, target, options);
        expectSame(target, bytes.subarray(from, from + length), `buffer ${bo.id} at ${from}`);
        return;
      }
      case 6:
        if (sync) bo.shrinkSync(options);
        else await bo.shrink(options);
        return;
      case 7:
        await this.#map(world, sync, options);
        return;
      case 8:
        await bo.populate(options);
        return;
      case 9:
        bo.advise("dontneed");
        for (let i = random.below(5); i > 0; i--) await turn();
        if (!bo.advise("willneed")) bytes.fill(0);
        return;
      default: {
        const pages = random.below(60) + 1;
        if (sync) device.shrinkSync({ pages, signal });
        else await device.shrink({ pages, signal });
      }
    }
  }

  /** Maps it for a moment; what all have mapped is a part of the memory, since nobody else can have that. */
  async #map(world: World, sync: boolean, options: OperationOptions): Promise<void> {
    const { bo, bytes } = this;
    const pages = Math.ceil(bo.size / PAGE_SIZE);
    const { total } = world.device.stats().pages;
    if (world.mappedPages + pages > total >>> 2) return;
    world.mappedPages += pages;
    try {
      const mapping = sync ? bo.mapSync(options) : await bo.map(options);
      let at = 0;
      for (const segment of mapping.segments) {
        expectSame(segment, bytes.subarray(at, at + segment.length), `mapping of ${bo.id}`);
        segment[0] = bytes[at] = world.random.below(256);
        at += segment.length;
      }
      mapping.unmap();
    } finally {
      world.mappedPages -= pages;
    }
  }

  async check(): Promise<void> {
    expectSame(
      await this.bo.read(0, new Uint8Array(this.bo.size)),
      this.bytes,
      `buffer ${this.bo.id}`,
    );
  }

  end(): void {
    this.bo.destroy();
  }
}

class TtUser implements User {
  readonly tt: Tt;
  bytes: Uint8Array | undefined;

  constructor({ random }: World, pages: number) {
    this.tt = new Tt(pages, { dma: random.percent(30) });
  }

  async act({ random, pool, device }: World, signal: AbortSignal | undefined): Promise<void> {
    const { tt } = this;
    const context = signal ? { signal } : {};
    const size = tt.numPages * PAGE_SIZE;
    switch (random.below(4)) {
      case 0:
      case 1:
        await populateTt(pool, tt, context);
        // It can only be looked at until others run again.
        if (this.bytes) expectTt(device.global, tt, this.bytes);
        this.bytes = pattern(random.next(), size);
        writeContent(pool, tt, this.bytes);
        return;
      case 2:
        await shrinkTt(pool, tt, { ...context, pages: random.below(tt.numPages) + 1 });
        return;
      default:
        await swapoutTt(pool, tt, context);
    }
  }

  async check({ pool, device }: World): Promise<void> {
    await populateTt(pool, this.tt);
    if (this.bytes) expectTt(device.global, this.tt, this.bytes);
    await shrinkTt(pool, this.tt);
  }

  end({ pool }: World): void {
    finiTt(pool, this.tt);
  }
}

/** @throws Error when there is no reason for an error */
function judge(error: unknown, world: World, signal: AbortSignal | undefined): void {
  const { trouble, swap } = world;
  const { eio, full, short, capacity, faults, never } = trouble;
  const reasons: Record<string, boolean> = {
    EINTR: signal?.aborted === true,
    EIO: eio > 0 || short > 0 || faults,
    ENOSPC: full > 0 || short > 0 || capacity || faults,
    // Calls that never settle keep their frames.
    ENOMEM: faults || never > 0,
    EFAULT: faults,
    EWOULDBLOCK: true,
    EBUSY: true,
  };
  if (swap.broken === undefined && error instanceof TtmError && reasons[error.code]) {
    if (!/engine refused|rule of swap/.test(error.message)) return;
  }
  throw new Error(`no reason for ${error}; ${JSON.stringify(stateOf(world))}`, { cause: error });
}

async function use(world: World, user: User): Promise<void> {
  const { random, device, trouble, swap } = world;
  while (world.left-- > 0) {
    const aborts = trouble.never > 0 || random.percent(15);
    const abort = aborts ? new AbortController() : undefined;
    const timer = abort && setTimeout(() => abort.abort("enough"), random.below(8));
    try {
      await user.act(world, abort?.signal);
    } catch (error) {
      judge(error, world, abort?.signal);
    } finally {
      clearTimeout(timer);
    }
    device.check();
    if (swap.broken !== undefined) throw new Error(swap.broken);
    if (random.percent(30)) await turn();
  }
}

/** What else happens: a store that gets room and loses it, faults, hibernation, trims. */
async function disturb(world: World): Promise<void> {
  const { random, device, trouble, swap } = world;
  while (world.left > 0) {
    if (trouble.capacity) swap.capacity = random.below(swap.slots + 1);
    if (trouble.faults) {
      const site = random.pick(FAULT_SITES);
      const probability = random.pick([0, 30]);
      device.injectFault(site, { probability, times: -1, seed: random.next() });
    }
    if (random.percent(10)) {
      const abort = AbortSignal.timeout(5);
      await device.hibernate({ signal: abort }).catch((error) => judge(error, world, abort));
      await device.resume({ signal: abort }).catch((error) => judge(error, world, abort));
    }
    if (random.percent(15)) await device.trim(someTrim(random));
    if (random.percent(15)) device.trimSync(someTrim(random));
    for (let i = random.below(6); i >= 0; i--) await turn();
  }
}

async function worldOf(random: Random, trouble: Trouble, silence: Silence): Promise<World> {
  const frames = random.pick([32, 64, 256, 700]);
  const pairs: Pairs = random.pick(["sync", "async", "async", "both"]);
  const slots = frames * 4;
  const swap = scriptedSwap({
    slots,
    pairs,
    queueDepth: 1 + random.below(8),
    discards: random.percent(80),
    script: (call) => answer(random, trouble, pairs, silence, call),
  });
  const high = frames >>> 2;
  const device = await createDevice({
    memory: frames * PAGE_SIZE,
    swap,
    transferPages: random.pick([1, 3, 8, 64, 256]),
    keepClean: random.percent(70),
    checksums: random.percent(70),
    ...(random.percent(30) ? { watermarks: { min: 1, low: high >>> 1, high } } : {}),
  });
  const pool = new Pool(device.global);
  return {
    random,
    swap,
    device,
    pool,
    trouble,
    sync: pairs !== "async",
    left: WORLD_OPS,
    mappedPages: 0,
  };
}

/** All of them together fit into swap. */
function usersOf(world: World, coherent: Device): User[] {
  const { random, device } = world;
  const { total } = device.stats().pages;
  const users: User[] = [];
  const most = random.pick([2, 8, total >>> 2]);
  let staying = total >>> 2;
  for (let pages = 0; pages < total * 3 && users.length < 200; ) {
    const size = 1 + random.below(most);
    pages += size;
    // Nobody but who has a tt can give up its pages, and those for coherent DMA stay: they are a part of the memory.
    const stays = size <= staying && random.percent(20);
    if (stays) staying -= size;
    if (stays && random.percent(60)) users.push(new TtUser(world, size));
    else users.push(new BufferUser(world, stays ? coherent : device, size));
  }
  return users;
}

/** @throws Error when one of them fails, or nothing goes on for many turns of the event loop */
async function endOf(world: World, running: readonly Promise<void>[]): Promise<void> {
  const all = Promise.all(running);
  let over = false;
  const ended = () => {
    over = true;
  };
  all.then(ended, ended);
  for (let quiet = 0, { left } = world; !over; quiet++) {
    await turn();
    if (world.left !== left) quiet = 0;
    left = world.left;
    if (quiet > 3000) throw new Error(`users are stuck: ${JSON.stringify(stateOf(world))}`);
  }
  await all;
}

async function live(random: Random): Promise<void> {
  const silence = new Silence();
  const world = await worldOf(random, troubleOf(random), silence);
  const { device, swap, pool } = world;
  const coherent = device.createSibling({ coherent: true });
  const users = usersOf(world, coherent);
  await endOf(world, [disturb(world), ...users.map((user) => use(world, user))]);
  // From now on all is well, and what was lost would be missed.
  swap.script = undefined;
  swap.capacity = swap.slots;
  silence.end();
  for (const site of FAULT_SITES) device.injectFault(site, { probability: 0 });
  await until(() => device.global.tasks.size === 0 && !device.kswapd.running);
  expectRest(device);
  device.check();
  await Promise.all(users.map((user) => user.check(world)));
  for (const user of users) user.end(world);
  pool.close();
  await coherent.close();
  expectNothing(device);
  await device.close();
  if (swap.broken !== undefined) throw new Error(swap.broken);
  if (swap.pages.size > 0) throw new Error("pages are left in the store");
}

/** @throws Error when a page or a slot is not free; pages of other cachings are in pools */
function expectNothing(device: Device): void {
  device.check();
  const { pages, slots } = device.stats();
  if (pages.free + pages.pooled !== pages.total) throw new Error("pages leaked");
  if (slots.free !== slots.total) throw new Error("slots leaked");
}

function stateOf({ device, swap, trouble, left }: World): object {
  const { admission, frames, tasks } = device.global;
  return {
    left,
    trouble,
    pages: device.stats().pages,
    slots: device.stats().slots,
    tasks: tasks.size,
    inside: admission.inside,
    claimed: frames.claimed,
    stuck: frames.stuck,
    transits: frames.transits.count,
    waiting: frames.transits.queue.first !== undefined,
    pairs: [swap.readSync !== undefined, swap.read !== undefined],
    queueDepth: swap.queueDepth,
  };
}

test("users of a pool on a store that misbehaves lose nothing, and the pool keeps the rules", async () => {
  await seeded(async (random) => {
    for (let ops = 0; ops < OPS; ops += WORLD_OPS) await live(random);
  });
}, 0);
