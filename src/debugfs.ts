import { NR_ORDERS } from "../assembly/abi.ts";
import type { Bdev } from "./bdev.ts";
import { show } from "./errors.ts";
import { assertStack } from "./stack.ts";
import type { TtmGlobal } from "./ttm/global.ts";

/** Files of the kernel's debugfs directory `ttm`. */
export type DebugfsName = "page_pool" | "page_pool_shrink" | "tt_shrink" | "buffer_objects";

const FILES: Readonly<Record<DebugfsName, (bdev: Bdev, buffers: number) => string>> = {
  page_pool: ({ global }) => pagePool(global),
  page_pool_shrink: ({ global }) => pagePoolShrink(global),
  tt_shrink: ttShrink,
  buffer_objects: (_, buffers) => `${buffers}\n`,
};

/** @throws RangeError when there is no such file */
export function debugfs(bdev: Bdev, buffers: number, name: DebugfsName): string {
  if (typeof name !== "string" || !Object.hasOwn(FILES, name)) {
    throw new RangeError(
      `debugfs name must be one of ${Object.keys(FILES).join(", ")}, not ${show(name)}`,
    );
  }
  return FILES[name](bdev, buffers);
}

/** Chunks pooled of each type and order, then pages pooled and their limit (ttm_pool_debugfs). */
function pagePool({ engine, types, limits }: TtmGlobal): string {
  const orders = Array.from({ length: NR_ORDERS }, (_, order) => order);
  const header = orders.map((order) => `---${String(order).padStart(2)}---`).join(" ");
  const rows = types.flatMap((type, index) => {
    if (!type) return [];
    const counts = orders.map((order) => String(engine.poolCount(index, order)).padStart(8));
    return [`${type.name.padEnd(6)}\t:${counts.join(" ")}`];
  });
  const total = `total\t: ${String(engine.pooledPages).padStart(8)} of ${limits.pagePoolSize}`;
  return [`\t ${header}`, ...rows, "", total, ""].join("\n");
}

/** Counts, scans one batch, and says "count/freed" (ttm_pool_debugfs_shrink). */
function pagePoolShrink({ poolShrinker }: TtmGlobal): string {
  const nrToScan = poolShrinker.batch;
  const count = Math.max(poolShrinker.countObjects(), 0);
  const freed = poolShrinker.scanObjects({ nrToScan, nrScanned: nrToScan, kswapd: false });
  return `${count}/${Math.max(freed, 0)}\n`;
}

/** Shrinks one buffer, and says how many pages that released (ttm_tt_debugfs_shrink). */
function ttShrink({ reclaimer }: Bdev): string {
  assertStack();
  return `${reclaimer.shrinkOneSync()}\n`;
}
