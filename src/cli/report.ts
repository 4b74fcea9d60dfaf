import type { RssSource } from "./rss.ts";

/** One throughput against its roof: medians over the rounds, and how far the ratio went. */
export interface Measured {
  readonly bytesPerSecond: number;
  readonly ratio: number;
  readonly ratioMin: number;
  readonly ratioMax: number;
}

/** What is measured. `undefined`: the objects do not fit the memory twice, as it takes. */
export interface Measurements {
  /** Against memory.copy. */
  readonly populate?: Measured;
  /** To and from the chosen swap, without checksums, against its roof. */
  readonly shrink?: Measured;
  readonly restore?: Measured;
  /** The same with checksums: the default for files. */
  readonly shrinkSums?: Measured;
  readonly restoreSums?: Measured;
  /** To and from RAM swap, against memory.copy. */
  readonly ramShrink?: Measured;
  readonly ramRestore?: Measured;
}

/** Memory given back to the host, and what the process had of it. */
export interface TrimReport {
  /** By which means frames went back, and whose call that was; `null`: by none. */
  readonly means: string | null;
  readonly by: string | null;
  /** Given back. */
  readonly bytes: number;
  /** Why other means were not used. */
  readonly declined: readonly { readonly means: string; readonly why: string }[];
  /** Resident: before all was shrunk, after it was given back, and after all was read again. */
  readonly rssBeforeBytes: number;
  readonly rssAfterBytes: number;
  readonly rssRestoredBytes: number;
}

/** What one runtime did: the main job. */
export interface JobReport {
  readonly runtime: string;
  readonly version: string;
  readonly objects: number;
  readonly bytes: number;
  readonly memoryBytes: number;
  readonly accesses: number;
  readonly mismatches: number;
  readonly interrupted: number;
  readonly resumed: number;
  readonly pagesOut: number;
  readonly pagesIn: number;
  /** Pages that left without a transfer, because swap still had them. */
  readonly pagesClean: number;
  /** Faults injected. */
  readonly faults: number;
  /** Microseconds; `null` without accesses. */
  readonly p50us: number | null;
  readonly p99us: number | null;
  readonly rssIdleBytes: number;
  readonly rssPeakBytes: number;
  readonly rssSource: RssSource;
  /** `undefined`: not asked for. */
  readonly trim?: TrimReport;
  readonly measured: Measurements;
}

const NAMES = [
  "shrink",
  "restore",
  "shrinkSums",
  "restoreSums",
  "populate",
  "ramShrink",
  "ramRestore",
] as const;

/** The object that `--json` prints. */
export function toJson(reports: readonly JobReport[]): object {
  return {
    runtimes: reports.map(({ measured, p50us, p99us, rssSource, ...report }) => {
      const { rssIdleBytes, rssPeakBytes, ...counts } = report;
      const pick = (value: (measured: Measured) => number) =>
        Object.fromEntries(
          NAMES.map((name) => {
            const one = measured[name];
            return [name, one ? Number(value(one).toPrecision(4)) : null];
          }),
        );
      return {
        ...counts,
        ratio: pick((one) => one.ratio),
        bytesPerSecond: pick((one) => one.bytesPerSecond),
        p50us,
        p99us,
        rssIdleBytes,
        rssPeakBytes,
        rssSource,
      };
    }),
  };
}
