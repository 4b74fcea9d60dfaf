/*
 * The pool's side of the contract of swap devices: aborts, discards, and devices that open, close or answer as they
 * like.
 */
import { afterEach, describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, PAGE_SIZE, type SlotRange } from "../../src/index.ts";
import {
  type ScriptedCall,
  type ScriptedSwap,
  type ScriptedSwapOptions,
  scriptedSwap,
} from "../../src/testing.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { Gate, settles, turn, until } from "../support/delays.ts";
import { fails, failsSync, systemError } from "../support/errors.ts";
import {
  endOf,
  expectContent,
  expectRulesKept,
  filled,
  inSwap,
  open,
  scripted,
} from "../support/scripted.ts";

const NEVER: Promise<never> = new Promise(() => {});

afterEach(expectRulesKept);

describe("an abort", () => {
  test("reaches all calls of an operation that wait for their turn", async () => {
    const swap = scripted({ queueDepth: 2 });
    const device = await open(swap, 64, { transferPages: 4 });
    const [first, second] = (await inSwap(device, 16, 16)) as [BufferObject, BufferObject];
    const gate = new Gate();
    swap.script = ({ kind }) => (kind === "read" ? { wait: gate.pass() } : undefined);
    const reading = content(first);
    await until(() => gate.waiting === 2);
    const abort = new AbortController();
    const waiting = fails("EINTR", content(second, { signal: abort.signal }));
    await turn();
    abort.abort("enough");
    expect((await settles(waiting)).cause).toBe("enough");
    gate.open();
    expectSame(await settles(reading), pattern(0, first.size), "the other one");
    await expectContent(second, 1);
    await endOf(device, [first, second]);
  });

  test("reaches the caller of an operation that is at work and waits for turns, too", async () => {
    const swap = scripted({ queueDepth: 2 });
    const device = await open(swap, 64, { transferPages: 4 });
    const [first, second] = (await inSwap(device, 4, 16)) as [BufferObject, BufferObject];
    const gate = new Gate();
    swap.script = ({ kind }) => (kind === "read" ? { wait: gate.pass() } : undefined);
    const reading = content(first);
    await until(() => gate.waiting === 1);
    const abort = new AbortController();
    const waiting = fails("EINTR", content(second, { signal: abort.signal }));
    await until(() => gate.waiting === 2);
    abort.abort("enough");
    expect((await settles(waiting)).cause).toBe("enough");
    gate.open();
    await reading;
    await expectContent(second, 1);
    await endOf(device, [first, second]);
  });

  test("between its turn and its call hands the turn on", async () => {
    const swap = scripted({ queueDepth: 1 });
    const device = await open(swap);
    const bos = await inSwap(device, 4, 4, 4);
    const gate = new Gate();
    let hold = true;
    swap.script = ({ kind }) => (kind === "read" && hold ? { wait: gate.pass() } : undefined);
    const abort = new AbortController();
    const reading = [
      content(bos[0] as BufferObject),
      content(bos[1] as BufferObject, { signal: abort.signal }).catch(() => "stopped"),
      content(bos[2] as BufferObject),
    ];
    await until(() => gate.waiting === 1);
    hold = false;
    gate.open();
    for (let i = 0; i < 6; i++) await Promise.resolve();
    abort.abort();
    await settles(Promise.all(reading));
    for (const [i, bo] of bos.entries()) await expectContent(bo, i);
    await endOf(device, bos);
  });

  test("is told to the store, and what that rejects with is EINTR with its reason", async () => {
    const swap = scripted({ queueDepth: 4 });
    const device = await open(swap, 64, { transferPages: 4 });
    const [bo] = (await inSwap(device, 32)) as [BufferObject];
    swap.script = () => ({ wait: NEVER, heeds: true });
    const abort = new AbortController();
    const reading = fails("EINTR", content(bo, { signal: abort.signal }));
    await until(() => swap.calls.at(-1)?.kind === "read");
    abort.abort("why");
    expect((await settles(reading)).cause).toBe("why");
    expect(swap.calls.filter(({ kind }) => kind === "read")).toHaveLength(4);
    expect(swap.calls.at(-1)?.signal?.aborted).toBe(true);
    swap.script = undefined;
    await expectContent(bo, 0);
    await endOf(device, [bo]);
  });

  test("of a write that says how far it came sets no slot aside", async () => {
    const swap = scripted({ slots: 16 });
    const device = await open(swap, 64);
    const bo = await filled(device, 16, 1);
    const abort = new AbortController();
    swap.script = ({ signal }) => {
      const wait = new Promise((resolve) => signal?.addEventListener("abort", resolve));
      return { wait, take: 3, error: new DOMException("stopped", "AbortError") };
    };
    const shrinking = bo.shrink({ signal: abort.signal });
    await until(() => swap.calls.length === 1);
    abort.abort("why");
    expect(await settles(shrinking)).toBe(3);
    expect(device.stats().slots.free).toBe(13);
    swap.script = undefined;
    expect(await bo.shrink()).toBe(13);
    await expectContent(bo, 1);
    await endOf(device, [bo]);
  });

  test("leaves no listener on the caller's signal, and one is enough for many operations", async () => {
    const swap = scripted({ queueDepth: 4, script: ({ index }) => ({ wait: index % 3 }) });
    const device = await open(swap, 64, { transferPages: 4 });
    const bos = await inSwap(device, 8, 8, 8, 8);
    for (const aborts of [false, true]) {
      const abort = new AbortController();
      const { signal } = abort;
      let listeners = 0;
      let most = 0;
      const [add, remove] = [signal.addEventListener, signal.removeEventListener];
      signal.addEventListener = (...given: [string, () => void]) => {
        most = Math.max(most, ++listeners);
        add.apply(signal, given);
      };
      signal.removeEventListener = (...given: [string, () => void]) => {
        listeners--;
        remove.apply(signal, given);
      };
      const reading = bos.map((bo) => content(bo, { signal }).catch(() => undefined));
      await turn();
      if (aborts) abort.abort();
      await settles(Promise.all(reading));
      await until(() => device.global.tasks.size === 0);
      expect([listeners, most]).toEqual([0, 1]);
      for (const bo of bos) await bo.shrink();
    }
    await endOf(device, bos);
  });

  test("of a call that never settles: others go on, and a close with force ends", async () => {
    const swap = scriptedSwap({ slots: 1024, pairs: "async", queueDepth: 4 });
    const device = await open(swap, 64, { transferPages: 4 });
    const bos = await inSwap(device, 16, 16);
    let hangs = true;
    const gate = new Gate();
    swap.script = ({ kind }) => (kind === "read" && hangs ? { wait: gate.pass() } : undefined);
    const abort = new AbortController();
    const reading = fails("EINTR", content(bos[0] as BufferObject, { signal: abort.signal }));
    await until(() => gate.waiting === 4);
    hangs = false;
    abort.abort();
    await settles(reading);
    // Its calls are all that the store likes to have, so others wait; and are stopped in turn.
    const others = fails("EINTR", content(bos[1] as BufferObject));
    const calls = swap.calls.length;
    await settles(device.close({ force: true }).catch(() => {}));
    await settles(others);
    gate.open();
    for (let i = 0; i < 5; i++) await turn();
    expect(swap.calls.length).toBe(calls);
    expect(swap.broken).toBe("close with 4 calls in flight");
  });
});

describe("discards", () => {
  test("of a wait for a turn: a write that gets it waits for the discard that began meanwhile", async () => {
    const swap = scripted({ queueDepth: 1 });
    const device = await open(swap, 64);
    const bos = await inSwap(device, 2, 20);
    const [first, big] = bos as [BufferObject, BufferObject];
    const third = await filled(device, 4, 3);
    const [reads, discards] = [new Gate(), new Gate()];
    swap.script = ({ kind }) => {
      if (kind === "write") return undefined;
      return { wait: kind === "read" ? reads.pass() : discards.pass() };
    };
    const reading = content(first);
    await until(() => reads.waiting === 1);
    const shrinking = third.shrink();
    await turn();
    big.destroy();
    expect(discards.waiting).toBe(1);
    reads.open();
    await reading;
    await turn();
    expect(swap.broken).toBeUndefined();
    discards.open();
    expect(await settles(shrinking)).toBe(4);
    await expectContent(third, 3);
    await endOf(device, [first, third]);
  });

  test("that never settle: reads go on, a write waits, and its abort frees the buffer", async () => {
    const swap = scripted({ queueDepth: 2 });
    const device = await open(swap, 64);
    const [small, big] = (await inSwap(device, 2, 20)) as [BufferObject, BufferObject];
    const third = await filled(device, 4, 3);
    swap.script = ({ kind }) => (kind === "discard" ? { wait: NEVER } : undefined);
    big.destroy();
    expect(swap.calls.at(-1)?.kind).toBe("discard");
    await expectContent(small, 0);
    const abort = new AbortController();
    const shrinking = fails("EINTR", third.shrink({ signal: abort.signal }));
    await turn();
    abort.abort("enough");
    expect((await settles(shrinking)).cause).toBe("enough");
    await expectContent(third, 3);
    await settles(device.close({ force: true }));
  });

  test("begun while pages are being written spare them: a store may cut off what lies behind the end", async () => {
    const swap = scripted({ queueDepth: 2 });
    const device = await open(swap, 64);
    const [small, big] = (await inSwap(device, 2, 20)) as [BufferObject, BufferObject];
    const third = await filled(device, 4, 3);
    const gate = new Gate();
    swap.script = ({ kind }) => (kind === "write" ? { wait: gate.pass() } : undefined);
    const shrinking = third.shrink();
    await until(() => gate.waiting === 1);
    const [written] = (swap.calls.at(-1) as ScriptedCall).runs;
    const { slot, pages } = written as SlotRange;
    big.destroy();
    expect(swap.calls.at(-1)).toMatchObject({ kind: "discard", end: slot + pages - 1 });
    gate.open();
    expect(await settles(shrinking)).toBe(4);
    await expectContent(third, 3);
    await endOf(device, [small, third]);
  });

  test("that throw or reject are no failure, and the space is used again", async () => {
    for (const wait of [undefined, 1]) {
      const swap = scripted({ slots: 32, queueDepth: 2 });
      const device = await open(swap, 64);
      swap.script = ({ kind }) => {
        if (kind !== "discard") return undefined;
        return { ...(wait === undefined ? {} : { wait }), error: new Error("no") };
      };
      for (let round = 0; round < 3; round++) {
        const bos = await inSwap(device, 30, 2);
        await expectContent(bos[1], 1);
        for (const bo of bos) bo.destroy();
      }
      await endOf(device, []);
    }
  });

  test("of a synchronous store may take time: Sync writes are told to wait, async ones do", async () => {
    const swap = scripted({ pairs: "sync" });
    const device = await open(swap, 64);
    const [small, big] = (await inSwap(device, 2, 20)) as [BufferObject, BufferObject];
    const third = await filled(device, 4, 3);
    const gate = new Gate();
    swap.script = ({ kind }) => (kind === "discard" ? { wait: gate.pass() } : undefined);
    big.destroy();
    expect(gate.waiting).toBe(1);
    failsSync("EWOULDBLOCK", () => third.shrinkSync());
    const shrinking = third.shrink();
    await turn();
    gate.open();
    expect(await settles(shrinking)).toBe(4);
    await expectContent(third, 3);
    await expectContent(small, 0);
    await endOf(device, [small, third]);
  });

  test("under way are awaited by a close, and none is begun by one", async () => {
    const swap = scripted({ queueDepth: 2 });
    const device = await open(swap, 64);
    const [small, big] = (await inSwap(device, 2, 20)) as [BufferObject, BufferObject];
    const gate = new Gate();
    swap.script = ({ kind }) => (kind === "discard" ? { wait: gate.pass() } : undefined);
    big.destroy();
    const calls = swap.calls.length;
    small.destroy();
    const closing = device.close();
    await turn();
    await turn();
    expect(swap.closed).toBe(0);
    gate.open();
    await settles(closing);
    expect(swap.closed).toBe(1);
    expect(swap.calls.length).toBeLessThanOrEqual(calls + 1);
  });
});

describe("opening and closing", () => {
  /** The device, with an `open` and a `close` of the test's. */
  function withHooks(
    hooks: { open?: () => void | Promise<void>; close?: () => void | Promise<void> },
    options: Partial<ScriptedSwapOptions> = {},
  ): ScriptedSwap {
    const swap = scripted(options);
    const [first, last] = [swap.open?.bind(swap), swap.close?.bind(swap)];
    swap.open = () => {
      const pending = hooks.open?.();
      return pending ? pending.then(() => first?.()) : first?.();
    };
    swap.close = () => {
      const pending = hooks.close?.();
      return pending ? pending.then(() => last?.()) : last?.();
    };
    return swap;
  }

  test("an open that rejects is what createDevice rejects with, and may be tried again", async () => {
    let error: unknown = systemError("EBUSY");
    const swap = withHooks({
      open: async () => {
        if (error) throw error;
      },
    });
    await expect(open(swap)).rejects.toBe(error);
    error = undefined;
    const device = await open(swap);
    await device.close();
    expect([swap.opened, swap.closed]).toEqual([1, 1]);
  });

  test("a second device on one that is being opened is refused", async () => {
    const gate = new Gate();
    const swap = withHooks({ open: gate.pass });
    const opening = open(swap);
    await expect(open(swap)).rejects.toThrow(/in use/);
    expect(() => createDeviceSync({ memory: 64 * PAGE_SIZE, swap })).toThrow(/in use/);
    gate.open();
    await (await opening).close();
    await (await open(swap)).close();
    expect([swap.opened, swap.closed]).toEqual([2, 2]);
  });

  test("createDeviceSync refuses one by name, which is closed when it has opened", async () => {
    const gate = new Gate();
    const swap = withHooks({ open: gate.pass }, { name: "slow" });
    const create = () => createDeviceSync({ memory: 64 * PAGE_SIZE, swap });
    expect(failsSync("EWOULDBLOCK", create).message).toMatch(/slow opens asynchronously/);
    expect(swap.closed).toBe(0);
    gate.open();
    await until(() => swap.closed === 1);
    await turn();
    await (await open(swap)).close();
  });

  test("an open that never settles holds nobody but its caller up", async () => {
    const swap = withHooks({ open: () => NEVER });
    failsSync("EWOULDBLOCK", () => createDeviceSync({ memory: 64 * PAGE_SIZE, swap }));
    await expect(open(swap)).rejects.toThrow(/in use/);
    expect(swap.opened).toBe(0);
  });

  test("a close that rejects or throws is what close rejects with; the device object is free again", async () => {
    for (const fail of [() => Promise.reject(systemError("EIO")), () => Promise.resolve()]) {
      let error: unknown = fail;
      const swap = withHooks({
        close: () => {
          if (error === undefined) return;
          error = undefined;
          if (fail.length === 0 && swap.closed > 0) return;
          throw systemError("EIO");
        },
      });
      const device = await open(swap);
      await expect(device.close()).rejects.toMatchObject({ code: "EIO" });
      expect(device.closed).toBe(true);
      await swap.close?.();
      await (await open(swap)).close();
    }
  });

  test("nothing is asked of a store once it is closed, by calls that ended late", async () => {
    const swap = scriptedSwap({ slots: 1024, pairs: "async", queueDepth: 2 });
    const device = await open(swap, 64);
    const [bo, other] = (await inSwap(device, 16, 8)) as [BufferObject, BufferObject];
    const gate = new Gate();
    swap.script = ({ kind }) => (kind === "discard" ? undefined : { wait: gate.pass() });
    const reading = fails("EINTR", content(bo));
    const writing = fails("EINTR", other.write(0, pattern(1, 5)));
    await until(() => gate.waiting === 2);
    await settles(device.close({ force: true }).catch(() => {}));
    await Promise.all([reading, writing]);
    const calls = swap.calls.length;
    gate.open();
    for (let i = 0; i < 5; i++) await turn();
    expect(swap.calls.length).toBe(calls);
    expect(swap.broken).toBe("close with 2 calls in flight");
  });
});
