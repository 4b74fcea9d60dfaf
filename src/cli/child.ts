/*
 * The child's side: a request on its standard input, lines of JSON on its standard output. The lines
 * are written synchronously, because a job never lets the event loop turn.
 */
import { closeSync, writeSync } from "node:fs";
import process from "node:process";
import { text } from "node:stream/consumers";
import { messageOf } from "../errors.ts";
import { createDeviceSync, ramSwap } from "../index.ts";
import { CommandError, firstLine, systemCode } from "./errors.ts";
import { type Part, partsUpTo } from "./files.ts";
import { type JobEvents, type JobInput, type Phase, runJob } from "./job.ts";
import { measureRam, SHARE_RAM, spread } from "./measure.ts";
import { ChangedError, loadPart, Objects, openFile } from "./objects.ts";
import type { JobReport, Measurements } from "./report.ts";
import { Rss } from "./rss.ts";

/** What a child is asked to do. */
export interface Request {
  /** The main job, or the measurements of RAM swap alone, whose memory is not the main job's. */
  readonly kind: "job" | "ram";
  readonly input: JobInput;
}

/** What a child says, a line each. */
export type Message =
  | { readonly kind: "progress"; readonly phase: Phase; readonly share: number }
  | { readonly kind: "warning"; readonly text: string }
  | { readonly kind: "error"; readonly text: string }
  | { readonly kind: "job"; readonly report: JobReport }
  | { readonly kind: "ram"; readonly measured: Measurements };

/** Milliseconds between two reports of progress. */
const PROGRESS_MS = 100;

/** Serves one request. */
export async function child(): Promise<void> {
  const rss = new Rss();
  const idle = rss.now();
  try {
    const request = JSON.parse(await text(process.stdin)) as Request;
    const events = eventsTo(send);
    if (request.kind === "job") {
      send({ kind: "job", report: await runJob(request.input, rss, idle, events) });
    } else {
      send({ kind: "ram", measured: ramMeasurements(request.input, events) });
    }
  } catch (error) {
    // An error that the user cannot mend is a bug of ours: it is called unexpected, and shown without its stack.
    const prefix = error instanceof CommandError ? "" : "unexpected: ";
    send({ kind: "error", text: prefix + firstLine(messageOf(error)) });
    process.exitCode = 1;
  }
}

function eventsTo(send: (message: Message) => void): JobEvents {
  let last = 0;
  return {
    progress(phase, done, total) {
      const now = performance.now();
      if (done < total && now - last < PROGRESS_MS) return;
      last = now;
      send({ kind: "progress", phase, share: total > 0 ? done / total : 1 });
    },
    warning: (warning) => send({ kind: "warning", text: warning }),
  };
}

/** Objects of the size and content of the main job's, spread over all of them, and RAM swap. */
function ramMeasurements(input: JobInput, events: JobEvents): Measurements {
  const { files, objectSize, size, memory } = input;
  const device = createDeviceSync({ memory, swap: ramSwap() });
  const parts = [...partsUpTo(files, objectSize, size)];
  const sizes = parts.map((part) => part.size);
  const budget = Math.floor(device.stats().pages.total * SHARE_RAM);
  const objects = new Objects();
  for (const index of spread(sizes, budget)) loadIfThere(parts[index] as Part, objects);
  const progress = (done: number, total: number) => events.progress("measure", done, total);
  const measured = measureRam(device, objects, progress);
  device.closeSync({ force: true });
  return measured;

  function loadIfThere(part: Part, loaded: Objects): void {
    try {
      const fd = openFile(part.file);
      try {
        loadPart({ device }, fd, part, loaded);
      } finally {
        closeSync(fd);
      }
    } catch (error) {
      // A file that changed: the main job has warned of it.
      if (!(error instanceof ChangedError)) throw error;
    }
  }
}

const STDOUT = 1;

function send(message: Message): void {
  const bytes = new TextEncoder().encode(`${JSON.stringify(message)}\n`);
  for (let done = 0; done < bytes.length; ) {
    try {
      done += writeSync(STDOUT, bytes, done);
    } catch (error) {
      if (systemCode(error) !== "EAGAIN") throw error;
      // The pipe is full, and some runtimes do not wait for its reader.
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 1);
    }
  }
}
