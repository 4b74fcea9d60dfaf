/* A program of random calls on one device, with user code that is hostile wherever it is called. */
import process from "node:process";
import { turn } from "../support/delays.ts";
import type { Random } from "../support/random.ts";
import { anyCall } from "./calls.ts";
import { MORE } from "./more_calls.ts";
import { World } from "./world.ts";

/** Calls between two looks at all there is. */
const ROUND = 25;

/**
 * Runs a program of so many rounds.
 *
 * @throws Error when something has happened that never may: what, and the calls before it
 */
export async function runProgram(random: Random, rounds: number): Promise<void> {
  const unhandled: unknown[] = [];
  const quiet = listenAlone((error) => unhandled.push(error));
  const world = await World.open(random);
  world.act = () => anyCall(world);
  world.more = () => {
    const call = random.pick(Object.values(random.pick(MORE)));
    call(world);
  };
  try {
    for (let round = 0; round < rounds; round++) {
      for (let i = 0; i < ROUND; i++) {
        anyCall(world);
        if (random.percent(40)) world.disturb();
        if (random.percent(30)) await turn();
        world.assertFine();
      }
      await world.settle();
      await world.assertGood();
    }
    if (random.percent(50)) await world.close();
    else {
      for (let i = 0; i < ROUND; i++) anyCall(world);
      await world.abandon();
    }
    for (let i = 0; i < ROUND; i++) anyCall(world);
    await world.settleClosed();
    await turn();
    if (unhandled.length > 0) throw new Error("nobody caught this", { cause: unhandled[0] });
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`${text}\nafter ${world.log.join("; ")}`, { cause: error });
  } finally {
    quiet();
  }
}

const EVENTS = ["unhandledRejection", "uncaughtException"] as const;

/** Hears of all errors that nobody caught, and nobody else does, until the result is called. */
function listenAlone(heard: (error: unknown) => void): () => void {
  const before = EVENTS.map((event) => process.listeners(event as "uncaughtException"));
  for (const event of EVENTS) {
    process.removeAllListeners(event);
    process.on(event as "uncaughtException", heard);
  }
  return () => {
    EVENTS.forEach((event, i) => {
      process.off(event, heard);
      for (const listener of before[i] ?? []) process.on(event as "uncaughtException", listener);
    });
  };
}
