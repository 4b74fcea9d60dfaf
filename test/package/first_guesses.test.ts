/* What somebody tries first who has not read the documentation: each guess fails in a way that teaches. */
import { describe, expect, test } from "vitest";
import { createDeviceSync } from "../../src/index.ts";

function someBuffer() {
  const device = createDeviceSync({ memory: "64 KiB" });
  const buffer = device.createBuffer(100, { priority: 1 });
  buffer.writeSync(0, new Uint8Array(100).fill(7));
  return { device, buffer };
}

/** Any arguments, as JavaScript passes them. */
type Loose = (...args: unknown[]) => unknown;

describe("arguments", () => {
  const bytes = new Uint8Array(3);
  test.each<[string, "write" | "read", unknown[], RegExp]>([
    ["write(bytes)", "write", [bytes], /write\(offset, source\)/],
    ["write(buffer)", "write", [bytes.buffer], /write\(offset, source\)/],
    ["write(bytes, offset)", "write", [bytes, 0], /write\(offset, source\)/],
    ["write(text)", "write", ["text"], /write\(offset, source\)/],
    ["write(0, text)", "write", [0, "text"], /new TextEncoder\(\)\.encode/],
    ["read(bytes)", "read", [bytes], /read\(offset, target\)/],
    ["read()", "read", [], /read\(offset, target\)/],
    ["read(0)", "read", [0], /target must be .* read\(0, new Uint8Array\(length\)\)/],
    ["read(0, 16)", "read", [0, 16], /target must be .* read\(0, new Uint8Array\(16\)\)/],
  ])("%s is a TypeError", async (_, method, args, text) => {
    const { buffer } = someBuffer();
    for (const form of [method, `${method}Sync`] as const) {
      const call = async () => (buffer[form as "write"] as Loose).apply(buffer, args);
      const error = await call().catch((thrown: unknown) => thrown as Error);
      expect(error).toBeInstanceOf(TypeError);
      expect((error as Error).message).toMatch(text);
    }
  });
});

describe("as a value", () => {
  test("a buffer, a mapping and a device are no bytes and no text", async () => {
    const { buffer } = someBuffer();
    const mapping = buffer.mapSync();
    expect(() => new Blob([buffer as never])).toThrow(/read\(\)/);
    expect(() => new Blob([mapping as never])).toThrow(/segments/);
    expect(() => `${buffer}`).toThrow(TypeError);
    expect(await new Blob([...mapping.segments]).text()).toBe("\x07".repeat(100));
  });

  test("none of them is cloned in silence", () => {
    const { device, buffer } = someBuffer();
    const mapping = buffer.mapSync();
    for (const value of [device, buffer, mapping, { nested: [buffer] }]) {
      expect(() => structuredClone(value)).toThrow(/clone/);
      const { port1, port2 } = new MessageChannel();
      expect(() => port1.postMessage(value)).toThrow(/clone/);
      port1.close();
      port2.close();
    }
  });

  test("as JSON they are short descriptions", () => {
    const { device, buffer } = someBuffer();
    const mapping = buffer.mapSync();
    expect(JSON.parse(JSON.stringify(buffer))).toEqual({
      id: buffer.id,
      size: 100,
      priority: 1,
      residentPages: 1,
      pinned: true,
      destroyed: false,
    });
    expect(JSON.parse(JSON.stringify(mapping))).toEqual({ segments: [100] });
    expect(JSON.parse(JSON.stringify({ device })).device).toEqual({
      closed: false,
      ...device.stats(),
    });
    mapping.unmap();
    buffer.destroy();
    expect(JSON.parse(JSON.stringify(buffer))).toMatchObject({ destroyed: true });
    device.closeSync();
    expect(JSON.stringify(device)).toContain('"closed":true');
  });
});
