import { DEFAULTS } from "./args.ts";

export const PROGRAM_HELP: string = `ttm-wasm: a page pool for JavaScript that can give memory back

Usage:
  ttm-wasm run [PATH...] [options]   load files under little memory, read them back, measure
  ttm-wasm run --help                its options
  ttm-wasm --version
`;

export const RUN_HELP: string = `Usage: ttm-wasm run [PATH...] [options]

Loads files into buffer objects, straight into their mapped pages, under less memory than they need;
reads them all back in sequence and then in a zipf order, checking every byte against a digest taken
when the file was read; and measures shrink and restore against the bare calls. One process for each
runtime, one table for all. Exit code 0 only if nothing mismatched.

  PATH...             files, and folders with all that is in them (links in them are not followed);
                      smallest files first, taken again as further objects until --size is reached.
                      Default: node_modules and the runtimes' own binaries
  --size SIZE         bytes to load (${DEFAULTS.size})
  --object-size SIZE  a larger file becomes several objects (${DEFAULTS["object-size"]}, at most an eighth of --memory)
  --memory SIZE       pages the objects share (${DEFAULTS.memory})
  --accesses N        reads in the zipf order (${DEFAULTS.accesses})
  --seed N            of the zipf order and the interruptions (${DEFAULTS.seed})
  --interrupt P       share of restores that are interrupted and retried, 0 to 1 (${DEFAULTS.interrupt})
  --swap WHERE        ram, compressed (in memory beside the pool's), file (a private one in the temp
                      folder) or file:PATH (${DEFAULTS.swap})
  --swap-size SIZE    most bytes in swap (what the objects need, and an eighth more)
  --caching KIND      cached, wc or uc: how pages are cached, simulated (${DEFAULTS.caching})
  --pool-size SIZE    bytes of free pages that pools may keep with their caching (half of --memory)
  --fault P           share of allocations, mappings, reads, writes and so on that fail on purpose
                      and are done again, 0 to 0.5 (${DEFAULTS.fault})
  --runtime LIST      of node, deno and bun, with commas (all that are there)
  --trim              before measuring, shrink everything, give memory back to the host, read all of
                      it again, and say what the process had of the host's memory each time
  --json              print one JSON object and nothing else
  --help

A SIZE is a number of bytes or has a unit: B, KiB, MiB, GiB, TiB, kB, MB, GB, TB.
`;
