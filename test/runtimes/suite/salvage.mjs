import { createDevice } from "ttm-wasm";
import { equal, pattern, same, test } from "../check.mjs";
import { mapSwap } from "../swap.mjs";

const SIZE = 300_001;

/** Bytes of ranges, holes as they were before. */
function fill(bytes, ranges) {
  const holes = [];
  for (const { offset, length, bytes: some, error } of ranges) {
    if (some) bytes.set(some, offset);
    else holes.push([offset, length, error.code]);
  }
  return holes;
}

test("salvage gives what is whole of a buffer, and says what is not", async () => {
  for (const async of [false, true]) {
    const swap = mapSwap({ async });
    const device = await createDevice({ memory: "1 MiB", swap });
    const buffer = device.createBuffer(SIZE);
    await buffer.write(0, pattern(1, SIZE));
    await device.shrink();
    const { read } = swap;
    swap.read = (slot, views) => {
      const pages = views.reduce((sum, { length }) => sum + length / 4096, 0);
      if (slot <= 20 && slot + pages > 20) throw new Error("a bad block");
      return read(slot, views);
    };
    const found = [];
    if (async) for await (const range of buffer.salvage()) found.push(range);
    else found.push(...buffer.salvageSync());
    const bytes = new Uint8Array(SIZE);
    const holes = fill(bytes, found);
    equal(JSON.stringify(holes), JSON.stringify([[19 * 4096, 4096, "EIO"]]), "holes");
    const expected = pattern(1, SIZE).fill(0, 19 * 4096, 20 * 4096);
    same(bytes, expected);
    swap.read = read;
    same(await buffer.read(0, new Uint8Array(SIZE)), pattern(1, SIZE), "when it is mended");
    await device.close({ force: true });
  }
});
