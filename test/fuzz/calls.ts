/* What can be called, with arguments that make sense, nearly make sense, or none at all. */
import {
  type BufferObject,
  type BufferOptions,
  type Device,
  type Mapping,
  PAGE_SIZE,
  type RangeOptions,
} from "../../src/index.ts";
import { expectSame, pattern } from "../support/bytes.ts";
import { oddBytes, oddOptions, oddSignal, oddValue } from "./odd_values.ts";
import type { Kept, Loose, World } from "./world.ts";

/** Methods by name, as somebody sees them who knows no types. */
export type Untyped = Record<string, (...args: unknown[]) => unknown>;

/** Calls a method of `on`, in the async form or, with a chance of a half, the other. */
export function either(world: World, on: object, name: string, ...args: unknown[]): unknown {
  const form = world.random.percent(50) ? `${name}Sync` : name;
  return world.call(form, () => (on as Untyped)[form]?.(...args));
}

/** A signal; it may be aborted later. */
export function signalIn(world: World): unknown {
  const { signal, abort } = oddSignal(world.random, world.poke);
  world.later.push(abort);
  return signal;
}

/** Options of an operation on `size` bytes: such a range, or nearly. */
export function rangeIn(world: World, size: number, known: readonly string[]): unknown {
  const { random } = world;
  return oddOptions(
    random,
    known,
    (name) => {
      if (name === "signal") return signalIn(world);
      if (name === "write") return random.percent(50);
      return random.below(random.percent(90) ? size : 2 * size) + (name === "length" ? 1 : 0);
    },
    world.poke,
  );
}

const OPERATION = ["signal"] as const;
const RANGE: readonly (keyof RangeOptions)[] = ["offset", "length", "signal"];

/** An offset and bytes that lie within `size`, nearly. */
function place(world: World, size: number, fill: number) {
  const { random } = world;
  const at = random.below(size);
  const most = random.pick([1, 100, PAGE_SIZE, size]);
  const length = Math.min(random.below(most) + 1, size - at) + (random.percent(3) ? 1 : 0);
  const bytes = oddBytes(random, length, fill, world.poke);
  world.later.push(bytes.spoil);
  const offset = random.percent(90) ? at : oddValue(random, world.poke);
  return { at, offset, bytes };
}

/** What does not change the content of a buffer, whatever comes of it. */
export const NEUTRAL: Record<string, (world: World, bo: BufferObject) => void> = {
  read(world, bo) {
    const { offset, bytes } = place(world, bo.size, 0);
    either(world, bo, "read", offset, bytes.value, rangeIn(world, bo.size, OPERATION));
  },
  map(world, bo) {
    const options = rangeIn(world, bo.size, [...RANGE, "write"]);
    const value = either(world, bo, "map", options);
    keepMapping(world, value);
  },
  populate(world, bo) {
    either(world, bo, "populate", rangeIn(world, bo.size, RANGE));
  },
  salvage(world, bo) {
    const { random } = world;
    const options = rangeIn(world, bo.size, RANGE);
    const most = random.below(5);
    world.call("salvage", async () => {
      let found = 0;
      for await (const _ of bo.salvage(options as RangeOptions)) if (found++ === most) break;
    });
    world.call("salvageSync", () => {
      for (const _ of bo.salvageSync(options as RangeOptions)) world.poke();
    });
  },
  pin(world, bo) {
    either(world, bo, "pin", rangeIn(world, bo.size, OPERATION));
  },
  unpin(world, bo) {
    world.call("unpin", () => bo.unpin());
  },
  shrink(world, bo) {
    either(world, bo, "shrink", rangeIn(world, bo.size, OPERATION));
  },
  willneed(world, bo) {
    const advice = world.random.pick(["willneed", "random", "sequential", "normal", "needed", 5]);
    const range = rangeIn(world, bo.size, ["offset", "length"]);
    world.call("advise", () => bo.advise(advice as "willneed", range as RangeOptions));
  },
  look(world, bo) {
    world.call("look", () => {
      const { size, id, priority, residentPages, pinned, destroyed } = bo;
      if (residentPages < 0 || size < 1 || id < 1 || priority > 3) world.fail(new Error("look"));
      return [JSON.stringify(bo), pinned, destroyed];
    });
    world.call("toString", () => {
      try {
        return String(bo);
      } catch (error) {
        if (!(error instanceof TypeError)) throw error;
        return undefined;
      }
    });
  },
  "write nowhere"(world, bo) {
    const { random } = world;
    const nowhere = random.pick([
      -1,
      bo.size,
      bo.size + 1,
      2 ** 53,
      Number.NaN,
      0.5,
      "0",
      null,
      5n,
    ]);
    const { value, fine } = oddBytes(random, 1 + random.below(9), 0xee, world.poke);
    const form = random.pick(["write", "writeSync"]);
    const wrong = fine ? nowhere : random.below(2) - 2;
    const result = world.call(form, () => (bo as unknown as Untyped)[form]?.(wrong, value));
    void result;
  },
};

/** A mapping is ended at some time; what a failed call has given is none. */
function keepMapping(world: World, value: unknown, then: (mapping: Mapping) => void = () => {}) {
  const keep = (mapping: unknown) => {
    if (mapping === undefined) return;
    world.mappings.push(mapping as Mapping);
    then(mapping as Mapping);
  };
  if (value instanceof Promise) value.then(keep, () => {});
  else keep(value);
}

/** What is done to kept buffers alone. */
export const KEPT: Record<string, (world: World, kept: Kept) => void> = {
  "read exactly"(world, { bo, seed }) {
    const at = world.random.below(bo.size);
    const bytes = new Uint8Array(1 + world.random.below(bo.size - at));
    const same = () =>
      expectSame(bytes, pattern(seed, bo.size).subarray(at, at + bytes.length), `kept ${bo.id}`);
    const value = either(world, bo, "read", at, bytes);
    if (value instanceof Promise) {
      value.then(same).catch((error) => {
        if (/kept/.test(error?.message)) world.fail(error);
      });
    } else if (value !== undefined) same();
  },
};

/** What is done to loose ones alone. */
export const LOOSE: Record<string, (world: World, loose: Loose) => void> = {
  write(world, { bo, mark }) {
    const { offset, bytes } = place(world, bo.size, mark);
    either(world, bo, "write", offset, bytes.value, rangeIn(world, bo.size, OPERATION));
  },
  "read marks"(world, { bo, mark }) {
    const { at, bytes } = place(world, bo.size, mark);
    const value = either(world, bo, "read", at, bytes.value);
    const same = () => world.expectMarks(bytes.value, mark, `loose buffer ${bo.id}`);
    if (value instanceof Promise) value.then(same).catch(() => {});
    else if (value !== undefined) same();
  },
  fill(world, { bo, mark }) {
    const value = either(world, bo, "map", rangeIn(world, bo.size, OPERATION));
    keepMapping(world, value, ({ segments }) => {
      for (const segment of segments) {
        world.expectMarks(segment, mark, `a mapping of loose buffer ${bo.id}`);
        segment.fill(mark);
      }
    });
  },
  discard(world, { bo }) {
    either(world, bo, "discard", rangeIn(world, bo.size, RANGE));
  },
  dontneed(world, { bo }) {
    world.call("advise", () => bo.advise("dontneed"));
  },
  resize(world, { bo }) {
    const { random } = world;
    const size = random.percent(70)
      ? 1 + random.below(random.pick([1, 3, 40]) * PAGE_SIZE)
      : oddValue(random, world.poke);
    either(world, bo, "resize", size, rangeIn(world, bo.size, OPERATION));
  },
  destroy(world, { bo }) {
    world.call("destroy", () => bo.destroy());
  },
};

/** What is done to the device. */
export const DEVICE: Record<string, (world: World, device: Device) => void> = {
  createBuffer(world, device) {
    const { random } = world;
    const size = random.percent(80)
      ? 1 + random.below(random.pick([1, 5, 40]) * PAGE_SIZE)
      : oddValue(random, world.poke);
    const options = oddOptions(random, ["caching", "dma", "priority"], bufferOption, world.poke);
    const bo = world.call("createBuffer", () =>
      device.createBuffer(size as number, options as BufferOptions),
    );
    if (bo === undefined) return;
    if (world.loose.length > 8 || (bo as BufferObject).size > 64 * PAGE_SIZE) {
      (bo as BufferObject).destroy();
    } else world.addLoose(bo as BufferObject);

    function bufferOption(name: string): unknown {
      if (name === "caching") return random.pick(["cached", "wc", "uc", "wb"]);
      return name === "dma" ? random.percent(50) : random.below(5);
    }
  },
  shrink(world, device) {
    const likely = (name: string) =>
      name === "signal" ? signalIn(world) : 1 + world.random.below(20);
    either(
      world,
      device,
      "shrink",
      oddOptions(world.random, ["pages", "signal"], likely, world.poke),
    );
  },
  hibernate(world, device) {
    either(world, device, "hibernate", rangeIn(world, 1, OPERATION));
  },
  resume(world, device) {
    either(world, device, "resume", rangeIn(world, 1, OPERATION));
  },
  check(world, device) {
    if (device.closed) {
      world.call("check", () => device.check());
      return;
    }
    try {
      device.check();
    } catch (error) {
      world.fail(error);
    }
  },
  look(world, device) {
    world.call("stats", () => JSON.stringify([device.stats(), device]));
  },
  debugfs(world, device) {
    const { random } = world;
    const name = random.percent(70)
      ? random.pick(["page_pool", "page_pool_shrink", "tt_shrink", "page_pool_dma32"])
      : oddValue(random, world.poke);
    world.call("debugfs", () => device.debugfs(name as "page_pool"));
  },
  injectFault(world, device) {
    const { random } = world;
    const site = random.percent(90)
      ? random.pick(["alloc", "map", "caching", "slot", "write", "read"])
      : oddValue(random, world.poke);
    const known = ["probability", "interval", "times", "space", "seed"];
    const options = oddOptions(random, known, () => random.below(30), world.poke);
    world.call("injectFault", () => device.injectFault(site as "read", options as object));
  },
  trace(world, device) {
    const { random, poke } = world;
    // What a trace throws is reported as an error that nobody caught: other tests are about that.
    const trace = () => {
      try {
        poke();
      } catch {}
    };
    world.call("trace", () => {
      device.trace = random.percent(60)
        ? trace
        : (oddTrace(oddValue(random, poke)) as typeof trace);
    });
  },
  "close, refused"(world, device) {
    const { random } = world;
    const force = random.pick([undefined, false, 0, "", "false", null, {}]);
    const options = random.pick([undefined, {}, { force }, { forced: true }, 5, null]);
    either(world, device, "close", options);
  },
  createSibling(world, device) {
    const { random } = world;
    const likely = (name: string) => (name === "orders" ? [0, 3] : random.percent(50));
    const known = ["orders", "coherent", "dma32"];
    const options = oddOptions(random, known, likely, world.poke);
    const sibling = world.call("createSibling", () => device.createSibling(options as object));
    if (sibling === undefined) return;
    world.call("sibling", () => {
      const bo = (sibling as Device).createBuffer(1 + random.below(3 * PAGE_SIZE));
      either(world, bo, "write", 0, new Uint8Array(1));
    });
    world.later.push(() => {
      const closing = (sibling as Device).close({ force: true });
      world.track("close of a sibling", closing);
    });
  },
  limits(world, device) {
    const { random } = world;
    const name = random.pick(["pagePoolSize", "transferPages", "checksums", "watermarks"] as const);
    const value = oddValue(random, world.poke);
    if (typeof value === "boolean") return; // what is in swap has checksums, or has none
    world.call(name, () => {
      const { global } = device;
      if (name === "pagePoolSize") global.limits.pagePoolSize = value as number;
      else if (name === "transferPages") global.transferPages = value as number;
      else if (name === "checksums") global.checksums = value as boolean;
    });
  },
};

/** A function would be called with each event; what it throws is nobody's. */
function oddTrace(value: unknown): unknown {
  return typeof value === "function" ? undefined : value;
}

/** Any call on what is there. */
export function anyCall(world: World): void {
  const { random, kept, loose, device } = world;
  const dice = random.below(100);
  if (dice < 30) pick(NEUTRAL, random.pick(kept).bo);
  else if (dice < 40) pick(KEPT, random.pick(kept));
  else if (dice < 60 && loose.length > 0) pick(LOOSE, random.pick(loose));
  else if (dice < 70 && loose.length > 0) pick(NEUTRAL, random.pick(loose).bo);
  else if (dice < 85) pick(DEVICE, device);
  else world.more();

  function pick<T>(table: Record<string, (world: World, on: T) => void>, on: T): void {
    const act = random.pick(Object.values(table));
    act(world, on);
  }
}
