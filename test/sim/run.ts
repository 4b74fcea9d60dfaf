/* One run: the operations of a plan, one after the other and side by side, and what has to hold meanwhile. */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { ACTS } from "./acts.ts";
import { Mismatch } from "./content.ts";
import { isExplained } from "./explain.ts";
import { checkAll, checkQuiet, checkWork } from "./invariants.ts";
import type { Library } from "./library.ts";
import type { Op, Plan } from "./plan.ts";
import { probe } from "./probes/index.ts";
import { SimSignal } from "./signal.ts";
import type { Subject } from "./subject.ts";
import { type Counts, type Doing, Failure, type Running, World } from "./world.ts";

/** What came of a run. */
export interface Result {
  readonly counts: Counts;
  readonly codes: Readonly<Record<string, number>>;
  readonly failure: { readonly message: string; readonly index: number } | undefined;
}

/** Who is told of every operation. */
type Log = (line: string) => void;

/** Runs the operations of `plan`. */
export async function run(plan: Plan, library: Library, log?: Log): Promise<Result> {
  const world = new World(plan, library);
  let index = -1;
  let failure: Result["failure"];
  try {
    await probe(plan.seed, library, world.clock);
    for (const op of plan.ops) {
      index++;
      await step(world, op, index, log);
    }
    index = plan.ops.length;
    await end(world);
  } catch (error) {
    const seen = world.failure ?? error;
    const text = seen instanceof Error ? (seen.stack ?? seen.message) : String(seen);
    failure = { message: text, index };
    await abandon(world);
  }
  const { counts, swap, clock } = world;
  counts.events = clock.events;
  counts.calls = swap?.calls ?? 0;
  counts.pages = swap?.pagesMoved ?? 0;
  Object.assign(counts.faults, swap?.happened);
  return { counts, codes: world.codes, failure };
}

async function step(world: World, op: Op, index: number, log: Log | undefined): Promise<void> {
  const { plan, clock, counts } = world;
  await world.atMost(plan.users - 1);
  for (let i = 0; i < op.gap && clock.pending > 0; i++) await world.step();
  if (op.kind === "settle") {
    await world.settle();
    checkQuiet(world);
    checkWork(world);
    return;
  }
  const doing = ACTS[op.kind](world, op);
  if (!doing) {
    counts.skipped++;
    return;
  }
  counts.ops++;
  log?.(`${index} at ${clock.time.toFixed(3)} ms: ${describe(op, doing)}`);
  begin(world, op, index, doing, log);
  world.assertSound();
  if (counts.ops % plan.checkEvery === 0) checkAll(world);
}

/** What is done, in which form, and when it is aborted. */
function describe({ abortAt, abortAfter }: Op, { what, sync }: Doing): string {
  const look = abortAt > 0 ? `, aborted at look ${abortAt}` : "";
  const later = abortAfter >= 0 && !sync ? `, aborted after ${abortAfter.toFixed(3)} ms` : "";
  return `${what}${sync ? "" : ", async"}${look}${later}`;
}

function begin(world: World, op: Op, index: number, doing: Doing, log: Log | undefined): void {
  const { swap, clock, inFlight } = world;
  const signal = new SimSignal(op.abortAt || undefined);
  world.ask(doing);
  const running: Running = {
    ...{ op, index, doing, signal },
    entry: doing.range && doing.subject?.content.begin(),
    given: new Map(swap?.given),
    injected: world.device.global.stats.faults,
    damaged: world.damaged,
    events: clock.events,
    crowded: inFlight.size > 0,
    pinned: doing.subject?.held === true,
    held: world.held,
    limit: world.device.global.limits.pages,
    slots: world.device.stats().slots.total,
    data: world.data + world.ghosts,
    abortedAt: undefined,
  };
  for (const other of inFlight) other.crowded = true;
  world.ask(doing);
  const settled = (done: boolean, value: unknown) => {
    inFlight.delete(running);
    log?.(`${index} ${done ? "is done" : `failed: ${value}`}`);
    try {
      settle(world, running, done, value);
    } catch (error) {
      world.fail(error);
    }
  };
  let value: unknown;
  try {
    value = doing.start(signal);
  } catch (error) {
    settled(false, error);
    return;
  }
  if (!(value instanceof Promise)) {
    settled(true, value);
    return;
  }
  inFlight.add(running);
  value.then(
    (result) => settled(true, result),
    (error) => settled(false, error),
  );
  if (op.abortAfter >= 0) {
    clock.after(op.abortAfter, () => world.abort(running));
  }
}

/** An operation has ended: the model takes it in, in its turn, and an error has to have its reason. */
function settle(world: World, running: Running, done: boolean, value: unknown): void {
  const { doing, entry, signal } = running;
  const { subject, range } = doing;
  doing.ended?.(done, value);
  if (entry && subject && !subject.destroyed) {
    const { bo } = subject;
    subject.content.end(entry, () => {
      if (entry.mayVanish && range) {
        subject.content.vanish(range.offset, Math.min(range.length, bo.size - range.offset));
      }
      if (done) doing.ok?.(value);
      else doing.failed?.(value);
    });
  }
  // Its caller may hear of the end before it has let go of everything.
  if (signal.listeners > 0) world.listened.push({ what: doing.what, signal });
  if (done) return;
  if (value instanceof Failure || value instanceof Mismatch) throw value;
  const { code = "none" } = value as { code?: string };
  world.counts.failed++;
  world.codes[code] = (world.codes[code] ?? 0) + 1;
  if (isMismatch(value)) world.counts.flips++;
  if (isExplained(world, running, value)) return;
  const text = value instanceof Error ? value.stack : String(value);
  throw new Failure(`${doing.what} had no reason to fail: ${text}`);
}

/** Whether it says that a page came back with other content. */
function isMismatch(error: unknown): boolean {
  return error instanceof Error && /checksum/.test(error.message);
}

/** Everybody has what he wrote last; and when all is destroyed, nothing is left. */
async function end(world: World): Promise<void> {
  const { plan, swap, subjects, devices } = world;
  world.device.trace = undefined;
  if (plan.ending === "force") {
    await close(world);
    return;
  }
  await world.settle();
  swap?.disarm();
  for (const site of ["alloc", "map", "caching", "slot", "write", "read"] as const) {
    world.device.injectFault(site, { probability: 0 });
  }
  checkAll(world);
  checkQuiet(world);
  checkWork(world);
  for (const subject of subjects) letGo(subject);
  // First those whose pages do not leave: others may need their frames.
  const inOrder = [...subjects].sort((a, b) => Number(b.coherent) - Number(a.coherent));
  for (const subject of inOrder) {
    await readAll(world, subject);
    subject.bo.destroy();
    world.forget(subject);
  }
  await world.settle();
  checkQuiet(world);
  const { pages, slots } = world.device.stats();
  if (pages.free + pages.pooled !== pages.total) throw new Failure("page frames leaked");
  if (slots.free !== slots.total) throw new Failure(`${slots.total - slots.free} slots leaked`);
  for (const device of [...devices].reverse()) await awaited(world, device.close());
  expectClosed(world);
}

function letGo(subject: Subject): void {
  for (const { mapping } of subject.mappings.splice(0)) mapping.unmap();
  for (; subject.pins > 0; subject.pins--) subject.bo.unpin();
}

/** Runs turns and timers until it has settled. */
async function awaited<T>(world: World, promise: Promise<T>): Promise<T> {
  let over = false;
  const done = () => {
    over = true;
  };
  promise.then(done, done);
  await world.settle();
  if (!over) throw new Failure("nothing is on its way, and somebody waits");
  return promise;
}

async function readAll(world: World, { bo, content, name, pages }: Subject): Promise<void> {
  const most = Math.max(world.plan.frames >> 2, 1) * PAGE_SIZE;
  for (let offset = 0; offset < bo.size; offset += most) {
    const target = new Uint8Array(Math.min(most, bo.size - offset));
    try {
      await awaited(world, bo.read(offset, target));
      content.expect(offset, target, `${name} in the end`);
    } catch (error) {
      const { code } = error as { code?: string };
      if (code === "EIO" && world.damaged) world.counts.flips++;
      else if (code === "ENOMEM" && world.held + pages > world.plan.frames) continue;
      else if (code !== "ENOSPC" || world.data <= world.device.stats().slots.total) throw error;
    }
  }
}

/** Somebody closes all in the midst of it: what is under way ends, and nothing is left. */
async function close(world: World): Promise<void> {
  const { devices, swap } = world;
  world.closing = true;
  if (swap) swap.forced = true;
  const closes = [...devices].reverse().map((device) => device.close({ force: true }));
  let closed = false;
  Promise.all(closes).then(
    () => {
      closed = true;
    },
    (error) => world.fail(error),
  );
  while (await world.step());
  if (!closed) throw new Failure("a forced close does not end");
  if (world.inFlight.size > 0)
    throw new Failure(`${world.inFlight.size} operations outlive a close`);
  swap?.answer();
  while (await world.step());
  expectClosed(world);
}

function expectClosed({ swap, clock }: World): void {
  if (swap && (swap.opened.opens !== 1 || swap.opened.closes !== 1)) {
    throw new Failure(`the swap device was closed ${swap.opened.closes} times`);
  }
  if (clock.pending > 0) throw new Failure("turns or timers are left");
}

/** After a failure: lets all that is under way end, so that the next run finds nothing of it. */
async function abandon(world: World): Promise<void> {
  world.swap?.answer();
  for (let i = 0; i < 100_000 && (await world.step().catch(() => world.clock.pending > 0)); i++);
}
