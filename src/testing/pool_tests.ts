/* A pool on the device: buffers beside plain arrays of bytes. */

import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { BufferObject } from "../buffer_object.ts";
import type { Device } from "../device.ts";
import { show } from "../errors.ts";
import type { SyncSwapDevice } from "../swap/types.ts";
import { noiseOf } from "./arena.ts";
import type { KitTest } from "./content_tests.ts";
import type { TestedDevice } from "./pair.ts";
import type { Random } from "./random.ts";
import { type Kit, withFixture } from "./rig.ts";
import { expectRule, within } from "./rules.ts";

type Fixture = { readonly device: TestedDevice };

const MEMORY = 64 * PAGE_SIZE;
const BUFFERS = 12;
const BUFFER_PAGES = 24;
const STEPS = 200;

interface Pooled {
  readonly bo: BufferObject;
  readonly bytes: Uint8Array;
}

function compare(got: Uint8Array, { bytes }: Pooled, at: number): void {
  let wrong = 0;
  while (wrong < got.length && got[wrong] === bytes[at + wrong]) wrong++;
  const text = () => `byte ${at + wrong} is ${show(got[wrong])}, not ${show(bytes[at + wrong])}`;
  expectRule(wrong === got.length, "pool", text);
}

/** One operation on one buffer. */
async function step(device: Device, pooled: Pooled, random: Random, sync: boolean): Promise<void> {
  const { bo, bytes } = pooled;
  const at = random.below(bo.size);
  const length = Math.min(1 + random.below(random.pick([100, 5000, 60_000])), bo.size - at);
  switch (random.below(8)) {
    case 0:
    case 1:
    case 2: {
      const noise = new Uint8Array(noiseOf().buffer);
      const from = random.below(noise.length - length);
      const source = noise.slice(from, from + length);
      bytes.set(source, at);
      return sync ? bo.writeSync(at, source) : bo.write(at, source);
    }
    case 3:
      if (sync) bo.shrinkSync();
      else await bo.shrink();
      return;
    case 4:
      if (random.chance(0.8)) return;
      if (sync) device.shrinkSync();
      else await device.shrink();
      return;
    default: {
      const target = new Uint8Array(length);
      compare(sync ? bo.readSync(at, target) : await bo.read(at, target), pooled, at);
    }
  }
}

/** Random operations, some of them at once where the device waits; then everything is read. */
async function operate(device: Device, random: Random, sync: boolean): Promise<void> {
  const make = (): Pooled => {
    const bo = device.createBuffer((1 + random.below(BUFFER_PAGES)) * PAGE_SIZE);
    return { bo, bytes: new Uint8Array(bo.size) };
  };
  const all = Array.from({ length: BUFFERS }, make);
  for (let i = 0; i < STEPS; i++) {
    const some = random.shuffle(all).slice(0, sync ? 1 : 1 + random.below(4));
    const ended = await Promise.allSettled(some.map((one) => step(device, one, random, sync)));
    const failed = ended.find((each) => each.status === "rejected");
    if (failed) throw failed.reason;
    if (random.chance(0.05)) {
      const at = random.below(all.length);
      all[at]?.bo.destroy();
      all[at] = make();
    }
    if (i % 20 === 0) device.check();
  }
  for (const pooled of all) {
    const target = new Uint8Array(pooled.bo.size);
    const got = sync ? pooled.bo.readSync(0, target) : await pooled.bo.read(0, target);
    compare(got, pooled, 0);
  }
  device.check();
  for (const { bo } of all) bo.destroy();
  const { pages, slots } = device.stats();
  const free = pages.free === pages.total && slots.free === slots.total;
  expectRule(free, "pool", () => "pages or slots are in use when all buffers are destroyed");
}

/** Sync operations need a device that does not wait; async ones take any. */
async function pool<F extends Fixture>(kit: Kit<F>, sync: boolean): Promise<void> {
  await withFixture(kit, kit.create, async (fixture) => {
    const { device: swap } = fixture;
    if (sync && !(swap as Partial<SyncSwapDevice>).readSync) return;
    await within("pool", "a pool", async () => {
      const device = await kit.createDevice({ memory: MEMORY, swap });
      try {
        await operate(device, kit.random, sync);
      } finally {
        await device.close({ force: true });
      }
    });
  });
}

/** Tests with a pool. */
export function poolTests<F extends Fixture>(): KitTest<F>[] {
  return [
    { name: "serves a pool: async operations", run: (kit) => pool(kit, false) },
    { name: "serves a pool: sync operations", run: (kit) => pool(kit, true) },
  ];
}
