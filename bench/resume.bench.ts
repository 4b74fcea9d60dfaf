/*
 * Resume: what does a restore cost that is interrupted at every chunk, and called again each time,
 * against one that is left alone? And is any page copied twice?
 *
 * A signal lets so many transfers pass and stops before the next. A transfer is 1 MiB by default, half
 * of the largest chunk: a stop after each is in the middle of every chunk too. Chunks of 64 KiB show what
 * a stop itself costs. RAM swap has no transfers, only batches of 512 pages.
 */
import { createDeviceSync, ramSwap, TtmError } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { kmapTt, Pool, populateTtSync, shrinkTtSync, Tt } from "../src/ttm.ts";
import { type Bench, clock, MIB, main, PAGE, rounds, Samples } from "./harness.ts";

interface Case {
  readonly swap: "ram" | "file";
  readonly order: 4 | 9;
  /** Pages of one transfer. */
  readonly transferPages: number;
  /** Transfers between two stops. */
  readonly transfers: number;
  readonly what: string;
}

/** Aborts when it is looked at for the n-th time. */
class After {
  #left: number;

  constructor(looks: number) {
    this.#left = looks;
  }

  get aborted(): boolean {
    return --this.#left < 0;
  }
}

/** Looks of a restore before its first transfer; each transfer is one more. */
const LOOKS = 2;

async function measure(bench: Bench, c: Case): Promise<void> {
  const { swap, transferPages, order, transfers, what } = c;
  const total = 64 * MIB;
  const objectPages = 4096;
  const device = createDeviceSync({
    memory: total,
    swap: swap === "ram" ? ramSwap({ size: total }) : fileSwap({ size: total }),
    checksums: false,
    keepClean: false,
    transferPages,
  });
  const pool = new Pool(device.global, { orders: [order, 0] });
  const tts = Array.from({ length: total / PAGE / objectPages }, () => new Tt(objectPages));
  for (const tt of tts) {
    populateTtSync(pool, tt);
    for (const view of kmapTt(pool, tt)) view.fill(0x5a);
  }
  const shrink = () => {
    for (const tt of tts) shrinkTtSync(pool, tt);
  };
  const samples = new Samples();
  let stops = 0;
  /** Restores a tt, with a stop after every transfer. */
  const stepwise = (tt: Tt) => {
    for (;;) {
      try {
        populateTtSync(pool, tt, { signal: new After(LOOKS + transfers) });
        return;
      } catch (error) {
        if (!(error instanceof TtmError) || error.code !== "EINTR") throw error;
        stops++;
      }
    }
  };
  const { stats } = device.global;
  const pages = total / PAGE;
  // As many as it takes for a stop, of which there are few, to be compiled.
  await samples.interleave(rounds(101), [
    [
      {
        name: "undisturbed",
        before: shrink,
        run: () => {
          for (const tt of tts) populateTtSync(pool, tt);
        },
      },
    ],
    [
      {
        name: "interrupted",
        before: shrink,
        run: () => {
          const before = stats.pagesIn;
          stops = 0;
          const start = clock();
          for (const tt of tts) stepwise(tt);
          const interrupted = clock() - start;
          return { interrupted, stops, twice: stats.pagesIn - before - pages };
        },
      },
    ],
  ]);
  const text = `${swap}, order ${order}, at every ${what}`;
  bench.row(`restore, undisturbed, ${swap}, order ${order}, for ${what}`, samples, "undisturbed", {
    unit: "ns/page",
    per: pages,
  });
  bench.row(`restore, interrupted, ${text}`, samples, "interrupted", {
    unit: "ns/page",
    per: pages,
    against: "undisturbed",
  });
  bench.row(`stops, ${text}`, samples, "stops", { unit: "stops" });
  bench.row(`pages copied twice, ${text}`, samples, "twice", { unit: "pages" });
  device.closeSync({ force: true });
}

await main("resume", async (bench) => {
  const file = { swap: "file", order: 9, transferPages: 256 } as const;
  await measure(bench, { ...file, transfers: 2, what: "chunk of 2 MiB" });
  await measure(bench, { ...file, transfers: 1, what: "transfer of 1 MiB" });
  const small = { swap: "file", order: 4, transferPages: 16 } as const;
  await measure(bench, { ...small, transfers: 1, what: "chunk of 64 KiB" });
  // At the border behind each batch: the only place to stop.
  const ram = { swap: "ram", order: 9, transferPages: 256 } as const;
  await measure(bench, { ...ram, transfers: 0, what: "chunk of 2 MiB" });
  const interrupted = /^restore, interrupted, \w+, order 9, at every chunk of 2 MiB$/;
  const text = "restore interrupted at every chunk of 2 MiB";
  bench.promise(text, "ratio", interrupted, { atLeast: 1 / 1.05 });
  bench.promise("pages copied twice by it", "max", /^pages copied twice/, { atMost: 0 });
});
