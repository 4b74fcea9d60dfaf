/* Hostile calls of what is beside devices and buffers: streams, the kernel's layer, and what makes devices. */
import { createDevice, createDeviceSync, type Device, ramSwap } from "../../src/index.ts";
import { durableObjectSwap } from "../../src/swap/durable_object.ts";
import { encryptedSwap } from "../../src/swap/encrypted.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { opfsSwap } from "../../src/swap/opfs.ts";
import { storageSwap } from "../../src/swap/storage.ts";
import { scriptedSwap, swapDeviceTests } from "../../src/testing.ts";
import * as ttm from "../../src/ttm.ts";
import { rangeIn, signalIn, type Untyped } from "./calls.ts";
import { oddBytes, oddOptions, oddValue } from "./odd_values.ts";
import type { World } from "./world.ts";

const RANGE = ["offset", "length", "signal"];

/** What gives bytes, and may fail, do something else, or give none, in the middle. */
function sourceIn(world: World, mark: number): unknown {
  const { random, poke } = world;
  const chunk = () => oddBytes(random, random.below(3000), mark, poke).value;
  function* some() {
    for (let i = random.below(4); i >= 0; i--) {
      poke();
      yield chunk();
    }
  }
  async function* later() {
    for (const each of some()) yield await each;
  }
  return random.pick([
    () => chunk(),
    () => some(),
    () => later(),
    () => new Blob(["x".charCodeAt(0) === mark ? "x" : ""]),
    () => ({ [Symbol.asyncIterator]: () => ({ next: poke, return: poke }) }),
    () => ({
      [Symbol.iterator]: () => ({ next: () => ({ done: false, value: chunk() }), return: 5 }),
    }),
    () => ({ getReader: () => ({ read: async () => poke(), cancel: poke, releaseLock: poke }) }),
    () => oddValue(random, poke),
  ])();
}

/** Sources that never end would be read for ever. */
const SIZE_MAX = 20_000;

const STREAMS: Record<string, (world: World) => void> = {
  readable(world) {
    const { bo } = world.random.pick(world.kept);
    const options = rangeIn(world, bo.size, RANGE);
    const stream = world.call("readable", () => bo.readable(options as object));
    if (!stream) return;
    const { random } = world;
    const read = async () => {
      const reader = (stream as ReadableStream<Uint8Array>).getReader();
      for (let i = random.below(4); i > 0; i--) if ((await reader.read()).done) return;
      await reader.cancel(oddValue(random, world.poke));
    };
    world.call("read of a stream", read, true);
  },
  writable(world) {
    const { random } = world;
    if (world.loose.length === 0) return;
    const { bo, mark } = random.pick(world.loose);
    const offset = random.percent(80) ? random.below(bo.size + 1) : oddValue(random, world.poke);
    const options = rangeIn(world, bo.size, ["signal"]);
    const stream = world.call("writable", () => bo.writable(offset as number, options as object));
    if (!stream) return;
    const write = async () => {
      const writer = (stream as WritableStream<unknown>).getWriter();
      writer.closed.catch(() => {});
      writer.ready.catch(() => {});
      for (let i = random.below(4); i > 0; i--) {
        await writer.write(oddBytes(random, random.below(5000), mark, world.poke).value);
      }
      if (random.percent(50)) await writer.close();
      else await writer.abort(oddValue(random, world.poke));
    };
    world.call("write to a stream", write, true);
  },
  blob(world) {
    const { bo } = world.random.pick(world.kept);
    const options = rangeIn(world, bo.size, [...RANGE, "type"]);
    world.call("blob", () => bo.blob(options as object));
  },
  bufferFrom(world) {
    const { random } = world;
    const mark = world.nextMark();
    const likely = (name: string) => {
      if (name === "signal") return signalIn(world);
      return name === "size" ? 1 + random.below(SIZE_MAX) : random.below(4);
    };
    const options = oddOptions(random, ["size", "signal", "priority"], likely, world.poke);
    const source = sourceIn(world, mark);
    const size = { size: SIZE_MAX };
    const made = world.call(
      "bufferFrom",
      () => world.device.bufferFrom(source as Uint8Array, (options ?? size) as object),
      true,
    );
    (made as Promise<never> | undefined)?.then((bo) => world.addLoose(bo, mark)).catch(() => {});
  },
};

/** A device that another call makes is closed at once. */
function closed(world: World, made: unknown): void {
  const close = (device: unknown) => {
    if (device) world.call("close of another", () => (device as Device).close({ force: true }));
  };
  if (made instanceof Promise) made.then(close).catch(() => {});
  else close(made);
}

const DEVICE_OPTIONS = [
  ...["memory", "memory", "swap", "limits", "watermarks", "checksums", "keepClean"],
  ...["transferPages", "dma32", "pool", "module"],
];

/** Makes of swap devices, and the names of their options: they look at these, and touch nothing. */
const SWAPS: readonly (readonly [string, Untyped[string], readonly string[]])[] = [
  ["ramSwap", ramSwap as Untyped[string], ["size"]],
  ["fileSwap", fileSwap as Untyped[string], ["size", "directory", "path", "overwrite"]],
  ["opfsSwap", opfsSwap as Untyped[string], ["size", "name", "worker"]],
  ["storageSwap", storageSwap as Untyped[string], ["storage", "size", "prefix", "pagesPerRecord"]],
  ["scriptedSwap", scriptedSwap as Untyped[string], ["slots", "pairs", "queueDepth", "script"]],
  ["swapDeviceTests", swapDeviceTests as Untyped[string], ["create", "left", "seed"]],
];

const MAKERS: Record<string, (world: World) => void> = {
  createDevice(world) {
    const { random, poke } = world;
    const likely = (name: string): unknown => {
      if (name === "memory") return random.pick(["64 KiB", 65536, "1 MiB", "100 KB"]);
      if (name === "swap") return random.percent(50) ? ramSwap() : swapLike(world);
      if (name === "module") return undefined;
      if (name === "limits") return oddOptions(random, ["pages", "dma32Pages"], () => 5, poke);
      if (name === "watermarks") return { min: random.below(3), low: 3, high: random.below(9) };
      if (name === "pool") return oddOptions(random, ["orders", "dma32"], () => [0], poke);
      return random.pick([true, false, 5, "2 MiB"]);
    };
    const options = oddOptions(random, DEVICE_OPTIONS, likely, poke);
    const make = random.pick([createDevice, createDeviceSync]);
    closed(
      world,
      world.call("createDevice", () => make(options as never), true),
    );
  },
  swap(world) {
    const { random, poke } = world;
    const [name, make, known] = random.pick(SWAPS);
    const likely = () => random.pick(["1 MiB", 5, "x", {}, () => 1]);
    world.call(name, () => make(oddOptions(random, known, likely, poke)));
  },
  "swap on something"(world) {
    const { random, poke } = world;
    const options = oddOptions(random, ["size", "table"], () => "1 MiB", poke);
    world.call("encryptedSwap", () => encryptedSwap(oddValue(random, poke) as never));
    world.call("durableObjectSwap", () => {
      return durableObjectSwap(oddValue(random, poke) as never, options as never);
    });
  },
};

/** Something like a swap device: methods that fail, answer oddly, or do more of the same. */
function swapLike(world: World): unknown {
  const { random, poke } = world;
  const likely = (name: string) => {
    if (name === "slots") return 1 + random.below(64);
    if (name === "queueDepth") return 1 + random.below(3);
    if (name === "name") return "odd";
    return () => {
      poke();
      return random.percent(30) ? undefined : oddValue(random, poke);
    };
  };
  const known = ["name", "slots", "queueDepth", "read", "write", "readSync", "writeSync"];
  return oddOptions(random, [...known, "open", "discard", "close"], likely, poke);
}

const KERNEL: Record<string, (world: World) => void> = {
  tt(world) {
    const { random, poke, device } = world;
    const pages = random.percent(90) ? 1 + random.below(20) : oddValue(random, poke);
    const likely = (name: string) => (name === "caching" ? "wc" : random.below(3));
    const options = oddOptions(random, ["caching", "flags", "dma", "id"], likely, poke);
    const tt = world.call("Tt", () => new ttm.Tt(pages as number, options as object)) as ttm.Tt;
    if (!tt || tt.numPages > 1000) return;
    const context = () => rangeIn(world, 9, ["signal", "interruptible"]);
    for (let i = random.below(4); i > 0; i--) {
      const name = random.pick([
        ...(["populateTt", "populateTtSync", "shrinkTt", "shrinkTtSync", "swapoutTt"] as const),
        ...(["swapoutTtSync", "kmapTt", "unpopulateTt", "kmapTt"] as const),
      ]);
      const args =
        name === "kmapTt" ? [oddValue(random, poke), oddValue(random, poke)] : [context()];
      const pool = random.percent(95) ? device.pool : oddValue(random, poke);
      const target = random.percent(95) ? tt : oddValue(random, poke);
      world.call(name, () => (ttm as unknown as Untyped)[name]?.(pool, target, ...args));
    }
    world.tts.push(tt);
  },
  Pool(world) {
    const { random, poke, device } = world;
    const likely = (name: string) => (name === "orders" ? [0, 2] : random.percent(50));
    const options = oddOptions(random, ["orders", "coherent", "dma32"], likely, poke);
    const pool = world.call("Pool", () => new ttm.Pool(device.global, options as object));
    (pool as ttm.Pool | undefined)?.close();
  },
  "fault attribute"(world) {
    const { random, poke } = world;
    const known = ["probability", "interval", "times", "space", "seed"];
    const options = oddOptions(random, known, () => random.below(200), poke);
    world.call("set", () => new ttm.FaultAttr().set(options as object));
  },
  shrinker(world) {
    const { random, poke, device } = world;
    const answer = () => {
      poke();
      return random.pick([0, 1, -1, -2, Number.NaN, undefined, "5"]);
    };
    const likely = (name: string) => (/Objects/.test(name) ? answer : random.pick(["s", 2]));
    const known = ["name", "seeks", "batch", "countObjects", "scanObjects"];
    const shrinker = oddOptions(random, known, likely, poke) as ttm.Shrinker;
    const { shrinkers } = device.global;
    world.call("register", () => {
      shrinkers.register(shrinker);
      world.later.push(() => shrinkers.unregister(shrinker));
    });
  },
};

/** Tables by how often they are drawn from. */
export const MORE: readonly Record<string, (world: World) => void>[] = [
  STREAMS,
  STREAMS,
  KERNEL,
  KERNEL,
  MAKERS,
];
