/*
 * The codec as the store of compressed swap uses it. One instance for each module, so mostly one, serves all devices: its
 * calls are done when they return.
 */
import { CODEC_BYTES } from "../../assembly/abi.ts";
import { show } from "../errors.ts";
import { noMemory } from "../wasm/memory.ts";

/** Compresses and decompresses what lies in its own memory. */
export interface Codec {
  /** Its memory: CODEC_RAW and CODEC_PACKED of assembly/abi.ts lie in it. */
  readonly bytes: Uint8Array<ArrayBuffer>;
  readonly words: Uint32Array<ArrayBuffer>;
  /** How many bytes, from byte `from` of a block on, are compressed; 0 when that would be more than `room`. */
  compress(from: number, bytes: number, room: number): number;
  /** 0 when so many bytes are a block that begins with `wanted` bytes; with `whole`, a block of just these. */
  decompress(bytes: number, wanted: number, whole: boolean): number;
  /** How many pages of the block, from the first on, repeat four bytes; with `not`, how many do not. */
  repeated(from: number, to: number, not: boolean): number;
}

const codecs = new WeakMap<object, Codec>();

/**
 * The instance of a module.
 *
 * @param name what the caller calls it
 * @throws TypeError when it is no module, or not the codec
 */
export function codecOf(module: unknown, name: string): Codec {
  const known = codecs.get(Object(module));
  if (known) return known;
  const wasm = instantiate(module);
  if (typeof wasm?.decompress !== "function") {
    const text = `${name} must be ttm-wasm/codec.wasm as a WebAssembly.Module`;
    throw new TypeError(`${text}, not ${wasm ? "another one" : show(module)}`);
  }
  const codec: Codec = {
    bytes: new Uint8Array(wasm.memory.buffer),
    words: new Uint32Array(wasm.memory.buffer),
    compress: (from, bytes, room) => wasm.compress(from, bytes, room),
    decompress: (bytes, wanted, whole) => wasm.decompress(bytes, wanted, Number(whole)),
    repeated: (from, to, not) => wasm.repeated(from, to, Number(not)),
  };
  codecs.set(module as object, codec);
  return codec;
}

interface CodecExports {
  readonly memory: WebAssembly.Memory;
  compress(from: number, bytes: number, room: number): number;
  decompress(bytes: number, wanted: number, whole: number): number;
  repeated(from: number, to: number, not: number): number;
}

/** Looks at what comes of it, not at its class: a module may be of another realm. */
function instantiate(module: unknown): CodecExports | undefined {
  try {
    const { exports } = new WebAssembly.Instance(module as WebAssembly.Module, {});
    return exports as unknown as CodecExports;
  } catch (error) {
    if (error instanceof TypeError || error instanceof WebAssembly.LinkError) return undefined;
    throw noMemory("open", CODEC_BYTES, error);
  }
}
