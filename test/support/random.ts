import process from "node:process";
import { Random } from "../../src/testing/random.ts";

export { Random };

/** The seed of this run: `TTM_SEED` repeats one. */
export const SEED: number = Number(process.env.TTM_SEED ?? Math.floor(Math.random() * 2 ** 32));

/** Runs a random test; its failure names the seed that repeats it. */
export async function seeded(test: (random: Random) => void | Promise<void>): Promise<void> {
  try {
    await test(new Random(SEED));
  } catch (error) {
    const text = error instanceof Error ? error.message : String(error);
    throw new Error(`with TTM_SEED=${SEED}: ${text}`, { cause: error });
  }
}
