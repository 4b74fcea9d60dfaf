/* That pages come back, whatever runs and views they go and come in. */
import { slotsFrom } from "./arena.ts";
import { expectStored, pairsOf, type TestedDevice } from "./pair.ts";
import { eachPair, type Kit, Rig, SLOTS, withFixture } from "./rig.ts";
import { expectRule, within } from "./rules.ts";

type Fixture = { readonly device: TestedDevice };

/** A test of the suite. */
export interface KitTest<F extends Fixture> {
  readonly name: string;
  /** The option without which it says nothing. */
  readonly needs?: "createSmall" | "second" | "bytes" | "left" | "damage";
  run(kit: Kit<F>): Promise<void>;
}

const SLOTS_MAX = 2 ** 31 - 1;

async function shape<F extends Fixture>(kit: Kit<F>): Promise<void> {
  await withFixture(kit, kit.create, async (fixture) => {
    const device = fixture.device as unknown as Record<string, unknown>;
    const { name, slots, queueDepth } = device;
    const is = (value: unknown, least: number, most: number) =>
      Number.isInteger(value) && (value as number) >= least && (value as number) <= most;
    const said = (what: string) => () => what;
    expectRule(typeof name === "string" && name !== "", "shape", said("it has no name"));
    expectRule(is(slots, 1, SLOTS_MAX), "shape", said(`slots is ${String(slots)}`));
    const has = (method: string) => typeof device[method] === "function";
    const [sync, waits] = [has("readSync"), has("read")];
    expectRule(sync || waits, "shape", said("it has neither readSync nor read"));
    for (const [one, other] of [["readSync", "writeSync"] as const, ["read", "write"] as const]) {
      expectRule(has(one) === has(other), "shape", said(`it has one of ${one} and ${other}`));
    }
    expectRule(
      !waits || is(queueDepth, 1, 1024),
      "shape",
      said(`queueDepth: ${String(queueDepth)}`),
    );
    for (const method of ["open", "close", "discard"]) {
      const fits = device[method] === undefined || has(method);
      expectRule(fits, "shape", said(`${method} is no function`));
    }
  });
}

/** Every number of pages that matters, in one run each. */
async function roundTrips(rig: Rig): Promise<void> {
  for (const pages of [1, 2, 3, 15, 16, 17, 100, 255, 256]) {
    const slots = slotsFrom(1 + rig.random.below(SLOTS - pages), pages);
    await rig.write([slots]);
    await rig.read([slots]);
    rig.arena.expectBeside("fills", `${rig.pair.reads} of ${pages} pages`);
  }
  await rig.write([[1], [SLOTS]]);
  await rig.read([[SLOTS], [1]]);
}

/** Scattered runs, and slots in descending order, in one call. */
async function manyRuns(rig: Rig): Promise<void> {
  const all = slotsFrom(1, SLOTS);
  const some = (count: number) => rig.random.shuffle(all).slice(0, count);
  const ascending = (slots: number[]) => slots.sort((a, b) => a - b);
  const single = (slots: readonly number[]) => slots.map((slot) => [slot]);
  for (const runs of [
    single(ascending(some(256))),
    single(ascending(some(100)).reverse()),
    rig.cut(ascending(some(200))),
    rig.random.shuffle(rig.cut(all.slice(300, 556), 7)),
  ]) {
    await rig.write(runs);
    await rig.read(runs);
    rig.arena.expectBeside("fills", rig.pair.reads);
  }
}

async function otherRuns(rig: Rig): Promise<void> {
  await rig.write([slotsFrom(1, 256)]);
  await rig.write([slotsFrom(257, 16), slotsFrom(300, 50), [400]]);
  for (let round = 0; round < 20; round++) {
    const held = rig.random.shuffle([...rig.model.keys()]).slice(0, 1 + rig.random.below(64));
    const sorted = rig.random.chance(0.5) ? held.sort((a, b) => a - b) : held;
    await rig.read(rig.cut(sorted), "runs");
  }
  // One call over what several have written.
  await rig.read([slotsFrom(200, 72)], "runs");
}

async function overwriting(rig: Rig): Promise<void> {
  await rig.write([slotsFrom(1, 128)]);
  for (let round = 0; round < 30; round++) {
    const first = 1 + rig.random.below(128);
    const pages = 1 + rig.random.below(Math.min(16, 129 - first));
    await rig.write(rig.cut(slotsFrom(first, pages)));
  }
  await rig.write([[64]]);
  await rig.readAll("neighbours");
}

/** The memory of a call holds something else as soon as it has settled, and is watched. */
async function viewsReused(rig: Rig): Promise<void> {
  rig.hasty = true;
  for (let round = 0; round < 8; round++) await rig.write(rig.cut(slotsFrom(1 + 32 * round, 32)));
  await rig.readAll("views");
  rig.arena.expectBeside("views", "a call");
}

async function inFlight(rig: Rig): Promise<void> {
  const { pair, arena } = rig;
  const calls = Math.min(pair.depth, 64);
  const slotsOf = (i: number, from: number) => [
    slotsFrom(from + 6 * i, 3),
    slotsFrom(from + 6 * i + 4, 1),
  ];
  const write = async (i: number, from: number) => {
    const { placed, seeds } = rig.fresh(slotsOf(i, from));
    expectStored(
      await pair.write(placed.runs),
      "flight",
      `one of ${calls} calls of ${pair.writes}`,
    );
    arena.reuse(placed);
    for (const [slot, seed] of seeds) rig.model.set(slot, seed);
  };
  const read = async (i: number, from: number) => {
    const placed = arena.place(slotsOf(i, from));
    const what = `one of ${calls} calls of ${pair.reads}`;
    await within("flight", what, () => pair.read(placed.runs));
    arena.expect(placed, rig.model, "flight", what);
    arena.reuse(placed);
  };
  const all = Array.from({ length: calls }, (_, i) => i);
  const mixed = rig.random.shuffle(all).map((i) => ({ i, reads: i % 2 === 0 }));
  const rounds = [
    all.map((i) => () => write(i, 1)),
    mixed.map(
      ({ i, reads }) =>
        () =>
          reads ? read(i, 1) : write(i, 513),
    ),
    all.map((i) => () => read(i, 1)),
  ];
  for (const round of rounds) {
    const ended = await Promise.allSettled(round.map((call) => call()));
    const failed = ended.find((each) => each.status === "rejected");
    if (failed) throw failed.reason;
  }
  await rig.readAll("flight");
  arena.expectBeside("views", "a call");
}

async function apart<F extends Fixture>(kit: Kit<F>): Promise<void> {
  await withFixture(kit, kit.create, async (other) => {
    await other.device.open?.();
    await eachPair(kit, kit.create, (rig) => bothHold(kit, rig, other.device));
    await other.device.close?.();
  });
}

/** Writes the same slots of two devices by turns; each reads its own. */
export async function bothHold(
  kit: Pick<Kit<Fixture>, "random" | "patience">,
  rig: Rig,
  device: TestedDevice,
): Promise<void> {
  for (const pair of pairsOf(device, kit.patience)) {
    const other = new Rig(device, pair, kit);
    for (const one of [rig, other, rig]) await one.write([slotsFrom(1, 40), [100]], "apart");
    await other.readAll("apart");
    await rig.readAll("apart");
    if (!device.discard) continue;
    await other.discard([{ slot: 1, pages: SLOTS }]);
    await rig.readAll("apart");
  }
}

/** Tests of content. */
export function contentTests<F extends Fixture>(): KitTest<F>[] {
  const each = (test: (rig: Rig) => Promise<void>) => (kit: Kit<F>) =>
    eachPair(kit, kit.create, test);
  return [
    { name: "has a name, slots and calls", run: shape },
    { name: "gives back what was written: 1 to 256 pages", run: each(roundTrips) },
    { name: "takes many runs in one call, scattered and in any order", run: each(manyRuns) },
    { name: "finds pages in other runs than they were written in", run: each(otherRuns) },
    { name: "keeps the neighbours of pages that are written again", run: each(overwriting) },
    { name: "keeps no views: their memory is used for something else", run: each(viewsReused) },
    { name: "has up to queueDepth calls in flight at once", run: each(inFlight) },
    { name: "sees nothing of another device", run: apart },
  ];
}
