/*
 * Options are read by getters, which may resize the buffer whose operation reads them. What is meant is then looked at
 * by the size that it has by now; nothing of another buffer is read or written.
 */
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, PAGE_SIZE } from "../src/index.ts";
import { content, contentSync, expectSame, pattern } from "./support/bytes.ts";
import { filled } from "./support/devices.ts";

type Options = { readonly signal: undefined };

/** Operations on the pages from the second on, that read such options. */
const CALLS: Record<string, (bo: BufferObject, options: Options) => unknown> = {
  writeSync: (bo, options) => bo.writeSync(PAGE_SIZE + 5, new Uint8Array(4 * PAGE_SIZE), options),
  write: (bo, options) => bo.write(PAGE_SIZE + 5, new Uint8Array(4 * PAGE_SIZE), options),
  readSync: (bo, options) => bo.readSync(PAGE_SIZE + 5, new Uint8Array(4 * PAGE_SIZE), options),
  read: (bo, options) => bo.read(PAGE_SIZE + 5, new Uint8Array(4 * PAGE_SIZE), options),
  mapSync: (bo, options) => bo.mapSync(ranged(options)),
  map: (bo, options) => bo.map(ranged(options)),
  populateSync: (bo, options) => bo.populateSync(ranged(options)),
  populate: (bo, options) => bo.populate(ranged(options)),
  discardSync: (bo, options) => bo.discardSync(ranged(options)),
  discard: (bo, options) => bo.discard(ranged(options)),
  advise: (bo, options) =>
    bo.advise("willneed", {
      offset: PAGE_SIZE,
      get length() {
        void options.signal;
        return 4 * PAGE_SIZE;
      },
    }),
};

function ranged(options: Options) {
  const range = { offset: PAGE_SIZE, length: 4 * PAGE_SIZE };
  return Object.defineProperty(range, "signal", { enumerable: true, get: () => options.signal });
}

/** A buffer between two others, and options at whose reading it gets another size. */
function scene(pages: number, size: number) {
  const device = createDeviceSync({ memory: 32 * PAGE_SIZE, keepClean: false });
  const [before, bo, after] = [
    filled(device, 4, 1),
    filled(device, pages, 2),
    filled(device, 4, 3),
  ];
  const options = {
    get signal() {
      if (bo.size !== size) bo.resizeSync(size);
      return undefined;
    },
  };
  const intact = () => {
    device.check();
    expectSame(contentSync(before), pattern(1, before.size), "the one before");
    expectSame(contentSync(after), pattern(3, after.size), "the one behind");
  };
  return { device, bo, options, intact };
}

describe.each(Object.entries(CALLS))("%s whose options make its buffer", (_, call) => {
  test.each([PAGE_SIZE, 2 * PAGE_SIZE, 2 * PAGE_SIZE + 100])(
    "%d bytes is refused, as these do not lie within it",
    async (size) => {
      const { bo, options, intact } = scene(6, size);
      await expect((async () => call(bo, options))()).rejects.toThrow(/offset|length/);
      intact();
      expect(bo.size).toBe(size);
      expectSame(contentSync(bo), pattern(2, size), "itself");
    },
  );

  test("larger does as it was told", async () => {
    const { bo, options, intact } = scene(6, 12 * PAGE_SIZE);
    const value = (await call(bo, options)) as { unmap?(): void } | undefined;
    value?.unmap?.();
    intact();
    expect(bo.size).toBe(12 * PAGE_SIZE);
    const bytes = await content(bo);
    expect(bytes.subarray(6 * PAGE_SIZE)).toEqual(new Uint8Array(6 * PAGE_SIZE));
    expectSame(bytes.subarray(0, PAGE_SIZE), pattern(2, PAGE_SIZE), "its first page");
  });
});

/** A signal whose getter resizes a buffer, and what came of that. */
function resizing(bo: BufferObject, size: number) {
  const said: unknown[] = [];
  const signal = {
    get aborted() {
      if (said.length > 0) return false;
      try {
        said.push("resized");
        bo.resizeSync(size);
      } catch (error) {
        said[0] = error;
      }
      return false;
    },
  };
  return { signal, said };
}

test("a buffer cannot be resized in the middle of its pinSync", () => {
  const device = createDeviceSync({ memory: 32 * PAGE_SIZE });
  const bo = filled(device, 16, 1);
  const { signal, said } = resizing(bo, 24 * PAGE_SIZE);
  bo.pinSync({ signal });
  expect(said).toMatchObject([{ code: "EBUSY", op: "resize" }]);
  expect(bo.size).toBe(16 * PAGE_SIZE);
  bo.unpin();
  expect(bo.pinned).toBe(false);
  bo.resizeSync(24 * PAGE_SIZE);
  device.check();
});

test.each(["mapSync", "populateSync"] as const)(
  "a buffer that is resized when its %s begins is not what was asked for any more",
  (name) => {
    const device = createDeviceSync({ memory: 32 * PAGE_SIZE });
    const bo = filled(device, 16, 1);
    const { signal, said } = resizing(bo, 24 * PAGE_SIZE);
    expect(() => bo[name]({ signal })).toThrow(/resized meanwhile/);
    expect(said).toEqual(["resized"]);
    expect(bo.pinned).toBe(false);
    expectSame(contentSync(bo).subarray(0, 16 * PAGE_SIZE), pattern(1, 16 * PAGE_SIZE), "content");
    device.check();
  },
);
