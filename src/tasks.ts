import { TtmError, type TtmOperation } from "./errors.ts";
import { after } from "./host.ts";
import type { Signal } from "./host_types.ts";
import type { TtmGlobal } from "./ttm/global.ts";
import { AsyncTask, type TaskOwner } from "./ttm/task.ts";

/** How long a close that aborts waits for a device that is at work (milliseconds). */
const FORCE_GRACE_MS = 100;

/** Whether a close aborts what is in flight: from the beginning, or from when it is told so. */
export class Force {
  #given = false;
  #heard: (() => void) | undefined;

  give(): void {
    this.#given = true;
    this.#heard?.();
    this.#heard = undefined;
  }

  /**
   * Waits for `settled`; from when it is given, which `heard` is told, for a device that does not answer no longer
   * than `FORCE_GRACE_MS`. For one wait at a time.
   */
  async end(settled: Promise<unknown>, heard: () => void = () => {}): Promise<void> {
    let cancel = () => {};
    const late = new Promise<void>((resolve) => {
      this.#heard = () => {
        heard();
        cancel = after(FORCE_GRACE_MS, resolve);
      };
    });
    if (this.#given) this.give();
    await Promise.race([settled, late]);
    cancel();
  }
}

/** The async operations in flight of one owner, a device, on a memory. */
export class Tasks {
  readonly #global: TtmGlobal;
  readonly #owner: TaskOwner;

  constructor(global: TtmGlobal, owner: TaskOwner) {
    this.#global = global;
    this.#owner = owner;
  }

  /** Operations in flight (a count); `all`: those of the kernel's layer on this memory, too. */
  inFlight(all = false): number {
    return this.#mine(all).length;
  }

  /** Starts an operation. `gone`: whether what it is about has ceased to be, at which it stops. */
  start<T>(
    op: TtmOperation,
    signal: Signal | undefined,
    gone: (() => boolean) | undefined,
    body: (task: AsyncTask) => Promise<T>,
  ): Promise<T> {
    const { tasks } = this.#global;
    const task = new AsyncTask(op, signal, this.#owner, gone);
    tasks.add(task);
    return task.outcome(body(task), () => {
      tasks.delete(task);
    });
  }

  /**
   * Waits until operations in flight have let go of everything: `all` says whether those of the kernel's layer on
   * this memory, too. With `force`, or from when it is given, they are aborted, and a device that does not answer
   * is waited for no longer than `FORCE_GRACE_MS`.
   */
  async end(all: boolean, force: Force): Promise<void> {
    const tasks = this.#mine(all);
    if (tasks.length === 0) return;
    const settled = Promise.all(tasks.map((task) => task.settled));
    await force.end(settled, () => this.abort(all));
  }

  /** Stops operations in flight: EINTR. */
  abort(all: boolean): void {
    for (const task of this.#mine(all)) {
      task.stop(new TtmError("EINTR", task.op, "the device is being closed"));
    }
  }

  #mine(all: boolean): AsyncTask[] {
    const { tasks } = this.#global;
    return [...tasks].filter(({ owner }) => owner === this.#owner || (all && owner === undefined));
  }
}
