/* The engine's way into the package as text, and back. */
import { Buffer } from "node:buffer";
import { readFileSync } from "node:fs";
import { expect, test, vi } from "vitest";
import { ENGINE } from "../../build/engine.ts";
import { bytesOf } from "../../src/wasm/text.ts";

const { moduleText } = (await import(
  new URL("../../scripts/module_text.js", import.meta.url).href
)) as { moduleText(bytes: Uint8Array): string };

const wasm = readFileSync(new URL("../../build/engine.wasm", import.meta.url));

test("the text is the engine, a character or two for each byte, and ASCII", () => {
  expect(Buffer.from(bytesOf(ENGINE)).equals(wasm)).toBe(true);
  expect(ENGINE.length).toBeLessThan(1.2 * wasm.length);
  expect([...ENGINE].every((char) => char < "\x80")).toBe(true);
});

test.each([
  ["each byte once, so that none is left to be the mark", 1],
  ["each byte twice", 2],
])("%s", (_, times) => {
  const all = Array.from({ length: 256 * times }, (_, i) => i & 255);
  expect([...bytesOf(moduleText(Uint8Array.from(all)))]).toEqual(all);
});

test.each([0, 1, 88, 126, 127])("byte %i occurs with its highest bit only", (byte) => {
  const others = Array.from({ length: 127 }, (_, i) => i).filter((each) => each !== byte);
  const bytes = [...others, byte | 128, 7, byte | 128, byte | 128];
  expect([...bytesOf(moduleText(Uint8Array.from(bytes)))]).toEqual(bytes);
});

test("all bytes below 128 occur, so that one of them is the mark", () => {
  const low = Array.from({ length: 128 }, (_, i) => i);
  for (const rare of low) {
    const bytes = [
      ...low,
      ...low.filter((byte) => byte !== rare),
      200,
      201,
      rare ? 128 : 129,
      rare,
    ];
    const text = moduleText(Uint8Array.from(bytes));
    expect([...bytesOf(text)]).toEqual(bytes);
    expect([...text].every((char) => char < "\x80")).toBe(true);
  }
});

test("the text is read where the host does not encode, too", () => {
  vi.stubGlobal("TextEncoder", undefined);
  try {
    expect(Buffer.from(bytesOf(ENGINE)).equals(wasm)).toBe(true);
  } finally {
    vi.unstubAllGlobals();
  }
});

test("any pair of bytes", () => {
  const pairs = new Uint8Array(2 ** 17).map((_, i) => (i & 1 ? i >> 9 : i >> 1));
  // In pieces: what does not occur differs.
  for (let at = 0; at < pairs.length; at += 1000) {
    const piece = pairs.subarray(at, at + 1000);
    expect(Buffer.from(bytesOf(moduleText(piece))).equals(piece), `from ${at} on`).toBe(true);
  }
});
