/* What can happen to a call of the swap device, and to the device itself. */
import type { Random } from "../../src/testing/random.ts";
import type { Outcome } from "./swap.ts";

export type FaultKind =
  | "eio"
  | "enospc"
  | "enomem"
  | "gone"
  | "odd"
  | "short"
  | "torn"
  | "late"
  | "silent"
  | "twice"
  | "heeds"
  | "flipRead"
  | "flip"
  | "stale"
  | "capacity";

/** A fault that waits for a call. */
export interface Fault {
  readonly kind: FaultKind;
  /** The calls that it happens to; `undefined`: any. */
  readonly on: "read" | "write" | undefined;
}

interface Row {
  readonly on?: "read" | "write";
  /** What comes of the call; none: it happens otherwise. */
  readonly outcome?: (pages: number, random: Random) => Outcome;
  /** It spoils content, so that there have to be checksums. */
  readonly damages?: boolean;
  /** It needs calls that take time. */
  readonly waits?: boolean;
  /** Most calls in a row that it happens to. */
  readonly times: number;
}

function coded(code: string): Error {
  return Object.assign(new Error(`simulated ${code}`), { code });
}

/** Each kind of fault. */
export const FAULTS: Readonly<Record<FaultKind, Row>> = {
  eio: { outcome: () => ({ error: coded("EIO") }), times: 3 },
  enospc: { on: "write", outcome: () => ({ error: coded("ENOSPC") }), times: 3 },
  enomem: { outcome: () => ({ error: coded("ENOMEM") }), times: 2 },
  gone: { outcome: () => ({ error: coded("ENODEV") }), times: 40 },
  odd: {
    outcome: (_, random) => ({ error: random.pick(["a text", 0, null, {}, new Error("no code")]) }),
    times: 2,
  },
  short: {
    on: "write",
    outcome: (pages, random) => ({
      take: random.below(pages),
      error: coded(random.pick(["ENOSPC", "EIO"])),
    }),
    times: 3,
  },
  late: { waits: true, times: 3 },
  silent: { waits: true, times: 1 },
  twice: { waits: true, times: 5 },
  heeds: { waits: true, times: 20 },
  flipRead: { on: "read", outcome: () => ({ flips: true }), damages: true, times: 2 },
  // It says that all is stored, and that ends somewhere.
  torn: {
    on: "write",
    outcome: (pages, random) => ({ loses: random.below(pages) }),
    damages: true,
    times: 1,
  },
  flip: { damages: true, times: 1 },
  stale: { damages: true, times: 1 },
  capacity: { times: 1 },
};

export const FAULT_KINDS: readonly FaultKind[] = Object.keys(FAULTS) as FaultKind[];
