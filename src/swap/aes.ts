/*
 * AES-256-GCM of the host's. `node:crypto` does it on the spot, a page in 5 us on Node, 2 on Bun and 20 on Deno. Where
 * that is not, `crypto.subtle` does it later: on Node 12 to 17 us a page (`bench/encrypted.bench.ts`), since each is a
 * task for another thread.
 */
import type { View } from "../host_types.ts";
import { TAG_BYTES } from "./seals.ts";

/** What a page is sealed with: nonces are never used twice with one key. */
export interface Context {
  /** 12 bytes. */
  readonly nonce: View;
  /** What is authenticated beside the page. */
  readonly beside: View;
}

/** Bytes and what vouches for them. */
export interface Sealed {
  readonly bytes: View;
  readonly tag: View;
}

/** A key at work. The promises of one that takes time are those of its calls. */
export interface Aes<Takes extends boolean> {
  seal(page: View, context: Context): Takes extends true ? Promise<Sealed> : Sealed;
  /** `undefined`: it was not sealed so. */
  open(
    sealed: Sealed,
    context: Context,
  ): Takes extends true ? Promise<View | undefined> : View | undefined;
}

/** Makes a key of 32 bytes, which may be overwritten as soon as it has returned. */
type AesOf<Takes extends boolean> = (key: View) => Aes<Takes>;

/** Kinds of keys that the host has. */
export interface Ciphers {
  readonly now: AesOf<false> | undefined;
  readonly later: AesOf<true> | undefined;
}

const ALGORITHM = "aes-256-gcm";

/** What we use of `node:crypto`. */
interface NodeCrypto {
  createSecretKey(key: View): object;
  createCipheriv(name: string, key: object, nonce: View): NodeCipher;
  createDecipheriv(name: string, key: object, nonce: View): NodeCipher;
}

interface NodeCipher {
  setAAD(bytes: View): unknown;
  update(bytes: View): View;
  final(): View;
  getAuthTag(): View;
  setAuthTag(tag: View): unknown;
}

/** `node:crypto`, without an import that bundlers for browsers would stumble over. */
function nodeCrypto(): NodeCrypto | undefined {
  const { process } = globalThis as {
    process?: { getBuiltinModule?(name: string): unknown } | undefined;
  };
  return process?.getBuiltinModule?.("node:crypto") as NodeCrypto | undefined;
}

function nodeAes(crypto: NodeCrypto, raw: View): Aes<false> {
  const key = crypto.createSecretKey(raw);
  return {
    seal(page, { nonce, beside }) {
      const cipher = crypto.createCipheriv(ALGORITHM, key, nonce);
      cipher.setAAD(beside);
      const bytes = cipher.update(page);
      cipher.final();
      return { bytes, tag: cipher.getAuthTag() };
    },
    open({ bytes, tag }, { nonce, beside }) {
      const cipher = crypto.createDecipheriv(ALGORITHM, key, nonce);
      cipher.setAAD(beside);
      cipher.setAuthTag(tag);
      const page = cipher.update(bytes);
      try {
        cipher.final();
      } catch {
        return undefined;
      }
      return page;
    },
  };
}

/** Whether it seals and opens: some hosts have the names, and throw when they are called. */
function works(of: AesOf<false>): boolean {
  try {
    const context = { nonce: new Uint8Array(12), beside: new Uint8Array(4) };
    const key = of(new Uint8Array(32));
    const { bytes, tag } = key.seal(new Uint8Array(1), context);
    const good = key.open({ bytes, tag }, context)?.[0] === 0;
    return good && key.open({ bytes, tag: new Uint8Array(TAG_BYTES) }, context) === undefined;
  } catch {
    return false;
  }
}

/** What we use of `crypto.subtle`. */
interface Subtle {
  importKey(
    format: "raw",
    key: View,
    name: string,
    extractable: boolean,
    uses: readonly string[],
  ): Promise<object>;
  encrypt(how: object, key: object, bytes: View): Promise<ArrayBuffer>;
  decrypt(how: object, key: object, bytes: View): Promise<ArrayBuffer>;
}

function subtleAes(subtle: Subtle, raw: View): Aes<true> {
  const key = subtle.importKey("raw", raw, "AES-GCM", false, ["encrypt", "decrypt"]);
  // Whoever uses it hears of it.
  key.catch(() => {});
  const how = ({ nonce, beside }: Context) => ({
    name: "AES-GCM",
    iv: nonce,
    additionalData: beside,
  });
  return {
    async seal(page, context) {
      const both = new Uint8Array(await subtle.encrypt(how(context), await key, page));
      return { bytes: both.subarray(0, page.length), tag: both.subarray(page.length) };
    },
    async open({ bytes, tag }, context) {
      const both = new Uint8Array(bytes.length + tag.length);
      both.set(bytes);
      both.set(tag, bytes.length);
      try {
        return new Uint8Array(await subtle.decrypt(how(context), await key, both));
      } catch (error) {
        if ((error as { name?: unknown } | null)?.name === "OperationError") return undefined;
        throw error;
      }
    },
  };
}

/** What this host has: none, where nothing gives random bytes, such as in worklets. */
export function hostCiphers(): Ciphers {
  const { subtle, getRandomValues } = (globalThis.crypto ?? {}) as {
    subtle?: Subtle;
    getRandomValues?: unknown;
  };
  if (typeof getRandomValues !== "function") return { now: undefined, later: undefined };
  const crypto = nodeCrypto();
  const now = crypto && ((raw: View) => nodeAes(crypto, raw));
  return {
    now: now && works(now) ? now : undefined,
    later: subtle && ((raw) => subtleAes(subtle, raw)),
  };
}
