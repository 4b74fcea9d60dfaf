/* What becomes of the store: discards, an end, a second user, and calls that have settled. */
import type { HostSignal } from "../host_types.ts";
import { slotsFrom } from "./arena.ts";
import { bothHold, type KitTest } from "./content_tests.ts";
import { pairsOf, settled, type TestedDevice } from "./pair.ts";
import { eachPair, type Kit, pause, Rig, SLOTS, withFixture } from "./rig.ts";
import { expectRule, SwapContractError, within } from "./rules.ts";

type Fixture = { readonly device: TestedDevice };

/** Turns of 10 ms in which a store may give space back. */
const SPACE_TURNS = 300;

async function discarding(rig: Rig): Promise<void> {
  if (!rig.device.discard) return;
  for (let round = 0; round < 3; round++) {
    await rig.write(rig.cut(slotsFrom(1, 200)), "discard");
    const ranges = [
      { slot: 1, pages: 1 },
      { slot: 10, pages: 30 },
      { slot: 41, pages: 1 },
      { slot: 150, pages: 20 },
      { slot: 190, pages: SLOTS - 189 },
    ];
    await rig.discard(ranges);
    await rig.readAll("discard");
    await rig.write([[1], slotsFrom(12, 5), [41], slotsFrom(185, 40)], "discard");
    await rig.readAll("discard");
  }
  await rig.discard([{ slot: 1, pages: SLOTS }]);
  await rig.write([slotsFrom(30, 100)], "discard");
  await rig.readAll("discard");
}

async function space<F extends Fixture>(kit: Kit<F>, rig: Rig, fixture: F): Promise<void> {
  if (!rig.device.discard) return;
  for (let round = 0; round < 2; round++) {
    await rig.write(rig.cut(slotsFrom(1, 200)));
    if ((await kit.bytes(fixture)) === 0) throw new Error("bytes() is 0, and there are 200 pages");
    await rig.discard([
      { slot: 1, pages: 50 },
      { slot: 60, pages: 141 },
    ]);
    await rig.discard([{ slot: 51, pages: 9 }]);
    let bytes = await kit.bytes(fixture);
    for (let turn = 0; bytes > 0 && turn < SPACE_TURNS; turn++) {
      await pause(10);
      bytes = await kit.bytes(fixture);
    }
    expectRule(bytes === 0, "space", () => `${bytes} bytes are left`);
  }
}

async function reopening<F extends Fixture>(kit: Kit<F>): Promise<void> {
  await withFixture(kit, kit.create, async (fixture) => {
    const { device } = fixture;
    for (let round = 0; round < 3; round++) {
      for (const pair of pairsOf(device, kit.patience)) {
        await within("reopen", `open, round ${round + 1},`, () => device.open?.());
        const rig = new Rig(device, pair, kit);
        await rig.write(rig.cut(slotsFrom(1 + 20 * round, 50)), "reopen");
        await rig.readAll("reopen");
        await within("reopen", "close", () => settled(device.close?.(), "close", kit.patience));
      }
    }
  });
}

async function nothingLeft<F extends Fixture>(kit: Kit<F>): Promise<void> {
  await withFixture(kit, kit.create, async (fixture) => {
    const { device } = fixture;
    for (const pair of pairsOf(device, kit.patience)) {
      await device.open?.();
      const rig = new Rig(device, pair, kit);
      await rig.write(rig.cut(slotsFrom(1, 100)));
      await rig.write(rig.cut(slotsFrom(20, 100)));
      await rig.discard([{ slot: 1, pages: 10 }]);
      await within("nothing", "close", () => settled(device.close?.(), "close", kit.patience));
      const left = await kit.left(fixture);
      expectRule(left === 0, "nothing", () => `left() is ${left}`);
    }
  });
}

/** A second device on the same store is refused, or gets a store of its own. */
async function secondUser<F extends Fixture>(kit: Kit<F>, rig: Rig, fixture: F): Promise<void> {
  await rig.write([slotsFrom(1, 40)]);
  const second = await kit.second(fixture);
  let refused = false;
  try {
    await second.open?.();
  } catch {
    refused = true;
  }
  if (!refused) {
    await bothHold(kit, rig, second);
    await second.close?.();
  }
  await rig.readAll("apart");
  await rig.write([slotsFrom(30, 40)], "apart");
  await rig.readAll("apart");
}

/** When a call is given up, milliseconds after it began; below zero: before. */
const MOMENTS = [-1, 0, 0.5, 2, 5];

async function abandon(ms: number, call: (signal: HostSignal) => Promise<unknown>): Promise<void> {
  const abort = new AbortController();
  if (ms < 0) abort.abort();
  // What it ends with does not matter, as long as it has ended then.
  const ended = call(abort.signal).catch((error: unknown) => {
    if (error instanceof SwapContractError) throw error;
  });
  if (ms > 0) await pause(ms);
  abort.abort();
  await ended;
}

async function noLaterEffect<F extends Fixture>(kit: Kit<F>, rig: Rig): Promise<void> {
  const slots = () => rig.cut(slotsFrom(1 + rig.random.below(20), 60));
  for (const ms of MOMENTS) {
    const runs = slots();
    await abandon(ms, (signal) => rig.put(runs, signal));
    rig.reuse();
    await rig.write(runs, "later");
    await pause(kit.quiet);
    await rig.readAll("later");
    await abandon(ms, async (signal) => {
      const placed = rig.arena.place(runs);
      await rig.pair.read(placed.runs, signal).finally(() => rig.arena.reuse(placed));
    });
    await pause(kit.quiet);
    rig.arena.expectBeside("later", `a ${rig.pair.reads} that had settled`);
    await rig.readAll("later");
  }
  if (!rig.device.discard) return;
  // What was discarded, and is written again, is not discarded later.
  await rig.discard([{ slot: 1, pages: SLOTS }]);
  await rig.write([slotsFrom(1, 60)], "later");
  await pause(kit.quiet);
  await rig.readAll("later");
}

async function failedRead<F extends Fixture>(kit: Kit<F>, rig: Rig, fixture: F): Promise<void> {
  // What is written in one call may be stored together, and be gone together.
  for (const slots of [slotsFrom(1, 16), [20], slotsFrom(200, 50)]) await rig.write([slots]);
  await kit.damage(fixture, 20);
  for (const runs of [[[20]], [[16], [20], [200]]]) {
    const placed = rig.arena.place(runs);
    const failed = await rig.pair.read(placed.runs).then(
      () => false,
      () => true,
    );
    rig.arena.reuse(placed);
    expectRule(failed, "fills", () => `${rig.pair.reads} of a damaged page did not throw`);
  }
  rig.model.delete(20);
  await rig.readAll("failed");
  await rig.write([slotsFrom(10, 5), slotsFrom(210, 5)], "failed");
  await rig.readAll("failed");
}

/** Tests of the store. */
export function storeTests<F extends Fixture>(): KitTest<F>[] {
  type Test = (kit: Kit<F>, rig: Rig, fixture: F) => Promise<void>;
  const each = (test: Test) => (kit: Kit<F>) =>
    eachPair(kit, kit.create, (rig, fixture) => test(kit, rig, fixture));
  return [
    { name: "forgets what is discarded and nothing else", run: each((_, rig) => discarding(rig)) },
    { name: "holds nothing when all is discarded", needs: "bytes", run: each(space) },
    { name: "opens again after it was closed", run: reopening },
    { name: "leaves nothing after close", needs: "left", run: nothingLeft },
    { name: "refuses a second user of its store", needs: "second", run: each(secondUser) },
    { name: "does nothing more once a call has settled", run: each(noLaterEffect) },
    { name: "harms nothing by a read that fails", needs: "damage", run: each(failedRead) },
  ];
}
