import { arch, availableParallelism, cpus, platform, release } from "node:os";
import { formatSize } from "../size.ts";
import type { RunOptions } from "./args.ts";
import type { Plan } from "./files.ts";
import { ROUNDS } from "./measure.ts";
import type { JobReport, Measured, TrimReport } from "./report.ts";

/** What the table is about, besides the reports. */
interface Setting {
  readonly options: RunOptions;
  /** Where the files come from. */
  readonly paths: readonly string[];
  readonly plan: Plan;
  readonly filesListed: number;
  readonly swapSize: number;
}

const NONE = "-";

/** One column for each runtime, below what was done where. */
export function table(setting: Setting, reports: readonly JobReport[]): string {
  const rows = [
    ["", ...reports.map(({ runtime, version }) => `${runtime} ${version}`)],
    ...rowsOf(setting, reports),
  ];
  const widths = (rows[0] as string[]).map((_, column) =>
    Math.max(...rows.map((row) => (row[column] ?? "").length)),
  );
  const lines = rows.map((row) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i] ?? 0) : cell.padStart(widths[i] ?? 0)))
      .join("   ")
      .trimEnd(),
  );
  return [...header(setting), "", ...lines, "", ...footer(setting, reports), ""].join("\n");
}

/** Where swap without a path is. */
const PLACES = {
  ram: "in linear memory",
  compressed: "in memory beside the pages",
  file: "private file",
} as const;

function header({ options, paths, plan, filesListed, swapSize }: Setting): string[] {
  const { swap, memory, objectSize, seed, interrupt } = options;
  const [cpu] = cpus();
  const place = swap.path ?? PLACES[swap.kind];
  const some = plan.files < filesListed ? `${count(plan.files)} of ` : "";
  return [
    `files    ${some}${count(filesListed)} in ${paths.join(", ")}`,
    `objects  ${formatSize(plan.bytes)} in pieces of ${formatSize(objectSize)} at most`,
    `memory   ${formatSize(memory)} of ${options.caching} pages; swap: ${swap.kind} (${place}), ${formatSize(swapSize)}`,
    `reads    all in sequence, ${count(options.accesses)} in zipf order, seed ${seed}; ` +
      `${Number((interrupt * 100).toFixed(2))} % of restores interrupted`,
    `machine  ${cpu?.model.trim() || "unknown CPU"}, ${availableParallelism()} cores, ` +
      `${platform()} ${release()} ${arch()}`,
  ];
}

function rowsOf({ options }: Setting, reports: readonly JobReport[]): string[][] {
  const row = (label: string, cell: (report: JobReport) => string) => [label, ...reports.map(cell)];
  const rate = (label: string, pick: (report: JobReport) => Measured | undefined) => [
    row(label, (report) => speed(pick(report))),
    row("  of the roof", (report) => ratio(pick(report))),
  ];
  const swapped = options.swap.kind === "file";
  return [
    row("objects", ({ objects }) => count(objects)),
    row("bytes", ({ bytes }) => formatSize(bytes)),
    row("pages region", ({ memoryBytes }) => formatSize(memoryBytes)),
    row("pages out", ({ pagesOut }) => count(pagesOut)),
    row("pages in", ({ pagesIn }) => count(pagesIn)),
    row("pages left clean", ({ pagesClean }) => count(pagesClean)),
    ...(options.fault > 0 ? [row("faults injected", ({ faults }) => count(faults))] : []),
    row("restores interrupted", ({ interrupted }) => count(interrupted)),
    row("restores resumed", ({ resumed }) => count(resumed)),
    row("access p50", ({ p50us }) => microseconds(p50us)),
    row("access p99", ({ p99us }) => microseconds(p99us)),
    row("idle RSS", ({ rssIdleBytes }) => formatSize(rssIdleBytes)),
    row("peak RSS", ({ rssPeakBytes }) => formatSize(rssPeakBytes)),
    ...(options.trim ? trimRows(row) : []),
    ...(swapped ? rate("shrink to file", ({ measured }) => measured.shrink) : []),
    ...(swapped ? rate("restore from file", ({ measured }) => measured.restore) : []),
    ...(swapped ? rate("shrink, checksums", ({ measured }) => measured.shrinkSums) : []),
    ...(swapped ? rate("restore, checksums", ({ measured }) => measured.restoreSums) : []),
    ...rate("shrink to RAM", ({ measured }) => measured.ramShrink),
    ...rate("restore from RAM", ({ measured }) => measured.ramRestore),
    ...rate("populate", ({ measured }) => measured.populate),
    row("mismatches", ({ mismatches }) => count(mismatches)),
  ];
}

function trimRows(row: (label: string, cell: (report: JobReport) => string) => string[]) {
  const size = (label: string, pick: (trim: TrimReport) => number) =>
    row(label, ({ trim }) => (trim ? formatSize(pick(trim)) : NONE));
  return [
    row("trimmed by", ({ trim }) => trim?.by ?? NONE),
    size("given back", ({ bytes }) => bytes),
    size("RSS before the trim", ({ rssBeforeBytes }) => rssBeforeBytes),
    size("RSS after it", ({ rssAfterBytes }) => rssAfterBytes),
    size("RSS, all read again", ({ rssRestoredBytes }) => rssRestoredBytes),
  ];
}

function footer({ options }: Setting, reports: readonly JobReport[]): string[] {
  const file = [
    "roof, file: bare writeSync / readSync of the same bytes to and from a file of the same folder,",
    "            one call an object, 1 MiB a call at most; without checksums, then with them, as by default",
  ];
  const apart = options.swap.kind !== "ram" ? ", in a process of their own" : "";
  const sampled = reports.some(({ rssSource }) => rssSource === "samples");
  return [
    `ratios: our throughput by the roof's, in turns in one process; medians of ${ROUNDS} rounds (min-max)`,
    ...(options.swap.kind === "file" ? file : []),
    `roof, RAM and populate: bare memory.copy of the same bytes, one an object${apart}`,
    `peak RSS: ${sampled ? "highest of samples" : "the kernel's mark (VmHWM)"}`,
  ];
}

function count(value: number): string {
  return String(value).replace(/\B(?=(\d{3})+$)/g, ",");
}

function speed(measured: Measured | undefined): string {
  return measured ? `${(measured.bytesPerSecond / 1e9).toFixed(2)} GB/s` : NONE;
}

function ratio(measured: Measured | undefined): string {
  if (!measured) return NONE;
  const { ratio, ratioMin, ratioMax } = measured;
  return `${ratio.toFixed(2)} (${ratioMin.toFixed(2)}-${ratioMax.toFixed(2)})`;
}

function microseconds(value: number | null): string {
  return value === null ? NONE : `${value.toFixed(1)} us`;
}
