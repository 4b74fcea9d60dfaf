/*
 * Turns of the event loop. Async work holds it for a slice of time at a stretch, one operation or many
 * together; whoever wants to go on after that waits here, and goes on when timers and I/O had their chance.
 */
import { afterTurn, now, soon } from "../host.ts";
import { Waiter, WaitQueue } from "../wait_queue.ts";

/** A slice (milliseconds). */
const SLICE_MS = 8;

/** When work began since the event loop turned last; `undefined`: none has. */
let began: number | undefined;
const waiting: WaitQueue = new WaitQueue();

/** Whether there is time left until the event loop has to turn. */
export function timeLeft(): boolean {
  const time = now();
  if (began !== undefined) return time - began <= SLICE_MS;
  afterTurn(turned);
  began = time;
  return true;
}

/** For those who have no time left: resolves when the event loop has turned (cond_resched). */
export function nextTurn(): Promise<void> {
  return new Promise((resolve) => waiting.push(new Waiter(undefined, resolve)));
}

/** Lets everybody else go on first: resolves when the event loop has turned. */
export function yieldTurn(): Promise<void> {
  turnQueue();
  return nextTurn();
}

/** The queue of those who let everybody else go on first: all in it go on when the event loop has turned. */
export function turnQueue(): WaitQueue {
  timeLeft(); // so that a turn is under way
  return waiting;
}

function turned(): void {
  began = undefined;
  serve();
}

/** One after the other goes on, as long as there is time; the others do after the next turn. */
function serve(): void {
  if (!waiting.first || !timeLeft()) return;
  waiting.shift()?.wake();
  soon(serve);
}
