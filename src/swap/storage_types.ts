/* What is needed of `unstorage`, by structure: no types of it are needed to compile. */
import type { View } from "../host_types.ts";

/** A storage of the package `unstorage`, or whatever has these methods of it. */
export interface StorageLike {
  /** A value that was set with `setItem`, perhaps parsed; null when there is none. */
  getItem(key: string, options?: object): Promise<unknown>;
  /** Sets a text; `ttl` in the options is how long it stays (seconds), where the driver knows that. */
  setItem(key: string, value: string, options?: object): Promise<void>;
  /** Bytes that were set with `setItemRaw`; null when there are none. */
  getItemRaw(key: string, options?: object): Promise<unknown>;
  /** Sets bytes, which it may keep. */
  setItemRaw(key: string, value: View, options?: object): Promise<void>;
  /** Ends what was set. */
  removeItem(key: string): Promise<void>;
  /** The keys that begin with `base:`, or some of them where a driver lists no more at a time. */
  getKeys(base?: string): Promise<string[]>;
  /** The driver that a key belongs to. */
  getMount?(key?: string): { readonly base: string; readonly driver: unknown };
}

/** Who uses a prefix, as the store has it. */
export interface Lock {
  /** The id of that pool. */
  readonly owner: string;
  /** When it last said so (milliseconds since 1970, by its own clock). */
  readonly beat: number;
}

/** The values of one prefix in a store, and its lock. */
export interface Shelf {
  /** Whether `claim` is one step in the store, so that of two that claim one is refused. */
  readonly atomic: boolean;
  /** @throws when there is nothing: what the store says, never zeros */
  get(key: string): Promise<Uint8Array>;
  /** Sets a value; all of it or, when it rejects, none that counts. `known`: it replaces one. */
  set(key: string, bytes: View, known: boolean): Promise<void>;
  /** Ends a value. */
  remove(key: string): Promise<void>;
  /** Keys of values, perhaps not all at once. */
  keys(): Promise<string[]>;
  /** Lets values live on, where they would expire. */
  renew?(keys: readonly string[]): Promise<void>;
  /** Puts a lock where there is none, or one of `owners`. Returns the one that stands instead, if one does. */
  claim(lock: Lock, owners: readonly string[]): Promise<Lock | undefined>;
  /** Takes the lock away, if it is this owner's. */
  release(owner: string): Promise<void>;
}
