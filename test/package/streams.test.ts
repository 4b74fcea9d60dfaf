/* The built streams and blobs on hosts that have less than Node, or another realm's: in a bare scope. */
import process from "node:process";
import { fileURLToPath } from "node:url";
import vm from "node:vm";
import { build } from "esbuild";
import { describe, expect, test } from "vitest";
import { createDeviceSync } from "../../src/index.ts";
import { contentSync, expectSame, pattern } from "../support/bytes.ts";

const dist = new URL("../../dist/", import.meta.url);

/** What `program` makes of the package, in a global scope that holds what JavaScript itself has, and `extra`. */
async function inScope(program: string, extra: object = {}): Promise<unknown> {
  const { outputFiles } = await build({
    stdin: {
      contents: `
        import { createDeviceSync } from "./index.js";
        globalThis.run = async () => {
          const device = createDeviceSync({ memory: "2 MiB" });
          const fails = async (run) => {
            try { await run(); } catch (error) { return error.name + ": " + error.message; }
          };
          ${program}
        };`,
      resolveDir: fileURLToPath(dist),
    },
    bundle: true,
    format: "iife",
    target: "es2022",
    write: false,
    tsconfigRaw: {},
    logLevel: "silent",
  });
  const context = vm.createContext({ ...extra }, { codeGeneration: { wasm: true } });
  vm.runInContext(outputFiles[0]?.text ?? "", context);
  return context.run();
}

/** A host's streams, as some were before they knew streams of bytes: to be called with `new`. */
function ChunksOnly(source: { type?: string }, strategy: object): ReadableStream {
  if (source.type === "bytes") throw new TypeError("not implemented");
  return new ReadableStream(source as object, strategy);
}

// Deno and Bun have no such scopes.
describe.skipIf((process.env.TTM_TEST_RUNTIME ?? "node") !== "node")("on Node", () => {
  test("a scope without streams and blobs has errors that say so, and buffers of bytes and iterables", async () => {
    const program = `
      const buffer = await device.bufferFrom([new Uint8Array([1, 2]), new Uint16Array([3])]);
      return [
        buffer.readSync(0, new Uint8Array(4)).join(),
        await fails(() => buffer.readable()),
        await fails(() => buffer.writable()),
        await fails(() => buffer.blob()),
      ].join("; ");`;
    expect(await inScope(program)).toBe(
      "1,2,3,0; TtmError: ENOSYS: this host has no ReadableStream; " +
        "TtmError: ENOSYS: this host has no WritableStream; TtmError: ENOSYS: this host has no Blob",
    );
  });

  test("where there are no streams of bytes, it is one of chunks", async () => {
    const program = `
      const buffer = await device.bufferFrom(bytes);
      const lengths = [];
      let sum = 0;
      for await (const chunk of buffer.readable()) {
        lengths.push(chunk.length);
        for (const byte of chunk) sum += byte;
      }
      return [lengths.join(), sum].join(" ");`;
    const bytes = pattern(1, 600_000);
    const sum = bytes.reduce((all, byte) => all + byte, 0);
    const extra = { ReadableStream: ChunksOnly, bytes };
    expect(await inScope(program, extra)).toBe(`262144,262144,75712 ${sum}`);
  });

  test("streams, blobs and bytes of another realm are as good as one's own", async () => {
    const device = createDeviceSync({ memory: "2 MiB" });
    const bytes = pattern(2, 600_000);
    const extra = { bytes, ReadableStream, WritableStream, Blob };
    const stream = await inScope(`return (await device.bufferFrom(bytes)).readable();`, extra);
    expectSame(contentSync(await device.bufferFrom(stream as never)), bytes, "of a stream");
    const blob = await inScope(`return (await device.bufferFrom(bytes)).blob();`, extra);
    expectSame(contentSync(await device.bufferFrom(blob as never)), bytes, "of a blob");
    const own = await inScope("return [Uint8Array.of(1, 2), Uint8Array.of(3).buffer];");
    const buffer = await device.bufferFrom(own as never);
    expect(contentSync(buffer)).toEqual(new Uint8Array([1, 2, 3]));
    const writer = buffer.writable().getWriter();
    await writer.write((await inScope("return new Uint8Array([7, 8]);")) as never);
    expect(contentSync(buffer)).toEqual(new Uint8Array([7, 8, 3]));
    device.closeSync({ force: true });
  });
});
