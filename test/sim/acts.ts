/* What each kind of operation does, to the library and to the model. */

import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { Advice } from "../../src/advice.ts";
import type { Mapping } from "../../src/index.ts";
import type { FaultSite } from "../../src/ttm/fault.ts";
import { payload, rangeOf, sizeOf } from "./payload.ts";
import type { Kind, Op } from "./plan.ts";
import { Subject } from "./subject.ts";
import { type Doing, Failure, type World } from "./world.ts";

/** `undefined`: there is nothing to do it to. */
type Act = (world: World, op: Op) => Doing | undefined;

const pick = <T>(list: readonly T[], at: number): T => list[at % list.length] as T;

/** A buffer that may be used; `sync`: and that nobody is at. */
function subjectOf(world: World, { subject }: Op): Subject | undefined {
  const { subjects } = world;
  const chosen = subjects[subject % Math.max(subjects.length, 1)];
  return chosen?.resizing ? undefined : chosen;
}

/** Bytes of one operation at most: a buffer larger than the memory is still read as a whole. */
const BYTES_MAX = 2 ** 22;

function create(world: World, { a, b }: Op): Doing | undefined {
  const { plan, subjects, devices } = world;
  if (subjects.length >= plan.buffersMax) return undefined;
  const room = plan.pagesMax - world.data;
  if (room < 1) return undefined;
  const size = sizeOf(a, b, Math.min(plan.bufferMax, room, plan.frames + plan.slots - 1));
  const device = pick(devices, b >>> 8);
  if (device.pool.coherent && Math.ceil(size / PAGE_SIZE) > plan.frames) return undefined;
  const caching = pick(["cached", "cached", "cached", "cached", "wc", "uc"] as const, b >>> 12);
  const dma = (b >>> 16) % 8 === 0;
  return {
    what: `create ${size} bytes`,
    need: 0,
    sync: true,
    start: () => device.createBuffer(size, { priority: (b >>> 20) % 4, caching, dma }),
    ended: (done, bo) => {
      if (!done) return;
      subjects.push(new Subject(device, bo as never, caching !== "cached" || dma));
      world.data += Math.ceil(size / PAGE_SIZE);
      world.noteMore();
    },
  };
}

function destroy(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  return {
    what: `destroy ${subject.name}`,
    subject,
    need: 0,
    sync: true,
    start: () => subject.bo.destroy(),
    ended: (done) => {
      if (done) world.forget(subject);
    },
  };
}

function write(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const { bo, content } = subject;
  const { offset, length } = rangeOf(bo.size, op.a, op.b, BYTES_MAX);
  const data = payload(op.a ^ op.b, length);
  return {
    what: `write ${length} bytes at ${offset} of ${subject.name}`,
    ...{ subject, range: { offset, length }, need: subject.need(offset, length), sync: op.sync },
    start: (signal) =>
      op.sync ? bo.writeSync(offset, data, { signal }) : bo.write(offset, data, { signal }),
    ok: () => content.write(offset, data),
    failed: () => content.mayWrite(offset, data),
  };
}

function read(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const { bo, content } = subject;
  const { offset, length } = rangeOf(bo.size, op.a, op.b, BYTES_MAX);
  const target = new Uint8Array(length);
  const what = `read ${length} bytes at ${offset} of ${subject.name}`;
  return {
    ...{ what, subject, range: { offset, length } },
    ...{ need: subject.need(offset, length), sync: op.sync },
    start: (signal) =>
      op.sync ? bo.readSync(offset, target, { signal }) : bo.read(offset, target, { signal }),
    ok: () => content.expect(offset, target, what),
  };
}

function map(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const { bo, content } = subject;
  const { offset, length } = rangeOf(bo.size, op.a, op.b, BYTES_MAX);
  if (!subject.held && world.held + subject.pages > world.plan.holdMax) return undefined;
  const writes = op.a % 3 !== 0;
  const what = `map ${length} bytes at ${offset} of ${subject.name}`;
  subject.holding++;
  world.noteMore();
  return {
    ...{ what, subject, range: { offset, length }, sync: op.sync },
    need: subject.need(offset, length, true),
    start: (signal) => {
      const options = { offset, length, signal, write: writes };
      return op.sync ? bo.mapSync(options) : bo.map(options);
    },
    ok: () => {
      if (writes) content.touch(offset, length);
    },
    failed: () => {
      if (writes) content.need(offset, length);
    },
    ended: (done, mapping) => {
      subject.holding--;
      if (!done) return;
      if (subject.destroyed) (mapping as Mapping).unmap();
      else subject.mappings.push({ mapping: mapping as Mapping, offset, length, write: writes });
    },
  };
}

/** Views show the bytes in order, and what is written to them is in the buffer. */
function useMapping(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  const mapped = subject?.mappings[op.a % Math.max(subject.mappings.length, 1)];
  // While others are at it nobody knows what it shows.
  if (!subject || !mapped || !subject.content.quiet) return undefined;
  const { content } = subject;
  const what = `mapping of ${subject.name}`;
  return {
    ...{ what: `use a ${what}`, need: 0, sync: true },
    start: () => {
      let at = mapped.offset;
      for (const segment of mapped.mapping.segments) {
        content.expect(at, segment, what);
        if (mapped.write && content.certain) {
          const data = payload(op.b ^ at, Math.min(segment.length, 1 + (op.b % 5000)));
          segment.set(data);
          content.write(at, data);
        }
        at += segment.length;
      }
      if (at !== mapped.offset + mapped.length) throw new Failure(`${what} is of ${at} bytes`);
    },
  };
}

function unmap(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject || subject.mappings.length === 0) return undefined;
  return {
    ...{ what: `unmap ${subject.name}`, subject, need: 0, sync: true },
    start: () => {
      const [mapped] = subject.mappings.splice(op.a % subject.mappings.length, 1);
      mapped?.mapping.unmap();
    },
  };
}

function pin(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const { bo } = subject;
  if (!subject.held && world.held + subject.pages > world.plan.holdMax) return undefined;
  subject.holding++;
  world.noteMore();
  return {
    ...{ what: `pin ${subject.name}`, subject, need: subject.pages, sync: op.sync },
    range: { offset: 0, length: bo.size },
    start: (signal) => (op.sync ? bo.pinSync({ signal }) : bo.pin({ signal })),
    ended: (done) => {
      subject.holding--;
      if (done) subject.pins++;
    },
  };
}

function unpin(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject || subject.pins === 0) return undefined;
  return {
    ...{ what: `unpin ${subject.name}`, subject, need: 0, sync: true },
    start: () => {
      subject.bo.unpin();
      subject.pins--;
    },
  };
}

function populate(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const { bo } = subject;
  const { offset, length } = rangeOf(bo.size, op.a, op.b, BYTES_MAX);
  const need = subject.need(offset, length, true);
  return {
    ...{ what: `populate ${length} bytes at ${offset} of ${subject.name}`, subject, need },
    ...{ range: { offset, length }, sync: op.sync },
    start: (signal) => {
      const options = { offset, length, signal };
      return op.sync ? bo.populateSync(options) : bo.populate(options);
    },
  };
}

function shrink(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const { bo } = subject;
  return {
    ...{ what: `shrink ${subject.name}`, subject, need: 0, sync: op.sync },
    start: (signal) => {
      if (!op.sync) return bo.shrink({ signal });
      const before = bo.residentPages;
      const released = bo.shrinkSync({ signal });
      const drop = before - bo.residentPages;
      // Who watches may bring some back at once.
      if (released !== drop && !world.plan.watches)
        throw new Failure(`shrink says ${released} pages, and ${drop} left`);
      return released;
    },
  };
}

function shrinkDevice(world: World, op: Op): Doing | undefined {
  const device = pick(world.devices, op.b);
  const pages = op.a % 4 === 0 ? undefined : 1 + (op.a % world.plan.frames);
  const target = pages === undefined ? {} : { pages };
  return {
    ...{ what: `shrink the device by ${pages ?? "all"} pages`, device, need: 0, sync: op.sync },
    start: (signal) => {
      if (!op.sync) return device.shrink({ ...target, signal });
      const { pages: before } = device.stats();
      const released = device.shrinkSync({ ...target, signal });
      const { pages: after } = device.stats();
      const rise = after.free - before.free;
      // What was pooled, or is now, is told apart from what left by nobody.
      if (released !== rise && before.pooled + after.pooled === 0 && !world.plan.watches) {
        throw new Failure(`shrink says ${released} pages, ${rise} are free`);
      }
      return released;
    },
  };
}

function dontneed(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  return {
    ...{ what: `advise dontneed of ${subject.name}`, need: 0, sync: true },
    start: () => {
      subject.content.letGo();
      subject.bo.advise("dontneed");
    },
  };
}

function willneed(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  return {
    ...{ what: `advise willneed of ${subject.name}`, need: 0, sync: true },
    start: () => subject.content.keep(subject.bo.advise("willneed")),
  };
}

/** Begins to bring a range in, which nobody waits for. */
function ahead(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const range = rangeOf(subject.bo.size, op.a, op.b, BYTES_MAX);
  return {
    ...{ what: `advise willneed of a part of ${subject.name}`, need: 0, sync: true },
    start: () => subject.content.keep(subject.bo.advise("willneed", range)),
  };
}

const READING: readonly Advice[] = ["random", "sequential", "normal"];

function reading(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const advice = pick(READING, op.a);
  return {
    ...{ what: `advise ${advice} of ${subject.name}`, need: 0, sync: true },
    start: () => void subject.bo.advise(advice),
  };
}

function discard(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject) return undefined;
  const { bo, content } = subject;
  const { offset, length } = rangeOf(bo.size, op.a, op.b, BYTES_MAX);
  return {
    what: `discard ${length} bytes at ${offset} of ${subject.name}`,
    ...{ subject, range: { offset, length }, need: subject.need(offset, length), sync: op.sync },
    start: (signal) => {
      const options = { offset, length, signal };
      return op.sync ? bo.discardSync(options) : bo.discard(options);
    },
    ok: () => content.zero(offset, length),
    failed: () => content.mayZero(offset, length, PAGE_SIZE),
  };
}

function resize(world: World, op: Op): Doing | undefined {
  const subject = subjectOf(world, op);
  if (!subject?.content.certain || !subject.content.quiet) return undefined;
  const { bo, content } = subject;
  const before = subject.pages;
  const { bufferMax, pagesMax, frames, slots } = world.plan;
  const most = Math.min(bufferMax, pagesMax - world.data + before, frames + slots - 1);
  if (most < 1) return undefined;
  const size = sizeOf(op.a, op.b, most);
  const more = Math.max(Math.ceil(size / PAGE_SIZE) - before, 0);
  world.data += more;
  world.noteMore();
  subject.resizing = !op.sync;
  return {
    ...{ what: `resize ${subject.name} from ${bo.size} to ${size} bytes`, subject, sync: op.sync },
    range: { offset: 0, length: bo.size },
    // A window of each kind, and what is copied.
    need: 2 * Math.max(before, Math.ceil(size / PAGE_SIZE)),
    start: (signal) => (op.sync ? bo.resizeSync(size, { signal }) : bo.resize(size, { signal })),
    ok: () => content.resize(bo.windows),
    ended: (done) => {
      subject.resizing = false;
      world.data -= more;
      if (done && !subject.destroyed) world.data += Math.ceil(size / PAGE_SIZE) - before;
    },
  };
}

function hibernate(world: World, op: Op): Doing {
  const device = pick(world.devices, op.a);
  return {
    ...{ what: "hibernate", device, need: 0, sync: op.sync },
    start: (signal) => (op.sync ? device.hibernateSync({ signal }) : device.hibernate({ signal })),
  };
}

function resume(world: World, op: Op): Doing {
  const device = pick(world.devices, op.a);
  const most = world.subjects.reduce((pages, subject) => Math.max(pages, subject.pages), 0);
  return {
    ...{ what: "resume", device, need: most, sync: op.sync },
    start: (signal) => (op.sync ? device.resumeSync({ signal }) : device.resume({ signal })),
  };
}

function tune(world: World, op: Op): Doing {
  const { global } = world.device;
  return {
    ...{ what: "set transferPages and limits", need: 0, sync: true },
    start: () => {
      global.transferPages = pick([1, 3, 16, 256], op.a);
      global.limits.pagePoolSize = pick([0, 4, world.plan.frames >> 1], op.b);
      global.limits.pages = pick([Number.POSITIVE_INFINITY, world.plan.frames >> 1], op.b >>> 4);
    },
  };
}

function look(world: World, op: Op): Doing {
  const device = pick(world.devices, op.a);
  return {
    ...{ what: "look at statistics", need: 0, sync: true },
    start: () => {
      JSON.stringify([device, ...world.subjects.map(({ bo }) => bo)]);
      device.debugfs(pick(["page_pool", "buffer_objects"] as const, op.b));
    },
  };
}

/** Another device on the memory, or one less: with force, so that what is under way on it ends. */
function sibling(world: World, op: Op): Doing | undefined {
  const { devices, subjects, plan } = world;
  if (op.a % 2 === 0) {
    if (devices.length > 3) return undefined;
    return {
      ...{ what: "create a sibling", need: 0, sync: true },
      start: () => void devices.push(world.device.createSibling(pick(plan.siblings, op.b))),
    };
  }
  const device = devices[1];
  if (!device) return undefined;
  return {
    ...{ what: "close a sibling", device, need: 0, sync: false },
    start: () => {
      devices.splice(1, 1);
      for (const subject of subjects.filter((each) => each.device === device))
        world.forget(subject);
      return device.close({ force: true });
    },
  };
}

const SITES: readonly FaultSite[] = ["alloc", "map", "caching", "slot", "write", "read"];

function inject(world: World, op: Op): Doing {
  const site = pick(SITES, op.a);
  return {
    ...{ what: `inject a fault at ${site}`, need: 0, sync: true },
    start: () => {
      const times = 1 + ((op.a >>> 8) % 3);
      const space = (op.b >>> 8) % 20;
      world.device.injectFault(site, { probability: 100, times, space, seed: op.b });
    },
  };
}

/** Something is to go wrong with the swap device. */
function fault(world: World, op: Op): Doing | undefined {
  const { swap } = world;
  if (!swap || !op.fault) return undefined;
  const { kind } = op.fault;
  const times = 1 + (op.b % world.timesOf(kind));
  return {
    ...{ what: `fault ${kind} of ${op.fault.on ?? "any call"}`, need: 0, sync: true },
    start: () => {
      if (kind === "capacity") {
        swap.capacity = Math.floor((swap.slots * (op.a % 100)) / 100);
        swap.note(kind);
      } else if (kind === "flip" || kind === "stale") {
        if (swap[kind]()) swap.note(kind);
      } else swap.arm(op.fault as never, op.a % 8, times);
    },
  };
}

/** Every kind but `settle`, which is no call. */
export const ACTS: Readonly<Record<Exclude<Kind, "settle">, Act>> = {
  ...{ create, destroy, write, read, map, useMapping, unmap, pin, unpin, populate, shrink },
  ...{ shrinkDevice, dontneed, willneed, ahead, reading, discard, resize, hibernate, resume },
  ...{ tune, look, sibling, inject, fault },
};
