import { messageOf } from "../errors.ts";

/** The rules of the contract that the suite can see broken, by a short name. */
const RULES = {
  shape:
    "a device has a name, slots (1 to 2^31 - 1), and readSync and writeSync, or read, write and queueDepth (1 to 1024)",
  pairs: "readSync and writeSync are done when they return; read and write return promises",
  content: "a read gives the pages that were written to its slots last",
  runs: "reads may come in other runs than the writes went out",
  neighbours: "a write changes its own slots and no others",
  views: "views are good until the call has settled, and not to be kept: copy the bytes",
  fills: "a read fills all of its views or throws, and touches nothing else",
  source: "a write does not change its views",
  settles: "a call settles",
  flight: "up to queueDepth calls may be in flight at once, and end in any order",
  apart:
    "two devices do not see each other's pages; a second user of one store is an error at open",
  discard: "a discard forgets the slots it names and no others, and these may be written again",
  space: "a store from which everything was discarded holds nothing",
  reopen: "a device that was closed may be opened again",
  nothing: "after close nothing of the content stays anywhere",
  later: "a call that has settled has no later effect",
  full: "a store that is full throws what is known as ENOSPC",
  short:
    "a short write says how many pages it stored, in order, fewer than it was asked for, and why",
  kept: "what a store has taken stays readable, also when it is full",
  capacity:
    "what a store has taken when it first says that it is full is its capacity from then on",
  failed: "a read that fails harms no other slot",
  pool: "a pool on the device gives every byte back as it was written",
} as const;

/** Short name of a rule of the contract of swap devices. */
export type SwapRule = keyof typeof RULES;

/** A rule of the contract was broken: `rule` names it, the message says it, and what was seen. */
export class SwapContractError extends Error {
  /** `"SwapContractError"`. */
  override readonly name: string = "SwapContractError";
  /** The rule. */
  readonly rule: SwapRule;

  /** `seen`: what the device did instead. */
  constructor(rule: SwapRule, seen: string, cause?: unknown) {
    super(
      `broken: "${RULES[rule]}" (${rule}); ${seen}`,
      cause === undefined ? undefined : { cause },
    );
    this.rule = rule;
  }
}

/** @throws SwapContractError unless it holds */
export function expectRule(holds: boolean, rule: SwapRule, seen: () => string): asserts holds {
  if (!holds) throw new SwapContractError(rule, seen());
}

/** Does some work of which nothing but what breaks a rule may be thrown. */
export async function within<T>(
  rule: SwapRule,
  what: string,
  work: () => T | Promise<T>,
): Promise<T> {
  try {
    return await work();
  } catch (error) {
    if (error instanceof SwapContractError) throw error;
    throw new SwapContractError(rule, `${what} failed: ${messageOf(error)}`, error);
  }
}
