/*
 * Encryption: what does it cost a file swap device, beside the bare device, and beside what any encryption of the same
 * pages costs? The same 64 MiB in calls of 1 MiB, in turns: the bare device; AES-256-GCM of the pages and nothing else,
 * each by itself, with a nonce and the slot authenticated; both of these one after the other; and `encryptedSwap`.
 */
import { type Ciphers, hostCiphers } from "../src/swap/aes.ts";
import { fileSwap } from "../src/swap/file.ts";
import { sealedDevice } from "../src/swap/sealed_device.ts";
import type { AsyncSwapDevice, SwapRun, SyncSwapDevice } from "../src/swap/types.ts";
import { type Bench, MIB, main, PAGE, QUICK, rounds, Samples } from "./harness.ts";

const TOTAL = (QUICK ? 8 : 64) * MIB;
const PAGES = TOTAL / PAGE;
const { now, later } = hostCiphers();
const size = TOTAL;

/** The calls that move all of the memory. */
function callsOf(bytes: Uint8Array<ArrayBuffer>): SwapRun[][] {
  return Array.from({ length: TOTAL / MIB }, (_, i) => [
    { slot: 1 + (i * MIB) / PAGE, views: [bytes.subarray(i * MIB, (i + 1) * MIB)] },
  ]);
}

/** Bare AES-GCM of each page, as any encryption of pages by slot has to do it. */
function bareAes(bytes: Uint8Array<ArrayBuffer>) {
  const aes = now?.(new Uint8Array(32).fill(1));
  if (!aes) throw new Error("this host has no node:crypto");
  const pages = Array.from({ length: PAGES }, (_, i) => bytes.subarray(i * PAGE, (i + 1) * PAGE));
  const [nonce, beside] = [new Uint8Array(12), new Uint8Array(4)];
  const context = (page: number) => {
    new Uint32Array(nonce.buffer, 0, 1)[0] = page;
    new Uint32Array(beside.buffer)[0] = page;
    return { nonce, beside };
  };
  const sealed = pages.map((page, i) => {
    const { bytes, tag } = aes.seal(page, context(i));
    return { bytes: bytes.slice(), tag: tag.slice() };
  });
  return {
    seal: () => {
      for (const [i, page] of pages.entries()) aes.seal(page, context(i));
    },
    open: () => {
      for (const [i, each] of sealed.entries()) {
        if (!aes.open(each, context(i))) throw new Error("it did not open");
      }
    },
  };
}

async function onTheSpot(bench: Bench): Promise<void> {
  const { buffer } = new WebAssembly.Memory({ initial: TOTAL / 65536 });
  const bytes = new Uint8Array(buffer).fill(0x5a);
  const calls = callsOf(bytes);
  const bare = fileSwap({ size });
  const encrypted = sealedDevice(fileSwap({ size }), { now, later }) as SyncSwapDevice;
  const aes = bareAes(bytes);
  for (const each of [bare, encrypted]) await each.open?.();
  for (const [side, method, crypt] of [
    ["write", "writeSync", aes.seal],
    ["read", "readSync", aes.open],
  ] as const) {
    const move = (device: SyncSwapDevice) => {
      for (const call of calls) device[method](call);
    };
    const samples = new Samples();
    await samples.interleave(rounds(15), [
      [{ name: "bare", run: () => move(bare) }],
      [{ name: "aes", run: crypt }],
      [
        {
          name: "both",
          run: () => {
            crypt();
            move(bare);
          },
        },
      ],
      [{ name: "encrypted", run: () => move(encrypted) }],
    ]);
    const options = { unit: "ns/page", per: PAGES };
    bench.row(`${side}, bare device`, samples, "bare", options);
    bench.row(`${side}, bare AES-256-GCM`, samples, "aes", options);
    for (const [against, label] of [
      ["bare", "bare device"],
      ["aes", "bare AES-256-GCM"],
      ["both", "one after the other"],
    ] as const) {
      const text = `${side}, encrypted, beside ${label}`;
      bench.row(text, samples, "encrypted", { ...options, against, label });
    }
  }
  for (const each of [bare, encrypted]) await each.close?.();
}

/** The same by `crypto.subtle`, as browsers and workerd have it. */
async function waited(bench: Bench): Promise<void> {
  const bytes = new Uint8Array(TOTAL).fill(0x5a);
  const calls = callsOf(bytes);
  const subtle: Ciphers = { now: undefined, later };
  const device = sealedDevice(fileSwap({ size }), subtle) as AsyncSwapDevice;
  await device.open?.();
  const samples = new Samples();
  const all = (method: "write" | "read") => async () => {
    for (const call of calls) await device[method](call);
  };
  await samples.interleave(
    rounds(5),
    [
      [
        { name: "write", run: all("write") },
        { name: "read", run: all("read") },
      ],
    ],
    1,
  );
  for (const side of ["write", "read"]) {
    bench.row(`${side}, by crypto.subtle`, samples, side, { unit: "ns/page", per: PAGES });
  }
  await device.close?.();
}

await main("encrypted", async (bench) => {
  await onTheSpot(bench);
  await waited(bench);
  bench.promise("encrypted, of both one after the other", "ratio", /beside one after the other$/, {
    atLeast: 0.85,
  });
});
