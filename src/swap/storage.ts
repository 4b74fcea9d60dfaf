import { show, TtmError, type TtmOperation } from "../errors.ts";
import { now } from "../host.ts";
import type { View } from "../host_types.ts";
import { assertOptions, assertWhole } from "../options.ts";
import { pagesOf, parseSize, type Size } from "../size.ts";
import { PageRecords } from "./records.ts";
import { storeError } from "./storage_errors.ts";
import { drawOwner, Ownership } from "./storage_lock.ts";
import { findRedis, RedisShelf } from "./storage_redis.ts";
import { forEach, StorageShelf } from "./storage_shelf.ts";
import type { Shelf, StorageLike } from "./storage_types.ts";
import type { AsyncSwapDevice } from "./types.ts";

export type { StorageLike } from "./storage_types.ts";

/** Options of `storageSwap`. */
export interface StorageSwapOptions {
  /** A storage of the package `unstorage`: `createStorage({ driver })`. It stays open; its maker disposes of it. */
  readonly storage: StorageLike;
  /** Most bytes of pages that it may hold; rounded up to pages. */
  readonly size: Size;
  /** What all keys begin with, for one pool at a time. Default: `"ttm"`. */
  readonly prefix?: string;
  /** Most pages of one record, 1 to 256. Default: 16, which is 64 KiB. */
  readonly pagesPerRecord?: number;
  /** Requests in flight for one call: 1 to 256. Default: 16. */
  readonly parallel?: number;
  /** Calls in flight: 1 to 1024. Default: 8. */
  readonly queueDepth?: number;
  /**
   * Seconds after which the prefix of a pool that says nothing is free for another: 3 to 3600. Default: 30. A
   * process that stands still for longer may lose its pages to another that opens the prefix.
   */
  readonly takeover?: number;
  /**
   * Seconds that records outlive a process that was killed, in Redis; 0: until the prefix is opened again, as
   * in all other stores. At least twice `takeover`. Default: 3600.
   */
  readonly ttl?: number;
}

const OPTIONS: readonly (keyof StorageSwapOptions)[] = [
  ...(["storage", "size", "prefix", "pagesPerRecord", "parallel", "queueDepth"] as const),
  ...(["takeover", "ttl"] as const),
];

const METHODS = [
  ...(["getItem", "setItem", "getItemRaw", "setItemRaw", "removeItem", "getKeys"] as const),
];

/** Letters that no driver changes, in parts of a key. */
const PREFIX = /^\w[\w.-]*(?::\w[\w.-]*)*$/;
/** What stands behind the prefix in the key of a record: an owner and a number. What is otherwise is not ours. */
const RECORD = /^pages\.[0-9a-f]{16}\.[0-9a-z]+$/;
/** How often a list of keys is asked for, when the store goes on to list what was removed. */
const SWEEPS_MAX = 5;

/**
 * Pages in whatever `unstorage` has a driver for: Redis, S3, R2, files and others. They lie in records of
 * some pages each, in the clear, under keys that begin with the prefix.
 *
 * A prefix belongs to one pool at a time, which renews a lock record; a second one is refused. What a killed
 * process left is removed when the prefix is opened again, and by Redis itself after `ttl`. In Redis pages go as
 * they are; other drivers without raw values get base64 from `unstorage`, a third more.
 *
 * @throws TypeError, RangeError when an option is not what it should be. Opening it, in `createDevice`,
 *   throws `TtmError`: EBUSY when the prefix is another's, ENODEV when the store cannot be reached
 */
export function storageSwap(options: StorageSwapOptions): AsyncSwapDevice {
  if (options === undefined) {
    throw new TypeError(
      'storageSwap needs a storage and a size: storageSwap({ storage, size: "1 GiB" })',
    );
  }
  assertOptions(options, OPTIONS, "storageSwap");
  const { storage, size, prefix = "ttm", pagesPerRecord = 16, parallel = 16 } = options;
  const { queueDepth = 8, takeover = 30, ttl = 3600 } = options;
  assertStorage(storage);
  const slots = pagesOf(parseSize(size, "storageSwap size"));
  if (typeof prefix !== "string" || !PREFIX.test(prefix)) {
    const text = "letters, digits, _, - and ., in parts with : between them";
    throw new TypeError(`storageSwap prefix must be ${text}, not ${show(prefix)}`);
  }
  assertWhole(pagesPerRecord, "storageSwap pagesPerRecord", 1, 256);
  assertWhole(parallel, "storageSwap parallel", 1, 256);
  assertWhole(queueDepth, "storageSwap queueDepth", 1, 1024);
  assertWhole(takeover, "storageSwap takeover", 3, 3600);
  if (ttl !== 0) assertWhole(ttl, "storageSwap ttl", 2 * takeover);
  const settings = { storage, prefix, pagesPerRecord, parallel, takeover, ttl };
  let tenancy: Tenancy | undefined;
  const open = () => {
    if (!tenancy) throw new TtmError("ENODEV", "open", "swap device storage is not open");
    return tenancy;
  };
  return {
    name: "storage",
    slots,
    queueDepth,
    async open() {
      tenancy = await Tenancy.begin(settings);
    },
    async read(runs, signal) {
      const { records } = await open().assertOurs("restore");
      await records.read(runs, signal);
    },
    async write(runs, signal) {
      const { records } = await open().assertOurs("shrink");
      return records.write(runs, signal);
    },
    async discard(ranges) {
      await open().records.discard(ranges);
    },
    async close() {
      const ended = tenancy;
      tenancy = undefined;
      await ended?.end();
    },
  };
}

function assertStorage(storage: unknown): void {
  const given = storage as Partial<StorageLike> | null | undefined;
  if (METHODS.every((name) => typeof given?.[name] === "function")) return;
  const text = "a storage of unstorage, such as createStorage({ driver })";
  const hint = typeof given === "object" && given !== null ? "; a driver alone is none" : "";
  throw new TypeError(`storageSwap storage must be ${text}, not ${show(storage)}${hint}`);
}

type Settings = Required<Omit<StorageSwapOptions, "size" | "queueDepth">>;

/** One pool's use of a prefix, from `begin` to `end`. */
class Tenancy {
  readonly #ownership: Ownership;
  readonly records: PageRecords;
  readonly #shelf: Shelf;
  readonly #settings: Settings;
  readonly #what: string;
  /** Keys that may be in the store: true if they are. */
  readonly #keys = new Map<string, boolean>();
  #renewed: number = now();

  private constructor(shelf: Shelf, settings: Settings, what: string) {
    const { takeover, pagesPerRecord: pages, parallel } = settings;
    this.#shelf = shelf;
    this.#settings = settings;
    this.#what = what;
    this.#ownership = new Ownership(shelf, what, takeover * 1000, () => this.#renew());
    this.records = new PageRecords(
      {
        get: (id) => this.#call("restore", () => shelf.get(this.#key(id))),
        set: (id, bytes) => this.#set(this.#key(id), bytes),
        delete: (id) => this.#delete(this.#key(id)),
      },
      { pages, parallel },
    );
  }

  static async begin(settings: Settings): Promise<Tenancy> {
    const { storage, prefix, takeover, ttl } = settings;
    const what = `the prefix ${show(prefix)} of swap device storage`;
    try {
      const redis = await findRedis(storage, `${prefix}:probe.${drawOwner()}`);
      const goodMs = takeover * 1000;
      const shelf = redis && new RedisShelf(redis, storage, prefix, goodMs, ttl);
      await shelf?.assertKeeps(what);
      const tenancy = new Tenancy(
        shelf ?? new StorageShelf(storage, prefix, takeover),
        settings,
        what,
      );
      await tenancy.#ownership.acquire();
      try {
        await tenancy.#sweep();
      } catch (error) {
        await tenancy.#ownership.release().catch(() => {});
        throw error;
      }
      return tenancy;
    } catch (error) {
      throw failure("open", what, error);
    }
  }

  /** @throws TtmError ENODEV when the prefix was lost to another, or cannot be asked for after so long a time */
  async assertOurs(op: TtmOperation): Promise<this> {
    await this.#call(op, () => this.#ownership.assert());
    return this;
  }

  /** Removes all that is ours, and then the lock. @throws what the first that stays was kept by */
  async end(): Promise<void> {
    try {
      await this.records.clear();
      // Those of writes that failed: the store may have them all the same.
      await forEach([...this.#keys.keys()], (key) => this.#shelf.remove(key));
      await this.#ownership.release();
    } catch (error) {
      await this.#ownership.release().catch(() => {});
      throw failure("close", this.#what, error);
    }
  }

  #key(id: number): string {
    return `${this.#settings.prefix}:pages.${this.#ownership.owner}.${id.toString(36)}`;
  }

  async #set(key: string, bytes: View): Promise<void> {
    const known = this.#keys.get(key) ?? false;
    this.#keys.set(key, known);
    await this.#call("shrink", () => this.#shelf.set(key, bytes, known));
    this.#keys.set(key, true);
  }

  async #delete(key: string): Promise<void> {
    await this.#call("shrink", () => this.#shelf.remove(key));
    this.#keys.delete(key);
  }

  async #call<T>(op: TtmOperation, call: () => Promise<T>): Promise<T> {
    try {
      return await call();
    } catch (error) {
      throw failure(op, "swap device storage", error);
    }
  }

  /** Removes what former owners left. */
  async #sweep(): Promise<void> {
    const start = `${this.#settings.prefix}:`;
    let before = "";
    for (let sweep = 0; sweep < SWEEPS_MAX; ) {
      const keys = (await this.#shelf.keys()).filter((key) => RECORD.test(key.slice(start.length)));
      if (keys.length === 0) return;
      // Some list a thousand at a time, and some still list for a while what is gone.
      if (keys.join() === before) sweep++;
      before = keys.join();
      await forEach(keys, (key) => this.#shelf.remove(key));
    }
  }

  /** Lets the records live on when a quarter of their time has gone. */
  async #renew(): Promise<void> {
    const { ttl } = this.#settings;
    if (!this.#shelf.renew || ttl === 0 || now() - this.#renewed < ttl * 250) return;
    this.#renewed = now();
    await this.#shelf.renew([...this.#keys.keys()]);
  }
}

function failure(op: TtmOperation, what: string, error: unknown): TtmError {
  return error instanceof TtmError ? error : storeError(op, what, error);
}
