/*
 * The engine without the host around it, for questions about its parts, and the linear memory of a
 * device, for a bare copy of the very pages it moves. Nobody outside src/engine sees either, so a
 * benchmark gets hold of them here, where the module is instantiated.
 */
import * as abi from "../assembly/abi.ts";
import type { Exports } from "../src/engine/exports.ts";
import { engineModule } from "../src/engine/module.ts";
import type { Device } from "../src/index.ts";

/** An engine of its own, laid out; and its header words, which hold counters and addresses. */
export interface RawEngine {
  readonly wasm: Exports;
  readonly buffer: ArrayBuffer;
  readonly header: Uint32Array;
}

export function rawEngine(frames: number, slots: number, entries: number, ram: boolean): RawEngine {
  const { exports } = new WebAssembly.Instance(engineModule(), {
    env: {
      abort() {
        throw new Error("the engine aborted");
      },
    },
  });
  const wasm = exports as unknown as Exports;
  const pages = wasm.memoryPages(frames, slots, entries, Number(ram));
  wasm.memory.grow(pages - wasm.memory.buffer.byteLength / 65536);
  const rc = wasm.init(frames, slots, entries, Number(ram), frames);
  if (rc < 0) throw new Error(`init of ${frames} frames and ${slots} slots returned ${rc}`);
  const { buffer } = wasm.memory;
  return { wasm, buffer, header: new Uint32Array(buffer, abi.HEADER, abi.HEADER_WORDS) };
}

/** A device, and the linear memory it was given. */
export function withMemory(create: () => Device): { device: Device; memory: WebAssembly.Memory } {
  const { Instance } = WebAssembly;
  let memory: WebAssembly.Memory | undefined;
  class Spy extends Instance {
    constructor(module: WebAssembly.Module, imports?: WebAssembly.Imports) {
      super(module, imports);
      memory = (this.exports as { memory?: WebAssembly.Memory }).memory;
    }
  }
  Object.assign(WebAssembly, { Instance: Spy });
  try {
    const device = create();
    if (!memory) throw new Error("the device made no engine");
    return { device, memory };
  } finally {
    Object.assign(WebAssembly, { Instance });
  }
}
