import { failureOf, messageOf, show } from "../errors.ts";
import { assertOptions } from "../options.ts";
import { pagesOf, parseSize, type Size } from "../size.ts";
import { coded } from "./coded.ts";
import { PageRecords } from "./records.ts";
import type { SyncSwapDevice } from "./types.ts";

/** As much of a Durable Object's `ctx.storage` as `durableObjectSwap` uses. */
export interface DurableObjectStorageLike {
  /** Its SQLite database. */
  readonly sql: DurableObjectSqlLike;
}

/** As much of a Durable Object's `ctx.storage.sql` as `durableObjectSwap` uses. */
export interface DurableObjectSqlLike {
  /** Runs a statement. */
  exec(query: string, ...bindings: never[]): DurableObjectRowsLike;
}

/** As much of the rows of a statement as `durableObjectSwap` uses. */
export interface DurableObjectRowsLike {
  /** The rows as arrays of their values. */
  raw(): Iterable<readonly unknown[]>;
}

/** Options of `durableObjectSwap`. */
export interface DurableObjectSwapOptions {
  /** Most bytes it may hold; rounded up to pages. An object's database has its own limit, of 10 GB. */
  readonly size: Size;
  /** Table that the pages are in; nothing else may be in it. Default: `"ttm_wasm_swap"`. */
  readonly table?: string;
}

const OPTIONS: readonly string[] = ["size", "table"];

/** Pages of a row: 64 KiB are written as fast as a MiB, and a page of them is read in a tenth of a millisecond. */
const ROW_PAGES = 16;

/** Tables that pools are on, by their database: also those of other copies of this package in the isolate. */
const IN_USE: unique symbol = Symbol.for("ttm-wasm.durable-object-tables") as never;

function tablesOf(sql: object): Set<string> {
  const shared = globalThis as { [IN_USE]?: WeakMap<object, Set<string>> };
  shared[IN_USE] ??= new WeakMap();
  const tables = shared[IN_USE].get(sql) ?? new Set();
  shared[IN_USE].set(sql, tables);
  return tables;
}

/**
 * Swap space in the SQLite database of a Cloudflare Durable Object: `durableObjectSwap(ctx.storage, { size })`. It is
 * synchronous, as that is.
 *
 * The table is made when a device is created on it, and dropped by `close`. What it held when the object was
 * evicted is dropped when it is made again. What undoes writes, undoes swap: use no buffers in a
 * `transactionSync` or `transaction` that may be rolled back, and no `deleteAll` while a device is open.
 *
 * @throws TypeError, RangeError when an argument is not what it should be. Opening it, in `createDevice`, fails with
 *   `EBUSY` when another device is on the table, `EEXIST` when that is somebody else's
 */
export function durableObjectSwap(
  storage: DurableObjectStorageLike,
  options: DurableObjectSwapOptions,
): SyncSwapDevice {
  const sql = sqlOf(storage);
  if (options === undefined) {
    const example = 'durableObjectSwap(ctx.storage, { size: "1 GiB" })';
    throw new TypeError(`durableObjectSwap needs at least a size: ${example}`);
  }
  assertOptions(options, OPTIONS, "durableObjectSwap");
  const { table = "ttm_wasm_swap" } = options;
  if (typeof table !== "string" || !/^(?!_cf_|sqlite_)[a-z_]\w*$/i.test(table)) {
    const rule = "a name of letters, digits and _";
    throw new TypeError(`durableObjectSwap table must be ${rule}, not ${show(table)}`);
  }
  const slots = pagesOf(parseSize(options.size, "durableObjectSwap size"));
  const run = (query: string, ...bindings: unknown[]) => {
    try {
      return [...sql.exec(query, ...(bindings as never[])).raw()];
    } catch (error) {
      throw told(error);
    }
  };
  const quoted = `"${table}"`;
  const set = `INSERT OR REPLACE INTO ${quoted} VALUES (?, ?)`;
  const get = `SELECT pages FROM ${quoted} WHERE id = ?`;
  const remove = `DELETE FROM ${quoted} WHERE id = ?`;
  const schema = `CREATE TABLE ${quoted} (id INTEGER PRIMARY KEY, pages BLOB)`;
  const store = {
    set: (id: number, bytes: Uint8Array) => void run(set, id, bytes),
    get(id: number): ArrayBuffer {
      for (const [pages] of run(get, id)) return pages as ArrayBuffer;
      throw coded("ENODEV", `table ${table} has lost row ${id}`);
    },
    delete: (id: number) => void run(remove, id),
  };
  let records = new PageRecords(store, { pages: ROW_PAGES });
  const open = () => {
    const tables = tablesOf(sql);
    const name = table.toLowerCase();
    if (tables.has(name)) throw coded("EBUSY", "it is in use by another device");
    const find = "SELECT sql FROM sqlite_master WHERE name = ? COLLATE NOCASE";
    for (const [text] of run(find, table)) {
      if (text !== schema) throw coded("EEXIST", "it is there, and not one of swap pages");
      run(`DROP TABLE ${quoted}`);
    }
    run(schema);
    records = new PageRecords(store, { pages: ROW_PAGES });
    tables.add(name);
  };
  return {
    name: "durable-object",
    slots,
    open() {
      try {
        open();
      } catch (error) {
        throw failureOf("open", error, `table ${table} cannot be had for swap`);
      }
    },
    readSync: (runs) => records.readSync(runs),
    writeSync: (runs) => records.writeSync(runs),
    discard: (ranges) => records.discardSync(ranges),
    close() {
      tablesOf(sql).delete(table.toLowerCase());
      run(`DROP TABLE IF EXISTS ${quoted}`);
    },
  };
}

function sqlOf(storage: DurableObjectStorageLike): DurableObjectSqlLike {
  const what = "durableObjectSwap takes ctx.storage of a Durable Object";
  if (typeof storage !== "object" || storage === null) {
    throw new TypeError(`${what}, not ${show(storage)}`);
  }
  let sql: unknown;
  let cause: unknown;
  try {
    ({ sql } = storage);
  } catch (error) {
    cause = error;
  }
  if (typeof (sql as Partial<DurableObjectSqlLike> | undefined)?.exec === "function") {
    return sql as DurableObjectSqlLike;
  }
  throw new TypeError(`${what} whose class has SQLite (new_sqlite_classes)`, { cause });
}

/** An error of the database with the code that stands in its text alone. */
function told(error: unknown): unknown {
  const text = messageOf(error);
  const code = /no such table/.test(text) ? "ENODEV" : /\bSQLITE_[A-Z]+/.exec(text)?.[0];
  return code === undefined ? error : coded(code, text, error);
}
