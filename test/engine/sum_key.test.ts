/* Each device draws its own key, so that no two pages have the same checksum on all devices. */
import { afterEach, describe, expect, test, vi } from "vitest";
import { PAGE_SIZE, SUM_KEY, SUM_KEY_BYTES } from "../../assembly/abi.ts";
import { createDeviceSync, ramSwap } from "../../src/index.ts";
import { contentSync, expectSame } from "../support/bytes.ts";
import { collision } from "../support/collision.ts";
import { filled } from "../support/devices.ts";
import { failsSync } from "../support/errors.ts";
import { seeded } from "../support/random.ts";
import { type Kit, kit, slotOf } from "../ttm/support/kit.ts";

afterEach(() => {
  vi.unstubAllGlobals();
});

/** The key of a new device, which has one once a page has left. */
function keyed() {
  const made = kit({ memory: 16 });
  const bo = filled(made.device, 1, 1);
  bo.shrinkSync();
  bo.destroy();
  return { ...made, key: made.global.engine.view(SUM_KEY, SUM_KEY_BYTES) };
}

const refusing = {
  getRandomValues() {
    throw new Error("Disallowed operation called within global scope");
  },
};

describe.each([
  ["with the crypto there is", undefined],
  ["where there is no crypto", { crypto: undefined }],
  ["where crypto refuses", { crypto: refusing }],
])("%s", (_, globals) => {
  test("each device has its own key, all of it", () => {
    for (const [name, value] of Object.entries(globals ?? {})) vi.stubGlobal(name, value);
    const keys = Array.from({ length: 12 }, () => keyed().key);
    for (let at = 0; at < SUM_KEY_BYTES; at++) {
      const bytes = new Set(keys.map((key) => key[at]));
      if (bytes.size === 1) throw new Error(`byte ${at} is the same in all keys`);
    }
    const all = keys.flatMap((key) => Array.from(key));
    const mean = all.reduce((sum, byte) => sum + byte, 0) / all.length;
    expect(Math.abs(mean - 127.5)).toBeLessThan(4);
  });
});

test("checksums noted by RAM swap have it, too", () => {
  const devices = Array.from({ length: 2 }, () => {
    const device = createDeviceSync({ memory: 16 * PAGE_SIZE, swap: ramSwap(), checksums: true });
    filled(device, 1, 1).shrinkSync();
    return device.global.engine.view(SUM_KEY, SUM_KEY_BYTES);
  });
  expect(devices[0]).not.toEqual(devices[1]);
});

test("a page that is made to collide on one device is found on another", () =>
  seeded((random) => {
    const made = keyed();
    const { one, other } = collision(new Int16Array(made.key.slice().buffer), (limit) =>
      random.below(limit),
    );
    const returned = ({ device, global, swap }: Kit) => {
      const bo = device.createBuffer(PAGE_SIZE);
      bo.writeSync(0, one);
      bo.shrinkSync();
      swap.bytes.set(other, (slotOf(global, bo.tt, 0) - 1) * PAGE_SIZE);
      return () => contentSync(bo);
    };
    // As one who could read the key could have it.
    expectSame(returned(made)(), other, "the page on the device it is made for");
    for (let n = 0; n < 8; n++) failsSync("EIO", returned(kit({ memory: 16 })));
  }));
