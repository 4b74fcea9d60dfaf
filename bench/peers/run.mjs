/**
 * Measures the library beside what else one could use: `node run.mjs --help`. Every run is a process
 * of its own. Speeds are compared only between runs that stood next to each other: each peer's run has
 * one of ours beside it, before it in one round and behind it in the next, and the peers take turns.
 */
import { execFile } from "node:child_process";
import {
  closeSync,
  mkdirSync,
  mkdtempSync,
  openSync,
  readFileSync,
  rmSync,
  writeFileSync,
  writeSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";
import { fileURLToPath } from "node:url";
import { parseArgs, promisify } from "node:util";
import { checksums, writeCorpus } from "./corpus.mjs";
import { installLibrary } from "./install.mjs";
import { PEERS } from "./peers.mjs";
import { jsonOf, markdownOf, PHASES, rowsOf, textOf, verdictsOf } from "./report.mjs";
import { bytesOf, MIB } from "./sizes.mjs";

const HELP = `node run.mjs [options]

  --size 1GiB             bytes of all objects together
  --budget 128MiB         bytes that may be in memory; an eighth of the size
  --objects 64KiB,2MiB    bytes of one object
  --accesses 20000        reads of the zipf trace; 5000 for objects of 1 MiB and more
  --peers ttm,optimum     of: ${PEERS.map(({ name }) => name).join(", ")}
  --rounds 3
  --dir ${tmpdir()}       where corpus and spill files go
  --json FILE             rows, as JSON
  --runs FILE             every single run, as JSON
  --markdown FILE         tables, as markdown
`;

const { values: args } = parseArgs({
  options: {
    size: { type: "string", default: "1GiB" },
    budget: { type: "string" },
    objects: { type: "string", default: "64KiB,2MiB" },
    accesses: { type: "string" },
    peers: { type: "string" },
    rounds: { type: "string", default: "3" },
    dir: { type: "string", default: tmpdir() },
    json: { type: "string" },
    runs: { type: "string" },
    markdown: { type: "string" },
    help: { type: "boolean", default: false },
  },
});

const here = (path) => fileURLToPath(new URL(path, import.meta.url));

/** Lines that somebody has to write to use it, without empty ones and comments. */
function linesOf(file) {
  const text = readFileSync(here(`peers/${file}`), "utf8");
  const [, code] = /\/\/ user code\n([\s\S]*)\/\/ end of user code/.exec(text);
  const plain = code.replace(/\/\*[\s\S]*?\*\//g, "").split("\n");
  return plain.filter((line) => line.trim() !== "" && !line.trim().startsWith("//")).length;
}

function chosenPeers() {
  const names =
    args.peers?.split(",") ?? PEERS.filter((peer) => !peer.extra).map(({ name }) => name);
  return names.map((name) => {
    const peer = PEERS.find((each) => each.name === name);
    if (!peer) throw new RangeError(`there is no peer ${name}`);
    return { ...peer, lines: linesOf(peer.file) };
  });
}

/** Who runs next to whom: ours and one other; the optimum beside both of ours. */
function groupsOf(peers) {
  const ours = peers.filter((peer) => peer.ours);
  const others = peers.filter((peer) => !peer.ours);
  if (others.length === 0) return [ours];
  return others.map((other) => [...(other.package ? ours.slice(0, 1) : ours), other]);
}

/**
 * Has the system take as many pages as a run may need, and gives them back to it: the host of a virtual
 * machine hands them out on the first touch, and takes them away again, at several times the cost of a
 * write to them.
 */
function warmPageCache(path, bytes) {
  const piece = new Uint8Array(MIB).fill(1);
  const fd = openSync(path, "w");
  try {
    for (let left = 1.5 * bytes; left > 0; ) left -= writeSync(fd, piece);
  } finally {
    closeSync(fd);
    rmSync(path);
  }
}

async function measure(peer, job) {
  mkdirSync(job.dir);
  try {
    warmPageCache(join(job.dir, "warm"), job.objects * job.objectBytes);
    const module = new URL(`peers/${peer.file}`, import.meta.url).href;
    const text = JSON.stringify({ ...job, module, options: peer.options });
    const { stdout } = await promisify(execFile)(process.execPath, [here("measure.mjs"), text]);
    return JSON.parse(stdout);
  } finally {
    rmSync(job.dir, { recursive: true, force: true });
  }
}

async function measureAll(peers, dir) {
  const size = bytesOf(args.size);
  for (const objectBytes of args.objects.split(",").map(bytesOf)) {
    if (size % objectBytes !== 0) throw new RangeError(`${args.size} is not made of whole objects`);
  }
  const budget = args.budget ? bytesOf(args.budget) : size / 8;
  const corpus = join(dir, "corpus");
  writeCorpus(corpus, size);
  const runs = [];
  for (const objectBytes of args.objects.split(",").map(bytesOf)) {
    const sums = join(dir, "sums");
    writeFileSync(sums, checksums(corpus, size, objectBytes));
    const accesses = Number(args.accesses ?? (objectBytes < MIB ? 20_000 : 5_000));
    const objects = size / objectBytes;
    const job = { corpus, sums, objects, objectBytes, budget, accesses, dir: join(dir, "run") };
    const groups = groupsOf(peers.filter(({ large }) => !large || objectBytes >= MIB));
    for (let round = 0; round < Number(args.rounds); round++) {
      for (let k = 0; k < groups.length; k++) {
        const g = (k + round) % groups.length;
        const group = round % 2 === 0 ? groups[g] : groups[g].toReversed();
        for (const peer of group) {
          const result = await measure(peer, job);
          runs.push({ peer: peer.name, objectBytes, pair: `${round}/${g}`, ...result });
          const speeds = PHASES.map((phase) => result.phases[phase].mbps.toFixed(0).padStart(6));
          const text = `${round} ${String(objectBytes / 1024).padStart(5)} KiB ${peer.name.padEnd(16)}`;
          console.error(`${text}${speeds.join("")} MB/s`);
        }
      }
    }
  }
  return runs;
}

/** The tables, who measured them, and where the library stands. */
function markdown(peers, rows, runs) {
  const when = new Date().toISOString().slice(0, 10);
  const what = `${args.size} of objects, the median of ${args.rounds} rounds.`;
  const verdicts = verdictsOf(peers, runs).map((line) => `- ${line}`);
  return [
    `${when}, Node ${process.version}, ${what}`,
    markdownOf(peers, rows),
    verdicts.join("\n"),
  ].join("\n\n");
}

if (args.help) {
  process.stdout.write(HELP);
} else {
  const peers = chosenPeers();
  installLibrary();
  const dir = mkdtempSync(join(args.dir, "ttm-peers-"));
  try {
    const runs = await measureAll(peers, dir);
    const rows = rowsOf(peers, runs);
    console.log(textOf(peers, rows));
    console.log(`\n${verdictsOf(peers, runs).join("\n")}`);
    if (args.json) writeFileSync(args.json, `${JSON.stringify(jsonOf(peers, runs), null, 1)}\n`);
    if (args.runs) writeFileSync(args.runs, `${JSON.stringify(runs)}\n`);
    if (args.markdown) writeFileSync(args.markdown, `${markdown(peers, rows, runs)}\n`);
  } finally {
    rmSync(dir, { recursive: true, force: true });
  }
}
