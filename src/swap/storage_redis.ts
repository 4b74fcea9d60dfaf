/*
 * A prefix of a Redis, through the client that the driver of `unstorage` has: that driver knows texts only, so
 * the storage would make base64 of all pages; and a claim is one step here, and values live on without being sent again.
 */
import type { View } from "../host_types.ts";
import { storeCode, storeError } from "./storage_errors.ts";
import { gone, lockOf, StorageShelf } from "./storage_shelf.ts";
import type { Lock, Shelf, StorageLike } from "./storage_types.ts";

/** What is used of ioredis. */
interface Client {
  readonly isCluster?: boolean;
  getBuffer(key: string): Promise<Uint8Array | null>;
  mgetBuffer(...keys: string[]): Promise<(Uint8Array | null)[]>;
  get(key: string): Promise<string | null>;
  set(key: string, value: unknown, ...options: unknown[]): Promise<unknown>;
  expire(key: string, seconds: number): Promise<unknown>;
  unlink(...keys: string[]): Promise<unknown>;
  eval(script: string, keys: number, ...args: unknown[]): Promise<unknown>;
  info(section: string): Promise<string>;
}

const METHODS = [
  ...(["getBuffer", "mgetBuffer", "get", "set", "expire", "unlink", "eval", "info"] as const),
];

/** Keys renewed at a stretch: a few milliseconds of this thread. */
const RENEW_AT_ONCE = 500;

/*
 * Scripts, in which a `SET` behind a `DEL` is allowed to a Redis that is full: what is replaced makes room.
 */
const CLAIM: string = [
  'local stands = redis.call("GET", KEYS[1])',
  "if stands then",
  "local ok, lock = pcall(cjson.decode, stands)",
  'local owner, free = ok and type(lock) == "table" and lock.owner or "", false',
  "for i = 3, #ARGV do free = free or ARGV[i] == owner end",
  "if not free then return stands end end",
  'redis.call("DEL", KEYS[1]) redis.call("SET", KEYS[1], ARGV[1], "PX", ARGV[2]) return false',
].join(" ");
const RELEASE: string = [
  'local stands = redis.call("GET", KEYS[1])',
  "if stands and string.find(stands, ARGV[1], 1, true)",
  'then redis.call("DEL", KEYS[1]) end',
].join(" ");
const REPLACE: string = [
  'redis.call("DEL", KEYS[1]) redis.call("SET", KEYS[1], ARGV[1])',
  'if ARGV[2] ~= "0" then redis.call("EXPIRE", KEYS[1], ARGV[2]) end',
].join(" ");

/** Where a storage keeps a prefix in Redis, if it does. */
interface RedisPlace {
  readonly client: Client;
  /** What stands before the storage's own keys. */
  readonly base: string;
}

/**
 * The Redis behind a prefix of a storage; `undefined` when there is none, or it cannot be told where in it.
 *
 * @param probe a key that nobody uses
 */
export async function findRedis(
  storage: StorageLike,
  probe: string,
): Promise<RedisPlace | undefined> {
  const mount = storage.getMount?.(probe);
  const driver = mount?.driver as {
    readonly options?: { readonly base?: unknown };
    getInstance?(): unknown;
  } | null;
  if (!mount || typeof driver?.getInstance !== "function") return undefined;
  const client = driver.getInstance() as Client | null | undefined;
  if (METHODS.some((name) => typeof client?.[name] !== "function")) return undefined;
  const own = String(driver.options?.base ?? "").replace(/[:/\\]+/g, ":");
  const base = own.replace(/^:|:$/g, "");
  const before = base === "" ? "" : `${base}:`;
  // A storage that stands before another one may add to the key what cannot be seen from here.
  await storage.setItem(probe, probe, { ttl: 60 });
  const key = probe.slice(mount.base.length);
  const found = (await (client as Client).get(before + key)) === probe;
  await storage.removeItem(probe);
  return found ? { client: client as Client, base: before } : undefined;
}

/** The same keys as a `StorageShelf` has, by fewer and shorter ways. */
export class RedisShelf implements Shelf {
  readonly atomic: boolean = true;
  readonly #client: Client;
  /** What a key of the storage's becomes in Redis. */
  readonly #place: (key: string) => string;
  readonly #lockKey: string;
  readonly #goodMs: number;
  readonly #ttl: number;
  readonly #listed: StorageShelf;
  /** Keys that are read, and that are removed, in one call each before anything else happens. */
  readonly #getting: Together<Uint8Array | null>;
  readonly #leaving: Together<void>;

  /**
   * @param goodMs how long a lock is good for (ms)
   * @param ttl how long values live that are not renewed (seconds); 0: for ever
   */
  constructor(
    { client, base }: RedisPlace,
    storage: StorageLike,
    prefix: string,
    goodMs: number,
    ttl: number,
  ) {
    const mounted = storage.getMount?.(`${prefix}:lock`).base ?? "";
    this.#client = client;
    this.#place = (key) => base + key.slice(mounted.length);
    this.#lockKey = this.#place(`${prefix}:lock`);
    this.#goodMs = goodMs;
    this.#ttl = ttl;
    this.#listed = new StorageShelf(storage, prefix, 0);
    this.#getting = new Together((places) => client.mgetBuffer(...places));
    this.#leaving = new Together(async (places) => {
      await client.unlink(...places);
      return [];
    });
  }

  /** @throws TtmError when this Redis would drop pages instead of saying that it is full */
  async assertKeeps(what: string): Promise<void> {
    const memory = await this.#client.info("memory").catch(() => "");
    const policy = /maxmemory_policy:([\w-]+)/.exec(memory)?.[1] ?? "noeviction";
    if (policy === "noeviction" || /maxmemory:0\b/.test(memory)) return;
    if (policy.startsWith("volatile-") && this.#ttl === 0) return;
    const hint = policy.startsWith("volatile-") ? ", or give storageSwap ttl: 0" : "";
    const text = `this Redis drops values when it is full; set its maxmemory-policy to noeviction${hint}`;
    throw storeError("open", what, Object.assign(new Error(text), { code: "EINVAL" }));
  }

  async get(key: string): Promise<Uint8Array> {
    const place = this.#place(key);
    // The shards of a cluster take no keys of others in one call.
    const one = this.#client.isCluster;
    const bytes = await (one ? this.#client.getBuffer(place) : this.#getting.add(place));
    if (bytes === null) throw gone(key);
    return bytes;
  }

  async set(key: string, bytes: View, known: boolean): Promise<void> {
    const place = this.#place(key);
    const value = asBuffer(bytes);
    try {
      if (this.#ttl === 0) await this.#client.set(place, value);
      else await this.#client.set(place, value, "EX", this.#ttl);
    } catch (error) {
      if (!known || storeCode(error) !== "ENOSPC") throw error;
      await this.#client.eval(REPLACE, 1, place, value, this.#ttl);
    }
  }

  async remove(key: string): Promise<void> {
    const place = this.#place(key);
    await (this.#client.isCluster ? this.#client.unlink(place) : this.#leaving.add(place));
  }

  keys(): Promise<string[]> {
    return this.#listed.keys();
  }

  async renew(keys: readonly string[]): Promise<void> {
    if (this.#ttl === 0) return;
    for (let at = 0; at < keys.length; at += RENEW_AT_ONCE) {
      const some = keys.slice(at, at + RENEW_AT_ONCE);
      await Promise.all(some.map((key) => this.#client.expire(this.#place(key), this.#ttl)));
    }
  }

  async claim(lock: Lock, owners: readonly string[]): Promise<Lock | undefined> {
    const text = JSON.stringify(lock);
    const args = [this.#lockKey, text, Math.round(this.#goodMs), ...owners];
    const stands = await this.#client.eval(CLAIM, 1, ...args);
    return stands === null ? undefined : lockOf(stands);
  }

  async release(owner: string): Promise<void> {
    await this.#client.eval(RELEASE, 1, this.#lockKey, owner);
  }
}

/** Makes one call of those that are wanted at the same moment. */
class Together<T> {
  readonly #call: (places: readonly string[]) => Promise<readonly T[]>;
  #next: { readonly places: string[]; readonly done: Promise<readonly T[]> } | undefined;

  constructor(call: (places: readonly string[]) => Promise<readonly T[]>) {
    this.#call = call;
  }

  async add(place: string): Promise<T> {
    this.#next ??= this.#begin();
    const { places, done } = this.#next;
    const at = places.push(place) - 1;
    return (await done)[at] as T;
  }

  #begin() {
    const places: string[] = [];
    const done = Promise.resolve().then(() => {
      this.#next = undefined;
      return this.#call(places);
    });
    return { places, done };
  }
}

/** The client takes nothing else for bytes. It is a Node module, so there is a `Buffer`. */
function asBuffer(bytes: View): unknown {
  const { Buffer } = globalThis as unknown as {
    Buffer: { from(buffer: ArrayBufferLike, at: number, length: number): unknown };
  };
  return Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength);
}
