/*
 * Of its host the library takes what it needs when it is imported: fake timers that come later change
 * nothing, and a host that has no clock, no timers and no channels can import it.
 */
import { readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import { afterEach, describe, expect, test, vi } from "vitest";
import { createDeviceSync, PAGE_SIZE } from "../src/index.ts";
import { MapSwap } from "./support/map_swap.ts";

const root = fileURLToPath(new URL("..", import.meta.url));

/** `source`, bundled with what it imports of the library, as one script. */
async function bundle(source: string): Promise<string> {
  const { outputFiles } = await build({
    stdin: { contents: source, resolveDir: root, loader: "ts" },
    bundle: true,
    format: "iife",
    platform: "browser",
    target: "es2022",
    write: false,
    loader: { ".wasm": "base64" },
  });
  return (outputFiles[0] as { text: string }).text;
}

/** The public entry, bundled for a browser and run in a scope that has only `globals`. */
async function importedWith(globals: object, source: string): Promise<unknown> {
  const bytes = readFileSync(`${root}build/engine.wasm`);
  const scope = vm.createContext({ bytes, ...globals });
  vm.runInContext("globalThis.engine = new WebAssembly.Module(bytes)", scope);
  vm.runInContext(await bundle(source), scope);
  return vm.runInContext("globalThis.done", scope);
}

const USE = `
  import { createDeviceSync, ramSwap } from "./src/index.ts";
  const swap = ramSwap({ size: "1 MiB" });
  const watermarks = { min: 0, low: 4, high: 8 };
  const { engine: module } = globalThis;
  const device = createDeviceSync({ memory: "64 KiB", swap, watermarks, transferPages: 1, module });
  const first = device.createBuffer("48 KiB");
  first.writeSync(0, new Uint8Array(49152).fill(7));
  device.createBuffer("48 KiB").writeSync(0, new Uint8Array(49152).fill(8));
`;

test("a host without clock, timers and channels can import it and use the Sync forms", async () => {
  const done = await importedWith(
    { TextDecoder },
    `${USE} globalThis.done = [first.residentPages, first.readSync(49151, new Uint8Array(1))[0]].join();`,
  );
  expect(done).toBe("0,7");
});

/** As edge runtimes have what they do not support. */
function refuse(): never {
  throw new Error("not supported here");
}

test.each([
  ["nothing at all", {}],
  ["timers", { setTimeout, performance }],
  ["channels", { MessageChannel, performance }],
  ["immediates, but no microtasks of its own", { setImmediate, performance }],
  ["immediates and channels that only throw", { setImmediate: refuse, MessageChannel: refuse }],
])("the async forms end where there are %s", async (_, globals) => {
  const done = await importedWith(
    { TextDecoder, ...globals },
    `${USE} globalThis.done = (async () => {
      for (let i = 0; i < 300; i++) {
        await first.shrink();
        await first.read(0, new Uint8Array(49152));
      }
      await device.close({ force: true });
      return device.closed;
    })();`,
  );
  expect(await done).toBe(true);
});

test("the end of the stack does not keep the event loop from turning later", async () => {
  const done = await importedWith(
    { TextDecoder, setImmediate, setTimeout, MessageChannel },
    `import { afterTurn } from "./src/host.ts";
    function dive() {
      try {
        dive();
      } catch {
        // the end of the stack: from here up, each level has a little more room
      }
      try {
        afterTurn(() => {});
      } catch {
        // no room for any of them
      }
    }
    dive();
    globalThis.done = (async () => {
      let turned = false;
      const turn = new Promise((resolve) => afterTurn(() => resolve((turned = true))));
      for (let i = 0; i < 100; i++) await undefined;
      return !turned && (await turn);
    })();`,
  );
  expect(await done).toBe(true);
}, 10_000);

describe("fake timers that come later", () => {
  afterEach(() => {
    vi.useRealTimers();
  });

  test("stop neither long async operations nor the background loop", async () => {
    const swap = new MapSwap({ slots: 4096, delay: () => Promise.resolve() });
    const memory = 1024 * PAGE_SIZE;
    const watermarks = { min: 0, low: 64, high: 128 };
    const device = createDeviceSync({ memory, swap, watermarks, transferPages: 1 });
    const buffers = Array.from({ length: 8 }, () => device.createBuffer(512 * PAGE_SIZE));
    vi.useFakeTimers({ toFake: ["setTimeout", "setImmediate", "performance", "queueMicrotask"] });
    for (const buffer of buffers) await buffer.write(0, new Uint8Array(buffer.size).fill(1));
    for (const buffer of buffers) await buffer.populate();
    // Waits for the loop, which was woken by now.
    await device.close({ force: true });
    expect(device.closed).toBe(true);
  });
});
