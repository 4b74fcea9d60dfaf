import process from "node:process";
import { Random as Numbers } from "../../src/random.ts";

/** Random numbers of the library's kind, and what tests make of them. */
export class Random extends Numbers {
  /** 0 up to, not including, `limit`. */
  below(limit: number): number {
    return Math.floor(this.fraction() * limit);
  }

  /** True with a probability of 0 to 1. */
  chance(probability: number): boolean {
    return this.fraction() < probability;
  }

  /** True in so many of 100 cases. */
  percent(percent: number): boolean {
    return this.below(100) < percent;
  }

  pick<T>(list: ArrayLike<T>): T {
    return list[this.below(list.length)] as T;
  }

  shuffle<T>(list: readonly T[]): T[] {
    const shuffled = [...list];
    for (let i = shuffled.length - 1; i > 0; i--) {
      const j = this.below(i + 1);
      [shuffled[i], shuffled[j]] = [shuffled[j] as T, shuffled[i] as T];
    }
    return shuffled;
  }
}

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
