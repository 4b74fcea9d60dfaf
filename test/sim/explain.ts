/* Whether an operation had reason to fail: what the same operation would not get by itself, none may get. */
import type { Running, World } from "./world.ts";

type Reason = (world: World, running: Running) => boolean;

/** Whether the device gave an error of that code while the operation was under way. */
function given(code: string): Reason {
  return ({ swap }, running) => (swap?.given.get(code) ?? 0) > (running.given.get(code) ?? 0);
}

/** Whether the library was told to fail meanwhile. */
const injected: Reason = ({ device }, running) => device.global.stats.faults > running.injected;

/** Whether so much is pinned or mapped that it had no room beside it. */
const tooMuchHeld: Reason = ({ plan, held }, running) => {
  const most = Math.max(held, running.held);
  const { min = 0 } = plan.options.watermarks ?? {};
  return most + running.doing.need + min > plan.frames;
};

/**
 * Whether pages of its own window have to leave for those that it needs. A known limit: these leave from the front, those
 * that are needed among them, and with little swap left they then stand in each other's way.
 */
const cramped: Reason = ({ plan, held }, { doing, held: most }) => {
  const pages = doing.subject?.windowPages ?? 0;
  return Math.max(held, most) + pages > plan.frames;
};

const GIVES_UP: readonly string[] = ["shrink", "shrinkDevice", "hibernate"];

/**
 * Whether buffers have more than fits. Where pages leave, that is more than there are slots; else more than frames and
 * slots, less one through which pages are exchanged.
 */
const tooMuchData: Reason = (world, running) => {
  const total = Math.min(world.device.stats().slots.total, running.slots);
  const { min = 0 } = world.plan.options.watermarks ?? {};
  const frames = Math.min(world.plan.frames, world.device.global.limits.pages, running.limit);
  const room = GIVES_UP.includes(running.op.kind) ? total : total + frames - 1 - min;
  return Math.max(world.data, running.data) > room;
};

/** Whether it would have to wait for the device, and cannot. */
const wouldBlock: Reason = ({ plan }, { doing }) =>
  doing.sync && plan.swap !== "ram" && plan.swap.pairs !== "sync";

/** Whether somebody watches, whose Sync calls may take frames that were free a moment ago. */
const watched: Reason = ({ plan }) => plan.watches;

const any =
  (...reasons: Reason[]): Reason =>
  (world, running) =>
    reasons.some((reason) => reason(world, running));

const aborted: Reason = (world, { signal, doing }) =>
  signal.was || world.closing || doing.subject?.destroyed === true || doing.device?.closed === true;

const busy: Reason = (world, { doing, op, crowded, pinned }) => {
  const { subject } = doing;
  if (pinned || subject?.stays || subject?.resizing) return true;
  // Also what its caller was told the end of, or nobody waits for.
  const { tasks } = world.device.global;
  if (op.kind === "resize" && (subject?.content.quiet !== true || tasks.size > 0)) return true;
  return doing.sync && (crowded || tasks.size > 0 || world.device.kswapd.running);
};

const REASONS: Readonly<Record<string, Reason>> = {
  EINTR: aborted,
  EIO: any(injected, given("EIO"), (world, running) => running.damaged || world.damaged),
  ENODEV: given("ENODEV"),
  EFAULT: injected,
  EBUSY: busy,
  EWOULDBLOCK: wouldBlock,
  // Pages of its own that it could do without cannot leave at once.
  ENOMEM: any(wouldBlock, watched, injected, given("ENOMEM"), tooMuchHeld, cramped),
  // With too much pinned it depends on where pages lie which of the two is found out first.
  ENOSPC: any(watched, injected, given("ENOSPC"), tooMuchData, tooMuchHeld, cramped),
};

/** Whether there was reason for `error`. */
export function isExplained(world: World, running: Running, error: unknown): boolean {
  const { built } = world;
  if (error instanceof built.TtmError) {
    return REASONS[error.code]?.(world, running) ?? false;
  }
  if (!(error instanceof TypeError)) return false;
  if (/is destroyed/.test(error.message)) return running.doing.subject?.destroyed === true;
  if (!/is closed/.test(error.message)) return false;
  return world.closing || (running.doing.subject ?? running.doing).device?.closed === true;
}
