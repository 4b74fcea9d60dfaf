/*
 * A page that comes back from swap with other content is an error that names it; nothing else is touched
 * by that.
 */

import { closeSync, openSync, readSync, writeSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { type BufferObject, createDeviceSync, PAGE_SIZE, ramSwap } from "../../src/index.ts";
import { fileSwap } from "../../src/swap/file.ts";
import { content, contentSync, expectSame, pattern } from "../support/bytes.ts";
import { filled } from "../support/devices.ts";
import { fails, failsSync } from "../support/errors.ts";
import { TempFolder } from "../support/files.ts";
import { type Kit, kit, slotOf } from "./support/kit.ts";

/** Changes one bit of a page in swap; a second time, it is as it was. */
function flip({ swap, global }: Kit, bo: BufferObject, page: number, at: number): number {
  const slot = slotOf(global, bo.tt, page);
  const index = (slot - 1) * PAGE_SIZE + at;
  swap.bytes[index] = (swap.bytes[index] as number) ^ 0x10;
  return slot;
}

function message(bo: BufferObject, page: number, slot: number): string {
  return (
    `EIO: checksum mismatch: page ${page} of buffer ${bo.id} came back from slot ${slot} of ` +
    "swap device array with other content"
  );
}

describe("one bit of a page in swap is changed", () => {
  const places = [
    [0, 0],
    [0, 4095],
    [1, 64],
    [7, 2048],
    [18, 1],
    [18, 4095],
  ] as const;

  test.each(places)("page %i, byte %i: EIO that names buffer, page and slot", (page, at) => {
    const made = kit({ memory: 64, swap: 256 });
    const { device } = made;
    const before = filled(device, 5, 2);
    const bo = filled(device, 19, 1);
    device.shrinkSync();
    const slot = flip(made, bo, page, at);
    for (let attempt = 0; attempt < 3; attempt++) {
      const error = failsSync("EIO", () => contentSync(bo));
      expect(error.message).toBe(message(bo, page, slot));
      expect(error).toMatchObject({ op: "restore", errno: -5 });
      device.check();
      expectSame(contentSync(before), pattern(2, before.size), "another buffer");
    }
    flip(made, bo, page, at);
    expectSame(contentSync(bo), pattern(1, bo.size), "repaired");
    device.check();
  });

  test("of several pages: each is named in its turn as the one before is repaired", async () => {
    const made = kit({ memory: 64, swap: 256 }, { transferPages: 4 });
    const bo = filled(made.device, 40, 1);
    bo.shrinkSync();
    const bad = [3, 4, 17, 39];
    for (const page of bad) flip(made, bo, page, page);
    for (const page of bad) {
      const slot = slotOf(made.global, bo.tt, page);
      expect(failsSync("EIO", () => contentSync(bo)).message).toBe(message(bo, page, slot));
      expect((await fails("EIO", content(bo))).message).toBe(message(bo, page, slot));
      made.device.check();
      flip(made, bo, page, page);
    }
    made.swap.forget();
    expectSame(contentSync(bo), pattern(1, bo.size), "repaired");
    made.device.check();
  });

  test("does not cost the pages before it: they are not read again", () => {
    const made = kit({ memory: 64, swap: 256 }, { transferPages: 1 });
    const { device, swap } = made;
    const bo = filled(device, 40, 1);
    bo.shrinkSync();
    flip(made, bo, 35, 0);
    failsSync("EIO", () => contentSync(bo));
    // Of the last chunk, of 8 pages, three were read; the bad one is read again.
    expect(swap.pagesIn).toBe(36);
    flip(made, bo, 35, 0);
    expectSame(contentSync(bo), pattern(1, bo.size), "repaired");
    expect(swap.pagesIn).toBe(41);
  });

  test("leaves the buffer to be destroyed, purged, or shrunken further", () => {
    for (const end of ["destroy", "purge", "shrink"] as const) {
      const made = kit({ memory: 64, swap: 256 }, { transferPages: 1 });
      const { device } = made;
      const bo = filled(device, 40, 1);
      bo.shrinkSync();
      flip(made, bo, 35, 0);
      failsSync("EIO", () => contentSync(bo));
      if (end === "shrink") {
        expect(bo.shrinkSync()).toBeGreaterThan(0);
        device.check();
        flip(made, bo, 35, 0);
        expectSame(contentSync(bo), pattern(1, bo.size), "repaired");
      } else if (end === "purge") {
        bo.advise("dontneed");
        bo.shrinkSync();
        expectSame(contentSync(bo), new Uint8Array(bo.size), "purged");
      }
      bo.destroy();
      device.check();
      expect(device.stats().slots.free).toBe(256);
    }
  });

  test("stops a mapping and a write of a part of that page, and not one that overwrites it", () => {
    const made = kit({ memory: 64, swap: 256 });
    const bo = filled(made.device, 10, 1);
    bo.shrinkSync();
    flip(made, bo, 4, 0);
    failsSync("EIO", () => bo.writeSync(4 * PAGE_SIZE + 1, new Uint8Array(1)));
    failsSync("EIO", () => bo.mapSync());
    expect(bo.pinned).toBe(false);
    bo.writeSync(0, pattern(2, bo.size));
    expectSame(contentSync(bo), pattern(2, bo.size), "written");
  });
});

test("pages that came back swapped with each other are found", () => {
  const made = kit({ memory: 64, swap: 256 });
  const bo = filled(made.device, 10, 1);
  bo.shrinkSync();
  const [a, b] = [2, 7].map((page) => (slotOf(made.global, bo.tt, page) - 1) * PAGE_SIZE) as [
    number,
    number,
  ];
  const { bytes } = made.swap;
  const kept = bytes.slice(a, a + PAGE_SIZE);
  bytes.copyWithin(a, b, b + PAGE_SIZE);
  bytes.set(kept, b);
  expect(failsSync("EIO", () => contentSync(bo)).message).toContain("page 2 of buffer");
});

test("a page with one byte that comes back as another one is found, or as zeros", () => {
  const made = kit({ memory: 64, swap: 256 });
  const bo = made.device.createBuffer(2 * PAGE_SIZE);
  bo.writeSync(PAGE_SIZE - 1, new Uint8Array([1, ...pattern(1, PAGE_SIZE)]));
  bo.shrinkSync();
  flip(made, bo, 0, 17);
  expect(failsSync("EIO", () => contentSync(bo)).message).toContain("page 0 of buffer");
  flip(made, bo, 0, 17);
  const at = (slotOf(made.global, bo.tt, 1) - 1) * PAGE_SIZE;
  made.swap.bytes.fill(0, at, at + PAGE_SIZE);
  expect(failsSync("EIO", () => contentSync(bo)).message).toContain("page 1 of buffer");
});

describe("checksums", () => {
  const size = 256 * PAGE_SIZE;
  const memory = 64 * PAGE_SIZE;

  test("are on by default outside our memory, off inside it", () => {
    const devices = [
      createDeviceSync({ memory, swap: ramSwap({ size }) }),
      createDeviceSync({ memory, swap: ramSwap({ size }), checksums: true }),
      kit({ memory: 64 }).device,
      kit({ memory: 64 }, { checksums: false }).device,
      createDeviceSync({ memory, swap: fileSwap({ size }) }),
    ];
    expect(devices.map(({ global }) => global.checksums)).toEqual([false, true, true, false, true]);
    for (const device of devices) device.closeSync();
  });

  test("that are off let anything through", () => {
    const made = kit({ memory: 64, swap: 256 }, { checksums: false });
    const bo = filled(made.device, 5, 1);
    bo.shrinkSync();
    flip(made, bo, 2, 5);
    const expected = pattern(1, bo.size);
    expected[2 * PAGE_SIZE + 5] = (expected[2 * PAGE_SIZE + 5] as number) ^ 0x10;
    expectSame(contentSync(bo), expected, "as it came");
  });

  test("work in our memory, too", () => {
    using device = createDeviceSync({ memory, swap: ramSwap({ size }), checksums: true });
    const bo = filled(device, 40, 1);
    const other = filled(device, 10, 2);
    device.shrinkSync();
    const { engine } = device.global;
    const slot = slotOf(device.global, bo.tt, 33);
    // RAM swap lies behind the frames: its first slot is where the memory's last frame ends.
    const frames = Math.min(...addressesOfAll(64));
    const page = engine.view(frames + 64 * PAGE_SIZE + (slot - 1) * PAGE_SIZE, PAGE_SIZE);
    page[1000] = (page[1000] as number) ^ 1;
    const error = failsSync("EIO", () => contentSync(bo));
    expect(error.message).toContain(`page 33 of buffer ${bo.id} came back from slot ${slot} of`);
    device.check();
    page[1000] = (page[1000] as number) ^ 1;
    expectSame(contentSync(bo), pattern(1, bo.size), "repaired");
    expectSame(contentSync(other), pattern(2, other.size), "other");

    /** Addresses of the frames, all of which are free. */
    function addressesOfAll(pages: number): number[] {
      const all = device.createBuffer(pages * PAGE_SIZE);
      const mapping = all.mapSync();
      const addresses = mapping.segments.map((segment) => segment.byteOffset);
      mapping.unmap();
      all.destroy();
      return addresses;
    }
  });

  test("are those of what was written last", () => {
    const { device } = kit({ memory: 64, swap: 256 });
    const bo = filled(device, 19, 1);
    for (let seed = 2; seed < 10; seed++) {
      bo.shrinkSync();
      bo.writeSync(0, pattern(seed, bo.size));
      bo.shrinkSync();
      expectSame(contentSync(bo), pattern(seed, bo.size), `round ${seed}`);
    }
  });
});

test("one flipped byte of the swap file is found, and the repaired file read", () => {
  using folder = new TempFolder();
  const path = folder.file("swap");
  using device = createDeviceSync({
    memory: 64 * PAGE_SIZE,
    swap: fileSwap({ size: "1 MiB", path }),
  });
  const bo = filled(device, 40, 1);
  bo.shrinkSync();
  const slot = slotOf(device.global, bo.tt, 21);
  const flipFile = () => {
    const fd = openSync(path, "r+");
    const byte = new Uint8Array(1);
    const at = (slot - 1) * PAGE_SIZE + 3000;
    readSync(fd, byte, 0, 1, at);
    byte[0] = (byte[0] as number) ^ 0x80;
    writeSync(fd, byte, 0, 1, at);
    closeSync(fd);
  };
  flipFile();
  const { message: text } = failsSync("EIO", () => contentSync(bo));
  expect(text).toContain(
    `page 21 of buffer ${bo.id} came back from slot ${slot} of swap device file`,
  );
  flipFile();
  expectSame(contentSync(bo), pattern(1, bo.size), "repaired");
});
