/* The worker's side of `opfsSwap` on a page. A call comes as one message, with its bytes in one buffer. */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { coded } from "./coded.ts";
import { OpfsFile } from "./opfs_file.ts";
import type { SwapRun } from "./types.ts";

/** What the page asks for. */
export interface OpfsRequest {
  readonly id: number;
  readonly op: "open" | "write" | "read" | "cut" | "close";
  /** `open`: the file's name, if it has one of its own choice. */
  readonly name?: string | undefined;
  /** `cut`: the last slot that holds something. */
  readonly end?: number;
  /** `write`, `read`: slot and pages of each run. */
  readonly runs?: readonly number[];
  /** `write`, `read`: the pages of all runs, one after the other; goes back with the reply. */
  readonly buffer?: ArrayBuffer;
}

/** What the worker answers. */
export interface OpfsReply {
  readonly id: number;
  readonly buffer?: ArrayBuffer | undefined;
  /** Pages that were stored, if not all. */
  readonly pages?: number | undefined;
  readonly error?: OpfsFailure | undefined;
}

/** An error as it is sent: a clone of it would lose its code. */
export interface OpfsFailure {
  readonly name: string;
  readonly message: string;
  readonly code?: unknown;
}

interface Scope {
  addEventListener(type: "message", listener: (event: { data: OpfsRequest }) => void): void;
  postMessage(reply: OpfsReply, transfer: readonly ArrayBuffer[]): void;
}

/** In a worker of one's own: makes it the worker of an `opfsSwap({ size, worker })` on the page that started it. */
export function serveOpfsSwap(): void {
  const scope = globalThis as unknown as Scope;
  let file: OpfsFile | undefined;
  const perform = async (request: OpfsRequest): Promise<{ pages?: number; error?: unknown }> => {
    if (request.op === "open") {
      file = await OpfsFile.open(request.name);
      return {};
    }
    if (file === undefined) throw coded("ENODEV", "the OPFS swap file is not open");
    if (request.op === "close") {
      const open = file;
      file = undefined;
      await open.close();
    } else if (request.op === "cut") file.cut(request.end ?? 0);
    else if (request.op === "read") file.read(runsOf(request));
    else return file.write(runsOf(request)) ?? {};
    return {};
  };
  scope.addEventListener("message", async ({ data: request }) => {
    const { id, buffer } = request;
    const { pages, error } = await perform(request).catch((error: unknown) => ({
      pages: undefined,
      error,
    }));
    const reply = { id, buffer, pages, error: error === undefined ? undefined : failureOf(error) };
    scope.postMessage(reply, buffer ? [buffer] : []);
  });
}

function runsOf({ runs = [], buffer = new ArrayBuffer(0) }: OpfsRequest): SwapRun[] {
  const list: SwapRun[] = [];
  for (let i = 0, at = 0; i < runs.length; i += 2) {
    const bytes = (runs[i + 1] as number) * PAGE_SIZE;
    list.push({ slot: runs[i] as number, views: [new Uint8Array(buffer, at, bytes)] });
    at += bytes;
  }
  return list;
}

function failureOf(thrown: unknown): OpfsFailure {
  const { name, message, code } = thrown as Error & { code?: unknown };
  return { name: String(name), message: String(message), code };
}
