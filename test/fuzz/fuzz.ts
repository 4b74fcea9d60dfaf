import process from "node:process";
import { Random } from "../support/random.ts";

/** How long a fuzzer is at it when nobody says so: programs from a fixed seed, and as many from a fresh one. */
export interface Share {
  readonly seeds: number;
  readonly fixed: number;
}

/** Seconds to go on for; 0: a share of the tests. */
const SECONDS = Number(process.env.TTM_FUZZ_SECONDS ?? 0);
/** For tests: the time that a fuzzer may take (milliseconds). */
export const TIMEOUT_MS: number = (SECONDS + 60) * 1000;
/** The one program that is to be run again. */
const WANTED = process.env.TTM_SEED;

/**
 * Runs programs, each of a seed of its own: those of the share, or new ones for as long as is wanted. Returns how
 * many.
 *
 * @throws Error that names the seed of the program that failed
 */
export async function fuzz(
  { seeds, fixed }: Share,
  program: (random: Random) => void | Promise<void>,
): Promise<number> {
  const fresh = new Random(Date.now());
  if (WANTED !== undefined) {
    await run(Number(WANTED), program);
    return 1;
  }
  const end = Date.now() + SECONDS * 1000;
  let programs = 0;
  for (; SECONDS > 0 && Date.now() < end; programs++) await run(fresh.next(), program);
  if (SECONDS > 0) {
    console.log(`${programs} programs in ${SECONDS} s`);
    return programs;
  }
  for (; programs < seeds; programs++) await run(fixed + programs, program);
  for (; programs < 2 * seeds; programs++) await run(fresh.next(), program);
  return programs;
}

async function run(seed: number, program: (random: Random) => void | Promise<void>): Promise<void> {
  try {
    await program(new Random(seed));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`with TTM_SEED=${seed}: ${text}`, { cause: error });
  }
}
