import { setTimeout as delay } from "node:timers/promises";
import { describe, expect, test } from "vitest";
import { createDevice, type Device, PAGE_SIZE, TtmError } from "../../src/index.ts";
import { type StorageSwapOptions, storageSwap } from "../../src/swap/storage.ts";
import { storeCode } from "../../src/swap/storage_errors.ts";
import { content, expectSame, pattern } from "../support/bytes.ts";
import { MapStorage } from "../support/map_storage.ts";

const LOCK = "ttm:lock";
const RECORD = /^ttm:pages\.[0-9a-f]{16}\.[0-9a-z]+$/;

function open(storage: MapStorage, options: Partial<StorageSwapOptions> = {}): Promise<Device> {
  return createDevice({
    memory: "256 KiB",
    swap: storageSwap({ storage, size: "4 MiB", takeover: 3, ...options }),
  });
}

async function filledBuffers(device: Device, count: number) {
  const bos = Array.from({ length: count }, () => device.createBuffer(30 * PAGE_SIZE));
  for (const [i, bo] of bos.entries()) await bo.write(0, pattern(i, bo.size));
  return bos;
}

/** One pool's lock. */
const lock = (owner: string, age: number) => JSON.stringify({ owner, beat: Date.now() - age });

async function codeOf(work: Promise<unknown>): Promise<string> {
  const error = await work.then(
    () => undefined,
    (each) => each,
  );
  if (!(error instanceof TtmError)) throw new Error(`failed with ${error}`);
  return error.code;
}

describe("options", () => {
  const storage = new MapStorage();

  test.each<[keyof StorageSwapOptions, unknown, RegExp]>([
    ["storage", {}, /storageSwap storage must be a storage of unstorage.*a driver alone is none/],
    ["storage", "redis://", /storageSwap storage must be a storage of unstorage/],
    ["size", 0, /storageSwap size/],
    ["prefix", "", /storageSwap prefix/],
    ["prefix", "../x", /storageSwap prefix/],
    ["prefix", "a::b", /storageSwap prefix/],
    ["prefix", "a?b", /storageSwap prefix/],
    ["pagesPerRecord", 257, /storageSwap pagesPerRecord/],
    ["parallel", 0, /storageSwap parallel/],
    ["queueDepth", 1025, /storageSwap queueDepth/],
    ["takeover", 2, /storageSwap takeover/],
    ["ttl", 59, /storageSwap ttl/],
    ["ttl", -1, /storageSwap ttl/],
  ])("%s: %j is refused by name", (name, value, text) => {
    expect(() => storageSwap({ storage, size: 1e6, [name]: value })).toThrow(text);
  });

  test("that there are none of are refused", () => {
    expect(() => storageSwap({ storage, size: 1e6, base: "x" } as never)).toThrow(/no option/);
    expect(() => storageSwap(undefined as never)).toThrow(/storageSwap needs a storage/);
  });
});

describe("records", () => {
  test("come back as they were, under the prefix, and nothing of them stays", async () => {
    const storage = new MapStorage();
    storage.values.set("ttm:mine", "1");
    storage.values.set("other", "2");
    const device = await open(storage);
    const bos = await filledBuffers(device, 8);
    const keys = storage.list.filter((key) => RECORD.test(key));
    expect(keys.length).toBeGreaterThan(8);
    expect(storage.list.filter((key) => !keys.includes(key))).toEqual(["other", LOCK, "ttm:mine"]);
    for (const [i, bo] of bos.entries()) {
      expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
    }
    await device.close({ force: true });
    expect(storage.list).toEqual(["other", "ttm:mine"]);
  });

  test("hold as many pages as they are told, in bytes of their own", async () => {
    const storage = new MapStorage();
    const device = await open(storage, { pagesPerRecord: 4, prefix: "a:b" });
    await filledBuffers(device, 4);
    const values = storage.list.filter((key) => key.startsWith("a:b:pages."));
    const sizes = values.map((key) => storage.values.get(key) as Uint8Array);
    expect(Math.max(...sizes.map(({ length }) => length))).toBe(4 * PAGE_SIZE);
    expect(sizes.every((bytes) => bytes.buffer.byteLength === bytes.length)).toBe(true);
    await device.close({ force: true });
  });

  test("that are gone are an EIO that names them; the others can be read", async () => {
    const storage = new MapStorage();
    const device = await open(storage);
    const bos = await filledBuffers(device, 8);
    await device.shrink();
    const key = storage.list.find((each) => RECORD.test(each)) as string;
    storage.values.delete(key);
    const got = await Promise.allSettled(bos.map((bo) => content(bo)));
    const failed = got.filter((each) => each.status === "rejected");
    expect(failed).toHaveLength(1);
    expect(failed[0]?.reason).toMatchObject({ code: "EIO" });
    expect(failed[0]?.reason.message).toContain(`${key} is gone from the store`);
    await device.close({ force: true });
  });

  test.each<[string, unknown]>([
    ["an error as a value", new Error("disk on fire")],
    ["a text", "base64:AAAA"],
    ["too few bytes", new Uint8Array(PAGE_SIZE)],
  ])("that come back as %s are an EIO, and can be read later", async (_, value) => {
    const storage = new MapStorage();
    const device = await open(storage, { pagesPerRecord: 30 });
    const bos = await filledBuffers(device, 4);
    await device.shrink();
    storage.before = (call) => (call === "getItemRaw" ? value : undefined);
    expect(await codeOf(content(bos[0]!))).toBe("EIO");
    storage.before = () => undefined;
    expectSame(await content(bos[0]!), pattern(0, bos[0]!.size), "buffer 0");
    await device.close({ force: true });
  });

  test("of a store that is full: what it took stays readable, and ENOSPC is told", async () => {
    const storage = new MapStorage();
    const device = await open(storage, { pagesPerRecord: 4 });
    let replaced = 0;
    storage.before = (call, key) => {
      if (call !== "setItemRaw" || storage.values.size < 60) return;
      const known = storage.values.has(key);
      if (known && ++replaced % 4 > 0) return;
      // A file is cut off before it is written anew, and then there may be no room for that.
      if (known) storage.values.set(key, new Uint8Array(7));
      throw new Error("OOM command not allowed when used memory > 'maxmemory'.");
    };
    const bos = Array.from({ length: 20 }, () => device.createBuffer(30 * PAGE_SIZE));
    let written = 0;
    let code: string | undefined;
    for (; code === undefined && written < bos.length; written++) {
      const bo = bos[written]!;
      await bo.write(0, pattern(written, bo.size)).catch((error) => {
        code = error.code;
      });
    }
    expect(code).toBe("ENOSPC");
    for (let i = 0; i < written - 1; i++) {
      let bytes: Uint8Array | undefined;
      // What makes room for it may meet the full store, too.
      for (let tries = 0; tries < 30 && !bytes; tries++) {
        bytes = await content(bos[i]!).catch((error) => {
          if (error.code !== "ENOSPC") throw error;
          return undefined;
        });
      }
      expectSame(bytes as Uint8Array, pattern(i, bos[i]!.size), `buffer ${i}`);
    }
    expect(replaced).toBeGreaterThan(4);
    device.check();
    await device.close({ force: true });
    expect(storage.list).toEqual([]);
  });
});

describe("a prefix", () => {
  test("belongs to one pool at a time", async () => {
    const storage = new MapStorage();
    const first = await open(storage);
    await expect(open(storage)).rejects.toThrow(
      /EBUSY: the prefix "ttm" .* in use .* wait [123] s/,
    );
    const beside = await open(storage, { prefix: "ttm2" });
    await beside.close();
    await first.close();
    await (await open(storage)).close();
    expect(storage.list).toEqual([]);
  });

  test("goes to one of two that open it at once", async () => {
    const storage = new MapStorage();
    storage.before = () => delay(Math.random() * 20);
    const both = await Promise.allSettled([open(storage), open(storage)]);
    const won = both.filter((each) => each.status === "fulfilled");
    const lost = both.filter((each) => each.status === "rejected");
    expect([won.length, lost.length]).toEqual([1, 1]);
    expect(lost[0]?.reason.code).toBe("EBUSY");
    await won[0]?.value.close();
    expect(storage.list).toEqual([]);
  });

  test("of an owner that is gone is taken over, and what was left removed", async () => {
    const storage = new MapStorage();
    storage.values.set(LOCK, lock("0123456789abcdef", 3100));
    storage.values.set("ttm:pages.0123456789abcdef.1z", new Uint8Array(PAGE_SIZE));
    storage.values.set("ttm:pages.of.mine", "1");
    const device = await open(storage);
    expect(storage.list).toEqual([LOCK, "ttm:pages.of.mine"]);
    await device.close();
  });

  test("is not taken from an owner that lives, whatever its clock says", async () => {
    const storage = new MapStorage();
    let age = 1e6;
    storage.values.set(LOCK, lock("0123456789abcdef", age));
    const beats = setInterval(() => {
      age -= 1000;
      storage.values.set(LOCK, lock("0123456789abcdef", age));
    }, 1000);
    try {
      expect(await codeOf(open(storage))).toBe("EBUSY");
    } finally {
      clearInterval(beats);
    }
  });

  test("that was lost is told to who had it, and the new owner's lock stays", async () => {
    const storage = new MapStorage();
    const device = await open(storage);
    const bos = await filledBuffers(device, 8);
    const taken = lock("0123456789abcdef", 0);
    storage.values.set(LOCK, taken);
    await delay(1100);
    await expect(content(bos[0]!)).rejects.toThrow(/ENODEV.*was taken over by another pool/);
    await device.close({ force: true });
    expect(storage.values.get(LOCK)).toBe(taken);
    expect(storage.list).toEqual([LOCK]);
  });

  test("of a store that is away for longer than a lock is good for is ENODEV, and ours when it is back", async () => {
    const storage = new MapStorage();
    const device = await open(storage);
    const bos = await filledBuffers(device, 8);
    storage.before = () => {
      throw Object.assign(new Error("connect"), { code: "ECONNREFUSED" });
    };
    expect(await codeOf(content(bos[0]!))).toBe("ENODEV");
    await delay(3500);
    expect(await codeOf(content(bos[0]!))).toBe("ENODEV");
    storage.before = () => undefined;
    for (const [i, bo] of bos.entries()) {
      expectSame(await content(bo), pattern(i, bo.size), `buffer ${i}`);
    }
    await device.close({ force: true });
    expect(storage.list).toEqual([]);
  });

  test("whose lock the store lost is claimed again", async () => {
    const storage = new MapStorage();
    const device = await open(storage);
    storage.values.delete(LOCK);
    await delay(1200);
    expect(storage.list).toEqual([LOCK]);
    await device.close();
  });

  test("is free again when it cannot be swept", async () => {
    const storage = new MapStorage();
    storage.before = (call) => {
      if (call === "getKeys") throw Object.assign(new Error("reset"), { code: "ECONNRESET" });
    };
    expect(await codeOf(open(storage))).toBe("ENODEV");
    expect(storage.list).toEqual([]);
  });

  test("is swept by lists that show some keys at a time, and some that are gone", async () => {
    const storage = new MapStorage();
    for (let i = 0; i < 50; i++) {
      storage.values.set(`ttm:pages.0123456789abcdef.${i.toString(36)}`, new Uint8Array(1));
    }
    const listed = storage.getKeys.bind(storage);
    storage.getKeys = async (base) => [
      ...(await listed(base)).slice(0, 7),
      "ttm:pages.0123456789abcdef.gone",
    ];
    const device = await open(storage);
    expect(storage.list).toEqual([LOCK]);
    await device.close();
  });
});

test.each<[string, unknown]>([
  ["ENOSPC", new Error("OOM command not allowed when used memory > 'maxmemory'.")],
  ["ENOSPC", { message: "[unstorage] [s3] [PUT] http://x/y: 507 Insufficient Storage " }],
  ["ENOSPC", { message: "too large", statusCode: 413 }],
  ["ENOSPC", Object.assign(new Error("no space"), { code: "ENOSPC" })],
  ["ENODEV", Object.assign(new Error("connect"), { code: "ECONNREFUSED" })],
  ["ENODEV", new Error("Connection is closed.")],
  ["ENODEV", new Error("LOADING Redis is loading the dataset in memory")],
  ["ENODEV", new TypeError("fetch failed", { cause: { code: "UND_ERR_SOCKET" } })],
  ["ENODEV", Object.assign(new Error("retries"), { name: "MaxRetriesPerRequestError" })],
  ["EACCES", new Error("NOAUTH Authentication required.")],
  ["EACCES", { message: "no", status: 403 }],
  ["EROFS", new Error("READONLY You can't write against a read only replica.")],
  ["EIO", new Error("ERR wrong number of arguments for 'set' command")],
  ["EIO", undefined],
])("is %s what a store says with %o", (code, error) => {
  expect(storeCode(error)).toBe(code);
});
