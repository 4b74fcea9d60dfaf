import type { StorageLike } from "../../src/swap/storage.ts";

/** A storage in a Map, as `unstorage` makes one of its memory driver; a hook sees every call first. */
export class MapStorage implements StorageLike {
  readonly values: Map<string, unknown> = new Map();
  before: (call: keyof StorageLike, key: string) => unknown = () => undefined;

  /** Keys as they stand there. */
  get list(): string[] {
    return [...this.values.keys()].sort();
  }

  async getItem(key: string): Promise<unknown> {
    await this.before("getItem", key);
    const text = this.values.get(key);
    return typeof text === "string" ? JSON.parse(text) : (text ?? null);
  }

  async setItem(key: string, value: string): Promise<void> {
    await this.before("setItem", key);
    this.values.set(key, value);
  }

  /** Gives back what the hook returns, if it is anything. */
  async getItemRaw(key: string): Promise<unknown> {
    const instead = await this.before("getItemRaw", key);
    return instead ?? this.values.get(key) ?? null;
  }

  async setItemRaw(key: string, value: Uint8Array): Promise<void> {
    await this.before("setItemRaw", key);
    this.values.set(key, value);
  }

  async removeItem(key: string): Promise<void> {
    await this.before("removeItem", key);
    this.values.delete(key);
  }

  async getKeys(base = ""): Promise<string[]> {
    await this.before("getKeys", base);
    return this.list.filter((key) => key.startsWith(`${base}:`));
  }
}
