/* Fewest operations that still fail: delta debugging (A. Zeller) over the operations of a plan. */
import type { Library } from "./library.ts";
import { keeping, type Plan } from "./plan.ts";
import { type Result, run } from "./run.ts";

/** Runs that a reduction may take. */
const RUNS_MAX = 2000;

/** What is left of a plan, and how it fails. */
export interface Shrunk {
  readonly plan: Plan;
  /** Where the operations that are left stand in the whole plan. */
  readonly kept: readonly number[];
  readonly failure: NonNullable<Result["failure"]>;
  readonly runs: number;
}

/** What a failure is about, without its numbers: so that no other one is reduced in its place. */
function kindOf(message: string): string {
  return (message.split("\n")[0] as string).replace(/\d+/g, "#").slice(0, 40);
}

/** Leaves out operations of `plan`, which fails with `failure`, as long as it fails in the same way. */
export async function shrunk(
  plan: Plan,
  library: Library,
  failure: NonNullable<Result["failure"]>,
): Promise<Shrunk> {
  const kind = kindOf(failure.message);
  let kept = plan.ops.map((_, i) => i).slice(0, failure.index + 1);
  let last = failure;
  let runs = 0;
  const fails = async (some: readonly number[]): Promise<boolean> => {
    runs++;
    const { failure: seen } = await run(keeping(plan, some), library);
    if (!seen || kindOf(seen.message) !== kind) return false;
    last = seen;
    return true;
  };
  for (let size = Math.ceil(kept.length / 2); runs < RUNS_MAX; ) {
    const before = kept.length;
    // From the end on: what comes late depends on little.
    for (let to = kept.length; to > 0 && runs < RUNS_MAX; to -= size) {
      const some = [...kept.slice(0, Math.max(to - size, 0)), ...kept.slice(to)];
      if (await fails(some)) kept = some;
    }
    if (size > 1) size = Math.ceil(size / 2);
    else if (kept.length === before) break;
  }
  return { plan: keeping(plan, kept), kept, failure: last, runs };
}
