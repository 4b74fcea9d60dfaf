/* What holds after every operation, and what holds when nothing is under way. */
import { Failure, type World } from "./world.ts";

/** @throws Failure, Error when something does not hold */
export function checkAll(world: World): void {
  const { subjects } = world;
  world.device.check();
  // Who brings in several windows pins them on the way.
  const idle = world.device.global.tasks.size + world.inFlight.size === 0;
  for (const { bo, pins, mappings, holding, name, pages } of subjects) {
    const held = pins + mappings.length > 0;
    if (!bo.pinned && held) throw new Failure(`${name} is not pinned any more`);
    if (bo.pinned && !held && holding === 0 && idle) throw new Failure(`${name} is still pinned`);
    const { residentPages } = bo;
    if (pins > 0 && residentPages < pages) {
      throw new Failure(`${name} is pinned with ${residentPages} of ${pages} pages in memory`);
    }
    if (residentPages > pages) throw new Failure(`${name} has ${residentPages} of ${pages} pages`);
  }
  const { pages, slots } = world.device.stats();
  const counts = { ...pages, slots: slots.free };
  for (const [name, count] of Object.entries(counts)) {
    if (count < 0) throw new Failure(`${count} pages are ${name}`);
  }
  if (slots.free > slots.total) throw new Failure(`${slots.free} of ${slots.total} slots are free`);
}

/** Nothing is under way: pages and slots add up, and nothing is left of what has ended. */
export function checkQuiet(world: World): void {
  const { subjects, devices, data } = world;
  const { pages, slots, buffers } = world.device.stats();
  const resident = subjects.reduce((sum, { bo }) => sum + bo.residentPages, 0);
  if (pages.total - pages.free - pages.pooled !== resident) {
    const used = pages.total - pages.free - pages.pooled;
    throw new Failure(`${used} pages are in use, and buffers have ${resident}`);
  }
  if (slots.total - slots.free > data) {
    throw new Failure(`${slots.total - slots.free} slots are in use for ${data} pages of buffers`);
  }
  const own = subjects.filter(({ device }) => device === devices[0]);
  if (buffers !== own.length) throw new Failure(`${buffers} buffers instead of ${own.length}`);
  for (const { content, name } of subjects) {
    if (!content.quiet) throw new Failure(`a call on ${name} has not ended`);
  }
  for (const { what, signal } of world.listened.splice(0)) {
    if (signal.listeners > 0) throw new Failure(`${what} left ${signal.listeners} listeners`);
  }
  const { admission, frames, tasks, busy } = world.device.global;
  const { transits } = frames;
  const left = {
    inside: admission.inside,
    claims: frames.claimed,
    taken: frames.taken,
    tasks: tasks.size,
    transits: transits.count,
    waiting: transits.queue.first ? 1 : 0,
    busy,
  };
  if (Object.values(left).some((count) => count !== 0) || admission.exclusive) {
    throw new Failure(`operations left something behind: ${JSON.stringify(left)}`);
  }
}

/** What may be done beside what is asked for: for a run of few operations. */
const WORK_LEAST = 1000;

/**
 * What is done depends on the operations, not on their square: pages that are moved, calls of the device, turns and
 * timers. Runs come to a third of this at most.
 *
 * @throws Failure when it was more
 */
export function checkWork({ swap, clock, asked }: World): void {
  const most = asked + WORK_LEAST;
  const done = { pages: swap?.pagesMoved ?? 0, calls: swap?.calls ?? 0, turns: clock.events };
  for (const [what, count] of Object.entries(done)) {
    if (count > most) throw new Failure(`${count} ${what} for operations on ${asked} pages`);
  }
}
