/*
 * Random steps on a device and on a model of plain arrays, which have to show the same bytes; the
 * engine's invariants are verified after every step. A failure names its seed, and the fewest steps
 * that were found to fail.
 */
import { test } from "vitest";
import { PAGE_SIZE, ramSwap } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { defaultDevice, scatterSlots } from "./support/devices.ts";
import { MapSwap } from "./support/map_swap.ts";
import { Model, randomSteps, type Step } from "./support/model.ts";
import { roomySwap } from "./support/packed_swap.ts";
import { seeded } from "./support/random.ts";

const STEPS = 6000;
/** Steps on one device. */
const RUN = 500;
/** Most time spent on finding fewer steps that fail. */
const MINIMIZE_MS = 20_000;

/** Leaves out whatever can be left out while `steps` still fail. */
function minimize(steps: readonly Step[], fails: (steps: readonly Step[]) => boolean): Step[] {
  const end = performance.now() + MINIMIZE_MS;
  let fewest = [...steps];
  for (let size = Math.ceil(steps.length / 2); size >= 1; size = Math.floor(size / 2)) {
    for (let at = 0; at < fewest.length && performance.now() < end; ) {
      const fewer = fewest.toSpliced(at, size);
      if (fails(fewer)) fewest = fewer;
      else at += size;
    }
  }
  return fewest;
}

function withMap(slots: number): Model {
  const swap = new MapSwap({ slots });
  return new Model(defaultDevice(1024, swap), swap);
}

/** Each page needs a transfer of its own: restores stop and resume at any page. */
function withScatteredSlots(): Model {
  const swap = new MapSwap({ slots: 5000 });
  const device = defaultDevice(1024, swap);
  return new Model(device, swap, scatterSlots(device));
}

function withFile(): Model {
  const swap = fileSwap({ size: 20_000 * PAGE_SIZE });
  return new Model(defaultDevice(1024, swap));
}

const kinds: [string, () => Model][] = [
  ["RAM swap", () => new Model(defaultDevice(1024, ramSwap({ size: 20_000 * PAGE_SIZE })))],
  ["a block device that fails now and then", () => withMap(20_000)],
  ["a block device whose free slots lie scattered, and that fails", withScatteredSlots],
  ["a block device that is too small, and fails now and then", () => withMap(1400)],
  ["a file", withFile],
  ["compressed swap", () => new Model(defaultDevice(1024, roomySwap(20_000)))],
];

test.each(kinds)(`${STEPS} random steps on %s show what the model shows`, (_, create) => {
  const run = (steps: readonly Step[]): unknown => {
    const model = create();
    try {
      for (const step of steps) model.step(step);
      model.end();
      return undefined;
    } catch (error) {
      if (!model.device.closed) model.device.closeSync({ force: true });
      return error;
    }
  };
  return seeded((random) => {
    for (let done = 0; done < STEPS; done += RUN) {
      const steps = randomSteps(random, RUN);
      if (run(steps) === undefined) continue;
      const fewest = minimize(steps, (fewer) => run(fewer) !== undefined);
      const list = fewest.map((step) => JSON.stringify(step)).join("\n");
      throw new Error(`${run(fewest)}, after ${fewest.length} steps:\n${list}`);
    }
  });
});
