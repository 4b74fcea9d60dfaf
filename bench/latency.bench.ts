/*
 * Latency: how long must others on the event loop wait while a device shrinks, and how long does it take
 * from a program's start to its first page?
 *
 * Delay: a timer asks for every millisecond, and notes how much later it is called; held against the
 * same timer with nothing else to do. The asynchronous form lets the loop turn every 8 ms, so that is
 * about what a wait can be; the synchronous form, for comparison, is one long wait.
 *
 * Start: programs bundled and minified, one process each, in turns with a program that is empty: from
 * import to first page inside the process, and the whole process from start to exit. workerd's clock
 * stands still while a program runs, so only the latter is known of it.
 */
import { spawnSync } from "node:child_process";
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { join } from "node:path";
import process from "node:process";
import { createDevice, type Device } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import {
  type Bench,
  collected,
  MIB,
  main,
  median,
  now,
  QUICK,
  quantile,
  RUNTIME,
  rounds,
  Samples,
} from "./harness.ts";

/** Milliseconds that a timer came late, again and again while `work` runs. */
async function delays(work: () => Promise<unknown>): Promise<number[]> {
  const late: number[] = [];
  let due = 0;
  const again = () => {
    due = now() + 1e6;
    return setTimeout(tick, 1);
  };
  const tick = () => {
    late.push(Math.max(0, now() - due) / 1e6);
    timer = again();
  };
  let timer = again();
  await work();
  // The wait that the end of the work cut short counts too; what comes later does not.
  await new Promise((resolve) => setTimeout(resolve, 5));
  clearTimeout(timer);
  return late;
}

async function filled(memory: number): Promise<Device> {
  const device = await createDevice({ memory, swap: fileSwap({ size: memory }), keepClean: false });
  const data = new Uint8Array(2 * MIB).fill(0x5a);
  for (let at = 0; at < memory; at += data.length) {
    device.createBuffer(data.length).writeSync(0, data);
  }
  return device;
}

async function eventLoop(bench: Bench): Promise<void> {
  const memory = QUICK ? 64 * MIB : 512 * MIB;
  const cases: [string, () => Promise<number[]>][] = [
    ["idle", () => delays(() => new Promise((resolve) => setTimeout(resolve, 300)))],
    [
      "shrink",
      async () => {
        const device = await filled(memory);
        const late = await delays(() => device.shrink());
        await device.close({ force: true });
        return late;
      },
    ],
    [
      "shrinkSync",
      async () => {
        const device = await filled(memory);
        const late = await delays(async () => {
          device.shrinkSync();
        });
        await device.close({ force: true });
        return late;
      },
    ],
  ];
  const found = new Map<string, number[][]>();
  for (let round = -1; round < rounds(5); round++) {
    for (const [name, run] of cases) {
      await collected();
      const late = await run();
      if (round >= 0) found.set(name, [...(found.get(name) ?? []), late]);
    }
  }
  const figures: [string, (late: number[]) => number][] = [
    ["p50", (late) => quantile(late, 0.5)],
    ["p99", (late) => quantile(late, 0.99)],
    ["longest", (late) => Math.max(...late)],
  ];
  for (const [name] of cases) {
    const what = name === "idle" ? "idle" : `${name}() of ${memory / MIB} MiB to file`;
    for (const [figure, of] of figures) {
      const values = (found.get(name) ?? []).map(of);
      const idle = (found.get("idle") ?? []).map(of);
      const ratio = median(values.map((value, i) => (idle[i] as number) / value));
      const against = name === "idle" ? {} : { ratio, against: "idle" };
      bench.value(`event-loop delay, ${what}, ${figure}`, values, { unit: "ms", ...against });
    }
  }
}

const START = "build/bench/start";
const FLAGS: Readonly<Record<string, string[]>> = {
  deno: ["run", "--allow-all", "--no-lock", "--no-config"],
};

/** A program that times the import of another. */
function timed(program: string): string {
  const path = join(process.cwd(), START, `timed_${program}.mjs`);
  writeFileSync(
    path,
    `const start = performance.now();
await import(${JSON.stringify(join(process.cwd(), START, `${program}.mjs`))});
console.log((performance.now() - start) * 1e6);
`,
  );
  return path;
}

function run(command: string, args: string[], cwd?: string): string {
  const options = { encoding: "utf8", ...(cwd === undefined ? {} : { cwd }) } as const;
  const { error, status, stdout, stderr } = spawnSync(command, args, options);
  if (error) throw error;
  if (status !== 0) throw new Error(`${command} ${args.join(" ")} failed:\n${stderr}`);
  return stdout;
}

/** The configuration of a workerd that runs one program. */
function workerdConfig(folder: string, program: string): string {
  const wasm = readdirSync(folder).includes("engine.wasm") && program !== "empty";
  const modules = [
    `(name = "./${program}.mjs", esModule = embed "${program}.mjs")`,
    ...(wasm ? [`(name = "./engine.wasm", wasm = embed "engine.wasm")`] : []),
  ];
  const file = `${program}.capnp`;
  writeFileSync(
    join(folder, file),
    `using Workerd = import "/workerd/workerd.capnp";
const config :Workerd.Config = (services = [(name = "start", worker = .start)]);
const start :Workerd.Worker = (
  compatibilityDate = "2026-07-01",
  modules = [${modules.join(", ")}],
);
`,
  );
  return file;
}

async function coldStart(bench: Bench): Promise<void> {
  mkdirSync(START, { recursive: true });
  const flags = FLAGS[RUNTIME] ?? [];
  const samples = new Samples();
  const programs = ["empty", "first_page"];
  const groups = programs.flatMap((program) => {
    const path = timed(program);
    const whole = join(process.cwd(), START, `${program}.mjs`);
    return [
      [
        {
          name: `${program}, import`,
          run: () => Number(run(process.execPath, [...flags, path])),
        },
      ],
      [
        {
          name: `${program}, process`,
          run: () => {
            const start = now();
            run(process.execPath, [...flags, whole]);
            return now() - start;
          },
        },
      ],
    ];
  });
  const workerd = process.env.TTM_BENCH_WORKERD;
  if (RUNTIME === "node" && workerd) {
    const folder = join(process.cwd(), START, "workerd");
    for (const program of programs) {
      const config = workerdConfig(folder, program);
      groups.push([
        {
          name: `${program}, workerd`,
          run: () => {
            const start = now();
            run(workerd, ["test", config], folder);
            return now() - start;
          },
        },
      ]);
    }
  }
  await samples.interleave(rounds(21), groups, 2);
  const options = { unit: "ms", per: 1e6 };
  const against = (kind: string) => ({ against: `empty, ${kind}`, label: "an empty module" });
  bench.row("import of an empty module", samples, "empty, import", options);
  bench.row("import to first page written", samples, "first_page, import", {
    ...options,
    ...against("import"),
  });
  bench.row("process of an empty module", samples, "empty, process", options);
  bench.row("process up to the first page", samples, "first_page, process", {
    ...options,
    ...against("process"),
  });
  if (RUNTIME !== "node" || !workerd) return;
  bench.row("process of an empty module", samples, "empty, workerd", options, "workerd");
  const row = { ...options, ...against("workerd") };
  bench.row("process up to the first page", samples, "first_page, workerd", row, "workerd");
}

await main("latency", async (bench) => {
  await eventLoop(bench);
  await coldStart(bench);
  const imported = bench.medians(/^import to first page written$/);
  const limit = { atMost: 10, unit: "ms" };
  bench.keep("import to first page written, on Node", imported, limit, RUNTIME, "node");
  const whole = /^process up to the first page$/;
  bench.promise("process up to the first page, of an empty one", "ratio", whole, {
    atLeast: 1 / 3,
  });
});
