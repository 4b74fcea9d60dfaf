/*
 * Questions of nanoseconds: mitata measures a function that does a fixed number of operations; the
 * contenders take turns, and a round's sample is the median of the many that mitata took in it.
 */
import { measure } from "mitata";
import { QUICK, type Samples } from "./harness.ts";

/** One contender: what it does, and work between two rounds that is not timed. */
export interface Micro {
  readonly name: string;
  run(): void;
  before?(): void;
}

const TIME_NS = QUICK ? 5e6 : 25e6;

/** Rounds over contenders, in turns; samples are nanoseconds of one call. */
export async function micro(
  samples: Samples,
  rounds: number,
  contenders: readonly Micro[],
): Promise<void> {
  for (let round = -1; round < rounds; round++) {
    for (const { name, run, before } of round % 2 === 0 ? contenders : [...contenders].reverse()) {
      before?.();
      const { p50 } = await measure(run, { gc: false, min_cpu_time: TIME_NS, batch_samples: 64 });
      if (round >= 0) samples.add(name, p50);
    }
  }
}
