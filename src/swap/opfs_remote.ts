/* The page's side of `opfsSwap`: sends each call to a worker as one message, its bytes in one buffer. */
import { PAGE_SIZE } from "../../assembly/abi.ts";
import { coded } from "./coded.ts";
import type { OpfsFailure, OpfsReply, OpfsRequest } from "./opfs_serve.ts";
import type { ShortWrite, SwapRun } from "./types.ts";
import { bytesOf, gather, scatter } from "./views.ts";

/** As much of a `Worker` as `opfsSwap` uses. */
export interface OpfsWorker {
  /** Sends it a message. */
  postMessage(message: unknown, transfer: ArrayBuffer[]): void;
  /** Hears its messages and errors. */
  addEventListener(type: string, listener: (event: object) => void): void;
  /** Ends it. */
  terminate(): void;
}

declare const Worker: new (url: URL, options: { type: "module"; name: string }) => OpfsWorker;

/** Calls on their way. More of them would wait in the worker. */
export const QUEUE_DEPTH = 4;

/** Bytes of a buffer: a call has 256 pages at most. */
const BUFFER_BYTES = 256 * PAGE_SIZE;

/** The worker that comes with the package. Bundlers know this very form, and bring its file along. */
function ownWorker(): OpfsWorker {
  return new Worker(new URL("./opfs_worker.js", import.meta.url), {
    type: "module",
    name: "ttm-wasm swap",
  });
}

const HINT = "; hand one in: opfsSwap({ size, worker: () => new Worker(...) })";
const OWN_HINT = "; it must call serveOpfsSwap()";

interface Call {
  done(reply: OpfsReply): void;
  failed(error: Error): void;
}

/** A swap file that a worker has open. */
export class OpfsRemote {
  readonly #worker: OpfsWorker;
  /** What to do when it does not start. */
  readonly #hint: string;
  readonly #calls = new Map<number, Call>();
  /** Buffers that came back; transferring them is cheaper than making new ones. */
  readonly #idle: ArrayBuffer[] = [];
  #opened = false;
  #lastId = 0;
  /** Why nothing more can be asked of it. */
  #dead: Error | undefined;

  private constructor(worker: OpfsWorker, hint: string) {
    this.#worker = worker;
    this.#hint = hint;
    worker.addEventListener("message", (event) => {
      this.#answered((event as { data: OpfsReply }).data);
    });
    worker.addEventListener("messageerror", () => this.#die("sent what cannot be read"));
    worker.addEventListener("error", (event) => {
      const { message } = event as { message?: string };
      // Who waits for a call hears of it; the page's own handler need not.
      (event as { preventDefault?(): void }).preventDefault?.();
      this.#die(message ? `failed: ${message}` : "could not be loaded");
    });
  }

  /** Starts a worker, which opens the file. */
  static async open(make: (() => OpfsWorker) | undefined, name?: string): Promise<OpfsRemote> {
    let worker: OpfsWorker;
    try {
      worker = (make ?? ownWorker)();
    } catch (error) {
      if (make !== undefined) throw error;
      throw coded("ENOSYS", `the worker of opfsSwap cannot be started${HINT}`, error);
    }
    const remote = new OpfsRemote(worker, make ? OWN_HINT : HINT);
    try {
      const { error } = await remote.#call({ op: "open", name });
      if (error) throw errorOf(error);
      remote.#opened = true;
      return remote;
    } catch (error) {
      worker.terminate();
      throw error;
    }
  }

  async write(runs: readonly SwapRun[]): Promise<void | ShortWrite> {
    const buffer = this.#bufferOf(runs);
    let at = 0;
    for (const { views } of runs) {
      const bytes = bytesOf(views);
      gather(views, new Uint8Array(buffer, at, bytes));
      at += bytes;
    }
    const reply = await this.#transfer("write", runs, buffer);
    this.#keep(reply.buffer);
    const { pages, error } = reply;
    if (!error) return;
    if (!pages) throw errorOf(error);
    return { pages, error: errorOf(error) };
  }

  async read(runs: readonly SwapRun[]): Promise<void> {
    const { buffer, error } = await this.#transfer("read", runs, this.#bufferOf(runs));
    if (error) {
      this.#keep(buffer);
      throw errorOf(error);
    }
    let at = 0;
    for (const { views } of runs) {
      const bytes = bytesOf(views);
      scatter(new Uint8Array(buffer as ArrayBuffer, at, bytes), views);
      at += bytes;
    }
    this.#keep(buffer);
  }

  async cut(end: number): Promise<void> {
    const { error } = await this.#call({ op: "cut", end });
    if (error) throw errorOf(error);
  }

  async close(): Promise<void> {
    try {
      const { error } = await this.#call({ op: "close" });
      if (error) throw errorOf(error);
    } finally {
      this.#die("was closed");
    }
  }

  #bufferOf(runs: readonly SwapRun[]): ArrayBuffer {
    const bytes = runs.reduce((sum, { views }) => sum + bytesOf(views), 0);
    return bytes > BUFFER_BYTES
      ? new ArrayBuffer(bytes)
      : (this.#idle.pop() ?? new ArrayBuffer(BUFFER_BYTES));
  }

  /** For the next call. */
  #keep(buffer: ArrayBuffer | undefined): void {
    if (buffer?.byteLength === BUFFER_BYTES) this.#idle.push(buffer);
  }

  #transfer(
    op: "read" | "write",
    runs: readonly SwapRun[],
    buffer: ArrayBuffer,
  ): Promise<OpfsReply> {
    const list = runs.flatMap(({ slot, views }) => [slot, bytesOf(views) / PAGE_SIZE]);
    return this.#call({ op, runs: list, buffer });
  }

  #call(request: Omit<OpfsRequest, "id">): Promise<OpfsReply> {
    const { buffer } = request;
    return new Promise((done, failed) => {
      if (this.#dead) throw this.#dead;
      const id = ++this.#lastId;
      this.#calls.set(id, { done, failed });
      this.#worker.postMessage({ id, ...request }, buffer ? [buffer] : []);
    });
  }

  #answered(reply: OpfsReply): void {
    const call = this.#calls.get(reply.id);
    this.#calls.delete(reply.id);
    call?.done(reply);
  }

  #die(what: string): void {
    const [code, hint] = this.#opened ? ["ENODEV", ""] : ["ENOSYS", this.#hint];
    this.#dead ??= coded(code, `the worker of opfsSwap ${what}${hint}`);
    // What it may still be at would come too late.
    this.#worker.terminate();
    for (const call of this.#calls.values()) call.failed(this.#dead);
    this.#calls.clear();
  }
}

function errorOf({ name, message, code }: OpfsFailure): Error {
  return Object.assign(new Error(message), { name }, code === undefined ? {} : { code });
}
