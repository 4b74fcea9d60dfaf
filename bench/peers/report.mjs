/** Rows of results, tables of them, and what they mean for the library. */

export const PHASES = ["populate", "access", "restore"];
/** A package keeps to the budget while its peak is at most this many times ours. */
const BUDGET_FACTOR = 1.5;
const MIB = 1024 * 1024;

export function median(values) {
  const sorted = [...values].sort((a, b) => a - b);
  const middle = sorted.length >> 1;
  return sorted.length % 2 === 1 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/** Median of `of` over `to`, field by field, of runs that stood next to each other. */
function ratio(runs, of, to, field) {
  const ratios = [];
  for (const run of runs.filter((each) => each.peer === of)) {
    const other = runs.find((each) => each.peer === to && each.pair === run.pair);
    if (other) ratios.push(field(run) / field(other));
  }
  return ratios.length === 0 ? undefined : median(ratios);
}

/**
 * One row for each peer, object size and phase. `runs`: { peer, objectBytes, pair, phases, peak }.
 */
export function rowsOf(peers, runs) {
  const rows = [];
  for (const objectBytes of new Set(runs.map((run) => run.objectBytes))) {
    for (const peer of peers) {
      const all = runs.filter((run) => run.objectBytes === objectBytes);
      const own = all.filter((run) => run.peer === peer.name);
      if (own.length === 0) continue;
      for (const phase of PHASES) {
        const of = (field) => own.map((run) => run.phases[phase][field]);
        const mbps = of("mbps");
        rows.push({
          peer: peer.name,
          objectBytes,
          phase,
          unit: "MB/s",
          median: median(mbps),
          min: Math.min(...mbps),
          max: Math.max(...mbps),
          rounds: own.length,
          p50us: median(of("p50us")),
          p99us: median(of("p99us")),
          p999us: median(of("p999us")),
          cpuUs: median(of("cpuUs")),
          rssPeakBytes: median(own.map((run) => run.peak)),
          lines: peer.lines,
          ratioToOurs: ratio(all, peer.name, "ttm", (run) => run.phases[phase].mbps) ?? null,
        });
      }
    }
  }
  return rows;
}

/** What is known of a run, of each phase and of all of it. `less`: the less, the better. */
const FIGURES = [
  ...PHASES.flatMap((phase) => [
    { text: phase, unit: "MB/s", value: (run) => run.phases[phase].mbps },
    { text: `${phase}, p50`, unit: "µs", value: (run) => run.phases[phase].p50us, less: true },
    { text: `${phase}, p99`, unit: "µs", value: (run) => run.phases[phase].p99us, less: true },
    { text: `${phase}, p999`, unit: "µs", value: (run) => run.phases[phase].p999us, less: true },
  ]),
  { text: "peak RSS", unit: "MiB", value: (run) => run.peak / MIB, less: true },
];

/** The rows as those of the other benchmarks; `ratio` above 1: better than ours. */
export function jsonOf(peers, runs) {
  const sizes = [...new Set(runs.map((run) => run.objectBytes))];
  return sizes.flatMap((objectBytes) => {
    const all = runs.filter((run) => run.objectBytes === objectBytes);
    return peers.flatMap(({ name }) => {
      const own = all.filter((run) => run.peer === name);
      return own.length === 0 ? [] : FIGURES.map((figure) => rowOf(figure, all, own));
    });
  });
}

function rowOf({ text, unit, value, less = false }, all, own) {
  const [{ peer, objectBytes }] = own;
  const values = own.map(value);
  const times = ratio(all, peer, "ttm", value);
  return {
    bench: "peers",
    case: `${text}, objects of ${objectBytes / 1024} KiB, ${peer}`,
    runtime: "node",
    unit,
    median: median(values),
    min: Math.min(...values),
    max: Math.max(...values),
    rounds: own.length,
    ratio: times === undefined ? null : less ? 1 / times : times,
    against: times === undefined ? null : "ttm",
  };
}

const number = (value, digits = 0) => (value === null ? "-" : value.toFixed(digits));

/** Lines of cells, the first the head, for one object size. */
function cellsOf(peers, rows, objectBytes) {
  const head = ["peer"];
  for (const phase of PHASES) head.push(`${phase} MB/s`, "min-max", "x ours");
  head.push("p50 us", "p99 us", "p999 us", "peak RSS MiB", "lines");
  const table = [head];
  for (const peer of peers) {
    const own = rows.filter((row) => row.peer === peer.name && row.objectBytes === objectBytes);
    if (own.length === 0) continue;
    const cells = [peer.title];
    for (const { median, min, max, ratioToOurs } of own) {
      cells.push(number(median), `${number(min)}-${number(max)}`, number(ratioToOurs, 2));
    }
    const access = own.find((row) => row.phase === "access");
    cells.push(number(access.p50us), number(access.p99us), number(access.p999us));
    cells.push(number(access.rssPeakBytes / MIB), String(access.lines));
    table.push(cells);
  }
  return table;
}

function sizesOf(rows) {
  return [...new Set(rows.map((row) => row.objectBytes))];
}

const titleOf = (objectBytes) => `Objects of ${objectBytes / 1024} KiB (latencies: access)`;

export function textOf(peers, rows) {
  return sizesOf(rows)
    .map((objectBytes) => {
      const table = cellsOf(peers, rows, objectBytes);
      const widths = table[0].map((_, i) => Math.max(...table.map((cells) => cells[i].length)));
      const line = (cells) => {
        const pad = (cell, i) => (i === 0 ? cell.padEnd(widths[i]) : cell.padStart(widths[i]));
        return cells.map(pad).join("  ");
      };
      return [titleOf(objectBytes), ...table.map(line)].join("\n");
    })
    .join("\n\n");
}

export function markdownOf(peers, rows) {
  return sizesOf(rows)
    .map((objectBytes) => {
      const [head, ...body] = cellsOf(peers, rows, objectBytes);
      const rule = head.map((_, i) => (i === 0 ? "---" : "---:"));
      const lines = [head, rule, ...body].map((cells) => `| ${cells.join(" | ")} |`);
      return [`### ${titleOf(objectBytes)}`, "", ...lines].join("\n");
    })
    .join("\n\n");
}

/** How we stand against the packages that keep to the budget and against the optimum, line by line. */
export function verdictsOf(peers, runs) {
  const verdicts = [];
  const say = (ok, text) => verdicts.push(`${ok ? "ok  " : "MISS"} ${text}`);
  for (const objectBytes of new Set(runs.map((run) => run.objectBytes))) {
    const all = runs.filter((run) => run.objectBytes === objectBytes);
    const kib = `${objectBytes / 1024} KiB`;
    const mbps = (phase) => (run) => run.phases[phase].mbps;
    const within = peers.filter((peer) => {
      const peak = peer.package ? ratio(all, peer.name, "ttm", (run) => run.peak) : undefined;
      return peak !== undefined && peak <= BUDGET_FACTOR;
    });
    for (const phase of PHASES) {
      for (const { name } of within) {
        const least = phase === "populate" ? 2 : 1;
        const times = 1 / ratio(all, name, "ttm", mbps(phase));
        say(
          times >= least,
          `${kib} ${phase}: ${times.toFixed(2)} times ${name} (at least ${least})`,
        );
      }
      for (const [ours, least] of [
        ["ttm-nosums", 0.95],
        ["ttm", 0.85],
      ]) {
        const times = ratio(all, ours, "optimum", mbps(phase));
        if (times === undefined) continue;
        say(
          times >= least,
          `${kib} ${phase}: ${ours} ${times.toFixed(2)} of the optimum (${least})`,
        );
      }
    }
    for (const phase of PHASES) {
      const times = ratio(all, "ttm-tight", "ttm", mbps(phase));
      if (times === undefined) continue;
      say(
        times >= 0.95,
        `${kib} ${phase}: ${times.toFixed(2)} with swap as large as the data of that with twice as much (0.95)`,
      );
    }
    for (const ours of ["ttm-nosums", "ttm"]) {
      const times = ratio(all, ours, "optimum", (run) => run.phases.access.p99us);
      if (times === undefined) continue;
      say(
        times <= 1.1,
        `${kib} access p99: ${ours} ${times.toFixed(2)} of the optimum's (at most 1.1)`,
      );
    }
  }
  return verdicts;
}
