/* Hosts that have less than Node has by default: the built package, in a bare scope and in processes of its own. */
import { spawnSync } from "node:child_process";
import { readFileSync } from "node:fs";
import process from "node:process";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { engineModule } from "../../src/engine/module.ts";
import { createDeviceSync } from "../../src/index.ts";

const dist = new URL("../../dist/", import.meta.url);
const wasm = readFileSync(new URL("engine.wasm", dist));

const USER = `
import { createDeviceSync, ramSwap } from "./index.js";
import * as ttm from "./ttm.js";
try {
  const device = createDeviceSync({
    memory: 1 << 20,
    swap: ramSwap({ size: "4 MiB" }),
    module: globalThis.engine,
  });
  const buffers = Array.from({ length: 4 }, () => device.createBuffer(1 << 19));
  buffers.forEach((buffer, i) => buffer.writeSync(0, new Float32Array(1 << 17).fill(i)));
  const read = buffers.map((buffer) => buffer.readSync(4096, new Float32Array(1))[0]);
  device.closeSync({ force: true });
  globalThis.result = read.join() + " " + (typeof ttm.Pool);
} catch (error) {
  globalThis.result = error.name + ": " + error.message;
}
`;

/** Freezes what JavaScript itself has, as hardened hosts do. */
const FREEZE = `
for (const name of Reflect.ownKeys(globalThis)) {
  const value = globalThis[name];
  if (typeof value !== "function") continue;
  Object.freeze(value);
  if (value.prototype) Object.freeze(value.prototype);
}`;

/** What the program says, as a classic script in a global scope that holds what JavaScript itself has, and `extra`. */
async function inScope(
  extra: object,
  codeGeneration = { wasm: true },
  before = "",
): Promise<unknown> {
  const { outputFiles } = await build({
    stdin: { contents: USER, resolveDir: fileURLToPath(dist) },
    bundle: true,
    format: "iife",
    target: "es2022",
    write: false,
    tsconfigRaw: {},
    logLevel: "silent",
  });
  const context = vm.createContext({ ...extra }, { codeGeneration });
  const names = () => vm.runInContext("Reflect.ownKeys(globalThis)", context) as string[];
  vm.runInContext(before, context);
  const known = names();
  vm.runInContext(outputFiles[0]?.text ?? "", context);
  const added = names().filter((name) => !known.includes(name));
  expect(added).toEqual(["result"]);
  return context.result;
}

/** A script in a process of its own: what it printed. */
function inProcess(command: string[], script: string): string {
  const url = JSON.stringify(new URL("index.js", dist).href);
  const program = `import * as ttm from ${url};\n${script}`;
  const args = [...command.slice(1), "--input-type=module", "-e", program];
  const { stdout, stderr, status } = spawnSync(command[0] as string, args, { encoding: "utf8" });
  return status === 0 ? stdout : `${stdout}${stderr}`;
}

const MAKE = `
const devices = [];
try {
  for (let i = 0; i < 3; i++) devices.push(await ttm.createDevice({ memory: "8 MiB" }));
  console.log("made", devices.length);
} catch (error) {
  console.log(error instanceof ttm.TtmError, error.code, error.message);
}`;

// Deno and Bun have neither these flags nor these scopes.
describe.skipIf((process.env.TTM_TEST_RUNTIME ?? "node") !== "node")("on Node", () => {
  test("a scope with nothing but JavaScript, as of a worklet, needs nothing more", async () => {
    expect(await inScope({})).toBe("0,1,2,3 function");
  });

  test("importing it changes nothing, so that it may be left out, and intrinsics may be frozen", async () => {
    expect(await inScope({}, { wasm: true }, FREEZE)).toBe("0,1,2,3 function");
  });

  test("a module of another realm is a module", async () => {
    expect(await inScope({ engine: engineModule() })).toBe("0,1,2,3 function");
  });

  test("where compiling is forbidden, the error says what to do; a compiled engine works", async () => {
    const forbidden = { wasm: false };
    expect(await inScope({}, forbidden)).toMatch(/^TtmError: ENOSYS: .*wasm-unsafe-eval.*`module`/);
    expect(await inScope({ engine: engineModule() }, forbidden)).toBe("0,1,2,3 function");
  });

  test("without WebAssembly, the error says so", () => {
    expect(inProcess([process.execPath, "--jitless"], MAKE)).toMatch(/^true ENOSYS .*--jitless/);
  });

  test.skipIf(process.platform !== "linux")("with few addresses, the error says what to do", () => {
    const node = JSON.stringify(process.execPath);
    const limited = (flag: string) => [
      "bash",
      "-c",
      `ulimit -v 12000000; ${node} ${flag} "$@"`,
      "-",
    ];
    expect(inProcess(limited(""), MAKE)).toMatch(
      /^true ENOMEM .*smaller memory.*--disable-wasm-trap-handler/,
    );
    expect(inProcess(limited("--disable-wasm-trap-handler"), MAKE)).toBe("made 3\n");
  });
});

describe("the option `module`", () => {
  const other = new WebAssembly.Module(new Uint8Array([0, 97, 115, 109, 1, 0, 0, 0]));

  test.each<[string, unknown, RegExp]>([
    ["bytes", wasm, /bytes: pass new WebAssembly\.Module\(bytes\)/],
    ["an ArrayBuffer", wasm.buffer, /bytes: pass new WebAssembly\.Module\(bytes\)/],
    ["another module", other, /another WebAssembly\.Module/],
    [
      "an instance",
      new WebAssembly.Instance(engineModule(), {}),
      /\[object WebAssembly\.Instance\]/,
    ],
    ["a promise", Promise.resolve(engineModule()), /\[object Promise\]/],
    ["a path", "engine.wasm", /is string/],
  ])("that is %s is a TypeError that says what it is", (_, module, text) => {
    const create = () => createDeviceSync({ memory: "64 KiB", module: module as never });
    expect(create).toThrow(TypeError);
    expect(create).toThrow(/^module must be ttm-wasm\/engine\.wasm as a WebAssembly\.Module, but /);
    expect(create).toThrow(text);
  });
});
