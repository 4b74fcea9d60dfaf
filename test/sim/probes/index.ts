/*
 * Promises that random operations on many buffers cannot be held to, since too much else happens meanwhile: each is
 * looked at by itself, on a device of its own, with numbers that the seed draws.
 */
import { PAGE_SIZE } from "../../../assembly/abi.ts";
import type { Device } from "../../../src/index.ts";
import { Random } from "../../../src/testing/random.ts";
import { Clock } from "../clock.ts";
import { drained, type Library, useClock } from "../library.ts";
import type { Bench, Probe } from "./bench.ts";
import * as bytes from "./bytes.ts";
import * as sync from "./sync.ts";
import * as waits from "./waits.ts";

const PROBES = [...sync.PROBES, ...bytes.PROBES, ...waits.PROBES];

/** Promises that one seed is about. */
const TOGETHER = 3;

/**
 * Holds the library to some of the promises. It lives by a clock of its own meanwhile, and by `back` afterwards.
 *
 * @throws Failure, Error when one does not hold
 */
export async function probe(seed: number, library: Library, back: Clock): Promise<void> {
  const random = new Random(seed ^ 0x68bc21eb);
  const clock = new Clock(new Random(seed ^ 0x2c1b3c6d), 0.01);
  useClock(clock);
  try {
    for (let i = 0; i < TOGETHER; i++) {
      const each = PROBES[(seed * TOGETHER + i) % PROBES.length] as Probe;
      await probeOne(each, library, random, clock);
    }
  } finally {
    useClock(back);
  }
}

async function probeOne(
  each: Probe,
  library: Library,
  random: Random,
  clock: Clock,
): Promise<void> {
  const devices: Device[] = [];
  const bench: Bench = {
    ...{ library, random },
    device: (options, frames) => {
      const made = library.createDeviceSync({ ...options, memory: frames * PAGE_SIZE });
      devices.push(made);
      return made;
    },
    settle: async () => {
      do await drained();
      while (clock.step());
    },
  };
  try {
    await each(bench);
  } catch (error) {
    if (error instanceof Error) error.message = `${each.name}: ${error.message}`;
    throw error;
  } finally {
    for (const made of devices) void made.close({ force: true });
    await bench.settle();
  }
}
