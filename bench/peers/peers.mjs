/**
 * Who is measured. `ours`: the library. `extra`: only when named with --peers. `package`: something one
 * installs, as opposed to something one writes. `large`: only for objects of 1 MiB and more.
 */
export const PEERS = [
  { name: "ttm", title: "ttm-wasm", file: "ttm_wasm.mjs", ours: true },
  {
    name: "ttm-nosums",
    title: "ttm-wasm, checksums off",
    file: "ttm_wasm.mjs",
    options: { checksums: false },
    ours: true,
  },
  {
    name: "ttm-tight",
    title: "ttm-wasm, swap as large as the data",
    file: "ttm_wasm.mjs",
    options: { swapTimes: 1 },
  },
  {
    name: "ttm-copy",
    title: "ttm-wasm, readSync",
    file: "ttm_wasm_copy.mjs",
    extra: true,
  },
  {
    name: "ttm-copy-nosums",
    title: "ttm-wasm, readSync, checksums off",
    file: "ttm_wasm_copy.mjs",
    options: { checksums: false },
    extra: true,
  },
  { name: "ttm-compressed", title: "ttm-wasm, compressed swap", file: "ttm_compressed.mjs" },
  { name: "optimum", title: "hand-written optimum", file: "optimum.mjs" },
  {
    name: "optimum-always",
    title: "hand-written, always writes",
    file: "optimum.mjs",
    options: { always: true },
  },
  { name: "lmdb", title: "lmdb", file: "lmdb.mjs", package: true },
  { name: "sqlite", title: "lru-cache + better-sqlite3", file: "sqlite.mjs", package: true },
  { name: "lru-files", title: "lru-cache + file per object", file: "lru_files.mjs", package: true },
  { name: "unstorage", title: "lru-cache + unstorage fs", file: "unstorage.mjs", package: true },
  {
    name: "unstorage-4",
    title: "the same, 4 writes in flight",
    file: "unstorage.mjs",
    options: { inFlight: 4 },
    package: true,
    large: true,
  },
  { name: "lru-lz4", title: "lru-cache + lz4 in RAM", file: "lru_lz4.mjs", package: true },
];
