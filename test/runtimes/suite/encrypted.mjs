import { createDevice, ramSwap } from "ttm-wasm";
import { encryptedSwap } from "ttm-wasm/swap/encrypted";
import { equal, fails, pattern, same, test } from "../check.mjs";
import { mapSwap } from "../swap.mjs";

const SIZE = 700_001;

const content = (buffer) => buffer.read(0, new Uint8Array(buffer.size));

/** A device over a Map, what was written last to it, and whether it flips a bit of what is read. */
function openSwap() {
  const swap = mapSwap({ async: true });
  const { write, read } = swap;
  const open = { swap, written: new Uint8Array(0), harm: false };
  swap.write = (slot, views) => {
    open.written = views[0].slice();
    return write(slot, views);
  };
  swap.read = async (slot, views) => {
    await read(slot, views);
    if (open.harm) views[0][100] ^= 1;
  };
  return open;
}

test("pages are encrypted wherever they go, and come back", async () => {
  for (const inner of [ramSwap({ size: "8 MiB" }), mapSwap(), mapSwap({ async: true })]) {
    const device = await createDevice({ memory: "1 MiB", swap: encryptedSwap(inner) });
    const buffers = [1, 2, 3].map(() => device.createBuffer(SIZE));
    for (const [i, buffer] of buffers.entries()) await buffer.write(0, pattern(i, SIZE));
    for (const [i, buffer] of buffers.entries()) {
      same(await content(buffer), pattern(i, SIZE), `buffer ${i}`);
    }
    device.check();
    await device.close({ force: true });
  }
});

test("a bit that was flipped in an encrypted page is an EIO, and the store sees noise", async () => {
  const open = openSwap();
  const device = await createDevice({ memory: "1 MiB", swap: encryptedSwap(open.swap) });
  const buffer = device.createBuffer(SIZE);
  const bytes = new Uint8Array(SIZE).fill(7);
  await buffer.write(0, bytes);
  await device.shrink();
  const sevens = open.written.filter((byte) => byte === 7).length;
  equal(open.written.length > 0 && sevens < open.written.length / 50, true);
  open.harm = true;
  await fails("EIO", () => content(buffer));
  open.harm = false;
  same(await content(buffer), bytes, "when it is read again");
  await device.close({ force: true });
});
