import { createDevice, createDeviceSync, PAGE_SIZE, TtmError } from "ttm-wasm";
import { assert, equal, fails, pattern, same, test } from "../check.mjs";
import { mapSwap } from "../swap.mjs";

const PAGES = 64;

/** A device in small transfers, and a buffer of it that is all in swap. */
async function shrunken(async) {
  const swap = mapSwap({ async });
  const device = await createDevice({ memory: "1 MiB", swap, transferPages: 4 });
  const buffer = device.createBuffer(PAGES * PAGE_SIZE);
  await buffer.write(0, pattern(1, buffer.size));
  await device.shrink();
  return { swap, device, buffer };
}

/** Aborted from the `n`th look on. */
const signalAt = (n) => {
  let polls = 0;
  return {
    get aborted() {
      return ++polls > n;
    },
    reason: "enough",
  };
};

for (const async of [false, true]) {
  const kind = async ? "an asynchronous device" : "a synchronous device";

  test(`on ${kind}, an interrupted restore goes on where it stopped, and reads no page twice`, async () => {
    const { swap, device, buffer } = await shrunken(async);
    let interrupted = 0;
    for (let n = 1; ; n++) {
      try {
        const bytes = await buffer.read(0, new Uint8Array(buffer.size), { signal: signalAt(n) });
        same(bytes, pattern(1, buffer.size));
        break;
      } catch (error) {
        assert(error instanceof TtmError, `unexpected: ${error}`);
        equal(error.code, "EINTR");
        equal(error.errno, -4);
        equal(error.cause, "enough", "cause");
        interrupted++;
        device.check();
      }
    }
    assert(interrupted >= 2, `interrupted ${interrupted} times`);
    equal(swap.fetched, PAGES, "pages read");
    assert(device.stats().resumed > 0, "nothing was resumed");
    await device.close({ force: true });
  });

  test(`on ${kind}, an AbortController stops a restore`, async () => {
    const { swap, device, buffer } = await shrunken(async);
    const controller = new AbortController();
    let reads = 0;
    swap.before = () => {
      if (++reads === 3) controller.abort();
    };
    const { signal } = controller;
    const read = (options) => buffer.read(0, new Uint8Array(buffer.size), options);
    const error = await fails("EINTR", () => read({ signal }));
    equal(error.cause, signal.reason, "cause");
    same(await read(), pattern(1, buffer.size));
    equal(swap.fetched, PAGES, "pages read");
    await device.close({ force: true });
  });

  test(`on ${kind}, a failed transfer loses nothing`, async () => {
    const { swap, device, buffer } = await shrunken(async);
    const cause = new Error("the disk is on fire");
    let calls = 0;
    swap.before = () => {
      if (++calls === 3) throw cause;
    };
    const error = await fails("EIO", () => buffer.read(0, new Uint8Array(buffer.size)));
    equal(error.cause, cause, "cause");
    same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(1, buffer.size));
    await buffer.write(0, pattern(2, buffer.size));
    swap.before = (what) => {
      if (what === "write") throw cause;
    };
    await fails("EIO", () => device.shrink());
    swap.before = undefined;
    same(await buffer.read(0, new Uint8Array(buffer.size)), pattern(2, buffer.size));
    device.check();
    await device.close({ force: true });
  });
}

test("an interrupted shrink says how far it came", async () => {
  const device = createDeviceSync({ memory: "1 MiB", swap: mapSwap(), transferPages: 4 });
  const buffer = device.createBuffer(PAGES * PAGE_SIZE);
  buffer.writeSync(0, pattern(1, buffer.size));
  const released = device.shrinkSync({ signal: signalAt(4) });
  assert(released > 0 && released < PAGES, `${released} pages were released`);
  equal(buffer.residentPages, PAGES - released, "resident pages");
  same(buffer.readSync(0, new Uint8Array(buffer.size)), pattern(1, buffer.size));
  device.closeSync({ force: true });
});

test("an injected fault is one", async () => {
  const { device, buffer } = await shrunken(false);
  device.injectFault("read", { probability: 100, times: 1 });
  await fails("EIO", () => buffer.read(0, new Uint8Array(1)));
  equal((await buffer.read(0, new Uint8Array(1)))[0], pattern(1, 1)[0]);
  await device.close({ force: true });
});
