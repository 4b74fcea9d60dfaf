/* A prefix of any storage, by what all of them can do. */
import type { View } from "../host_types.ts";
import { storeCode } from "./storage_errors.ts";
import type { Lock, Shelf, StorageLike } from "./storage_types.ts";

/** Asks drivers that know several forms for this one. */
const RAW = { type: "arrayBuffer" };
/** Calls at the same time where many keys are dealt with. */
const AT_ONCE = 16;
/** Values that are kept here at most until the store has room for them again. */
const KEPT_MAX = 16;

/**
 * The keys of a prefix through the storage itself. A driver without raw values gets them as base64, by the
 * storage.
 */
export class StorageShelf implements Shelf {
  readonly atomic: boolean = false;
  readonly #storage: StorageLike;
  readonly #lockKey: string;
  readonly #prefix: string;
  readonly #lockTtl: number;
  /**
   * Values that the store lost: a file is cut off before it is written anew, and on a full disk somebody else may
   * take the room in between.
   */
  readonly #kept = new Map<string, View>();
  /** What is kept is being given back: nobody else may touch it. */
  #giving: Promise<void> | undefined;

  /** @param lockTtl seconds that a lock is good for, where the store can end it by itself */
  constructor(storage: StorageLike, prefix: string, lockTtl: number) {
    this.#storage = storage;
    this.#prefix = prefix;
    this.#lockKey = `${prefix}:lock`;
    this.#lockTtl = lockTtl;
  }

  async get(key: string): Promise<Uint8Array> {
    const kept = this.#kept.get(key);
    if (kept) return kept;
    return bytesOf(await this.#storage.getItemRaw(key, RAW), key);
  }

  async set(key: string, bytes: View, known: boolean): Promise<void> {
    await this.#settle(key, known ? KEPT_MAX : 1);
    try {
      await this.#storage.setItemRaw(key, bytes);
      this.#kept.delete(key);
    } catch (error) {
      if (!known) await this.#storage.removeItem(key).catch(() => {});
      else if (storeCode(error) !== "ENODEV") this.#kept.set(key, bytes);
      if (known && storeCode(error) === "ENOSPC") return;
      throw error;
    }
  }

  /**
   * Gives the store what it has lost, before the value of another key takes the room.
   *
   * @throws what the store throws, when as many as `most` stay kept
   */
  async #settle(key: string, most: number): Promise<void> {
    while (this.#giving) await this.#giving;
    if (this.#kept.size === 0 || this.#kept.has(key)) return;
    let failure: unknown;
    this.#giving = this.#give().catch((error) => {
      failure = error;
    });
    await this.#giving;
    this.#giving = undefined;
    if (this.#kept.size >= most) throw failure;
  }

  async #give(): Promise<void> {
    for (const [key, bytes] of this.#kept) {
      await this.#storage.setItemRaw(key, bytes);
      this.#kept.delete(key);
    }
  }

  async remove(key: string): Promise<void> {
    while (this.#giving) await this.#giving;
    this.#kept.delete(key);
    throwIfError(await this.#storage.removeItem(key));
  }

  async keys(): Promise<string[]> {
    const keys = await this.#storage.getKeys(this.#prefix);
    return keys.filter((key) => key.startsWith(`${this.#prefix}:`) && key !== this.#lockKey);
  }

  async claim(lock: Lock, owners: readonly string[]): Promise<Lock | undefined> {
    const stands = await this.#lock();
    if (stands && !owners.includes(stands.owner)) return stands;
    const ttl = { ttl: this.#lockTtl };
    await this.#storage.setItem(this.#lockKey, JSON.stringify(lock), ttl);
    return undefined;
  }

  async release(owner: string): Promise<void> {
    const stands = await this.#lock();
    if (stands?.owner === owner) await this.#storage.removeItem(this.#lockKey);
  }

  async #lock(): Promise<Lock | undefined> {
    return lockOf(await this.#storage.getItem(this.#lockKey));
  }
}

/** A lock that cannot be read: that of an owner whose disk is full, or nobody's. */
export const NOBODY = "";

/** A lock as a store gives it back, parsed or not. */
export function lockOf(value: unknown): Lock | undefined {
  throwIfError(value);
  if (value === null || value === undefined) return undefined;
  const { owner, beat } = parsed(value) as Partial<Lock>;
  const known = typeof owner === "string" && typeof beat === "number";
  return known ? { owner, beat } : { owner: NOBODY, beat: 0 };
}

function parsed(value: unknown): object {
  try {
    return Object(typeof value === "string" ? JSON.parse(value) : value);
  } catch {
    return {};
  }
}

/** Drivers for files give back the error of a read instead of throwing it. */
function throwIfError(value: unknown): void {
  if (value instanceof Error) throw value;
}

/** @throws Error when there is no value, or it is none of bytes */
function bytesOf(value: unknown, key: string): Uint8Array {
  throwIfError(value);
  if (value === null || value === undefined) throw gone(key);
  if (value instanceof Uint8Array) return value;
  if (value instanceof ArrayBuffer) return new Uint8Array(value);
  if (ArrayBuffer.isView(value)) {
    return new Uint8Array(value.buffer, value.byteOffset, value.byteLength);
  }
  throw new Error(`record ${key} came back as ${typeof value}, not as bytes`);
}

/** What a read of a value meets that the store does not have any more. */
export function gone(key: string): Error {
  return new Error(`record ${key} is gone from the store`);
}

/** Does the same to many keys, some at a time. @throws what the first failed with, when all have ended */
export async function forEach(
  keys: readonly string[],
  work: (key: string) => Promise<void>,
): Promise<void> {
  const failures: unknown[] = [];
  let next = 0;
  const worker = async () => {
    while (next < keys.length) {
      try {
        await work(keys[next++] as string);
      } catch (error) {
        failures.push(error);
      }
    }
  };
  await Promise.all(Array.from({ length: Math.min(AT_ONCE, keys.length) }, worker));
  if (failures.length > 0) throw failures[0];
}
