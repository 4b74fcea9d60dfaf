/* A store that is full: how it says so, and what it has then. */
import { codeOf, messageOf } from "../errors.ts";
import { slotsFrom } from "./arena.ts";
import type { KitTest } from "./content_tests.ts";
import { expectStored, type Refusal, type TestedDevice } from "./pair.ts";
import { eachPair, type Kit, type Rig, SLOTS } from "./rig.ts";
import { expectRule } from "./rules.ts";

type Fixture = { readonly device: TestedDevice };

/** Room that is asked for. */
const ROOM = 150;

/** Writes runs until one is refused, and says by what. */
async function fill(rig: Rig, pages: number): Promise<Refusal> {
  for (let slot = 1; slot + pages - 1 <= SLOTS; slot += pages) {
    const refused = await rig.put(rig.cut(slotsFrom(slot, pages)));
    if (!refused) continue;
    const code = codeOf(refused.error);
    expectRule(code === "ENOSPC", "full", () => {
      return `${rig.pair.writes} gives ${code}: ${messageOf(refused.error)}`;
    });
    await rig.readAll(refused.pages > 0 ? "short" : "kept");
    return refused;
  }
  throw new Error(`createSmall(${ROOM}) made a store that takes all of its slots`);
}

async function full(rig: Rig): Promise<void> {
  await fill(rig, 16);
  // Page by page to the end: there may be room for some of them.
  for (const slot of slotsFrom(600, ROOM)) await rig.put([[slot]]);
  await rig.readAll("kept");
  for (let i = 0; i < 5; i++) {
    const refused = await rig.put([slotsFrom(SLOTS - 256 - i, 256)]);
    if (!refused) throw new Error(`createSmall(${ROOM}) made a store that takes more and more`);
    expectRule(codeOf(refused.error) === "ENOSPC", "full", () => messageOf(refused.error));
    await rig.readAll("kept");
  }
}

/** What it has taken it takes again, in other runs, time and again: pages are exchanged within it. */
async function exchange(rig: Rig): Promise<void> {
  await fill(rig, 16);
  const held = [...rig.model.keys()];
  for (let round = 0; round < 20; round++) {
    // Several at once, where it can: what one gives up for a moment another must not take.
    const calls = Array.from({ length: Math.min(rig.pair.depth, 4) }, () => [] as number[]);
    const some = rig.random.shuffle(held).slice(0, calls.length * (1 + rig.random.below(24)));
    for (const [i, slot] of some.entries()) calls[i % calls.length]?.push(slot);
    const puts = calls.map((slots) => rig.put(rig.cut(slots.sort((a, b) => a - b))));
    const ended = await Promise.allSettled(puts);
    for (const each of ended) {
      if (each.status === "rejected") throw each.reason;
      const what = `${rig.pair.writes} to slots that it has, when it is full,`;
      expectStored(each.value, "capacity", what);
    }
    await rig.readAll("kept");
  }
}

async function roomAgain(rig: Rig): Promise<void> {
  await fill(rig, 50);
  if (!rig.device.discard) return;
  const taken = rig.model.size;
  await rig.discard([{ slot: 1, pages: SLOTS }]);
  // Best effort: a store may give space back by and by. But it takes at least what it had taken before.
  await rig.write([slotsFrom(1, Math.min(taken, 50))], "capacity");
  await rig.readAll("kept");
}

/** Tests of a store with little room. */
export function fullTests<F extends Fixture>(): KitTest<F>[] {
  const each = (test: (rig: Rig) => Promise<void>) => (kit: Kit<F>) =>
    eachPair(kit, () => kit.createSmall(ROOM), test);
  const needs = "createSmall";
  return [
    { name: "says that it is full, and keeps what it has", needs, run: each(full) },
    { name: "takes again what it has, when it is full", needs, run: each(exchange) },
    { name: "has room again when all was discarded", needs, run: each(roomAgain) },
  ];
}
