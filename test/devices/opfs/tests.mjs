/* What holds on pages and in workers. */
import { createDevice, PAGE_SIZE, TtmError } from "ttm-wasm";
import { encryptedSwap } from "ttm-wasm/swap/encrypted";
import { swapDeviceTests } from "ttm-wasm/testing";
import { assert, equal, fails, pattern, same, test } from "../../runtimes/check.mjs";
import { deviceModel, poolModel } from "../pool.mjs";

const FOLDER = "ttm-wasm-swap";

/** Names of the files that there are. */
async function filesThere() {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle(FOLDER, { create: true });
  const names = [];
  for await (const name of folder.keys()) names.push(name);
  return names;
}

async function sizeOf(name) {
  const root = await navigator.storage.getDirectory();
  const folder = await root.getDirectoryHandle(FOLDER);
  return (await (await folder.getFileHandle(name)).getFile()).size;
}

/** The contract, with as much as can be seen of the files from outside. */
function contractTests({ make, setQuota }, what) {
  let last = 0;
  const create = ({ slots }) => {
    const name = `contract-${++last}`;
    return { name, device: make({ size: slots * PAGE_SIZE, name }) };
  };
  const createSmall = async ({ slots, pages }) => {
    const { usage } = await navigator.storage.estimate();
    // Chromium gives room by the MiB, as far as there is one.
    await setQuota(usage + 2 ** 20 + pages * PAGE_SIZE);
    return create({ slots });
  };
  const tests = swapDeviceTests({
    createDevice,
    create,
    ...(setQuota ? { createSmall } : {}),
    second: ({ device, name }) => make({ size: device.slots * PAGE_SIZE, name }),
    bytes: ({ name }) => sizeOf(name),
    left: async () => (await filesThere()).length,
    dispose: () => setQuota?.(null),
  });
  for (const { name, run } of tests) test(`${what}: ${name}`, run);
}

/** @param host how to make a device, a worker that holds the name `held`, and a quota, where it can be set */
export function opfsTests({ sync, make, hold, setQuota }) {
  contractTests({ make, setQuota }, "the contract");
  contractTests({ make: (options) => encryptedSwap(make(options)), setQuota }, "encrypted");

  test("what kind of device it is", () => {
    const device = make({ size: "1 MiB" });
    equal(device.name, "opfs", "name");
    equal(device.slots, 256, "slots");
    equal("readSync" in device, sync, "whether it is synchronous");
  });

  test("options that cannot be meant are refused by name", async () => {
    await fails(TypeError, () => make());
    await fails(RangeError, () => make({ size: 0 }));
    await fails(TypeError, () => make({ size: 1, name: "a/b" }));
    await fails(TypeError, () => make({ size: 1, name: ".." }));
    await fails(TypeError, () => make({ size: 1, worker: {} }));
    await fails(TypeError, () => make({ size: 1, path: "x" }));
  });

  test("1,000 operations on buffers", () => poolModel(make({ size: "16 MiB" }), sync));
  test("1,000 calls of the device", () => deviceModel(make({ size: "8 MiB" })));

  test("many operations at once", async () => {
    const device = await createDevice({ memory: "1 MiB", swap: make({ size: "16 MiB" }) });
    const buffers = Array.from({ length: 32 }, () => device.createBuffer("256 KiB"));
    await Promise.all(buffers.map((buffer, i) => buffer.write(0, pattern(i, 262_144))));
    const read = buffers.map((buffer) => buffer.read(0, new Uint8Array(262_144)));
    for (const [i, bytes] of (await Promise.all(read)).entries()) same(bytes, pattern(i, 262_144));
    await device.close({ force: true });
  });

  test("it has files of its own while it is open, and leaves nothing", async () => {
    equal((await filesThere()).length, 0, "files before");
    const swaps = [make({ size: "1 MiB" }), make({ size: "1 MiB" }), make({ size: 1, name: "a" })];
    const devices = [];
    for (const swap of swaps) devices.push(await createDevice({ memory: "1 MiB", swap }));
    equal((await filesThere()).length, 3, "files");
    for (const device of devices) await device.close();
    equal((await filesThere()).length, 0, "files after");
  });

  test("a device that was closed can be used again", async () => {
    const swap = make({ size: "1 MiB", name: "again" });
    for (let i = 0; i < 2; i++) {
      const device = await createDevice({ memory: "1 MiB", swap });
      const buffer = device.createBuffer(5000);
      await buffer.write(0, pattern(i, 5000));
      await device.shrink();
      same(await buffer.read(0, new Uint8Array(5000)), pattern(i, 5000));
      await device.close({ force: true });
    }
  });

  test("the file shrinks with its content", async () => {
    const device = await createDevice({
      memory: "1 MiB",
      swap: make({ size: "8 MiB", name: "cut" }),
    });
    const buffers = Array.from({ length: 4 }, () => device.createBuffer("512 KiB"));
    for (const buffer of buffers) await buffer.write(0, pattern(1, 524_288));
    await device.shrink();
    assert((await sizeOf("cut")) >= 4 * 524_288, "the file is smaller than what it holds");
    for (const buffer of buffers) buffer.destroy();
    await device.createBuffer(1).write(0, new Uint8Array(1));
    await device.shrink();
    const size = await sizeOf("cut");
    assert(size <= 524_288, `the file has still ${size} bytes`);
    await device.close({ force: true });
  });

  test("a second user of a name is refused, and has it once the first is gone, killed or not", async () => {
    const first = make({ size: "1 MiB", name: "held" });
    const device = await createDevice({ memory: "1 MiB", swap: first });
    const second = () =>
      createDevice({ memory: "1 MiB", swap: make({ size: "1 MiB", name: "held" }) });
    const error = await fails("EBUSY", second);
    assert(error instanceof TtmError, "what open throws is no TtmError");
    assert(/held is in use/.test(error.message), error.message);
    await device.close();
    const other = hold();
    const said = await new Promise((done, failed) => {
      other.onmessage = ({ data }) => done(data);
      other.onerror = ({ message }) => failed(new Error(message));
    });
    equal(said, "open", "what the other worker says");
    await fails("EBUSY", second);
    // It does not close: this is how a tab ends.
    other.terminate();
    let third;
    for (let tries = 0; third === undefined; tries++) {
      third = await second().catch((error) => {
        if (error.code !== "EBUSY" || tries > 100) throw error;
        return new Promise((later) => setTimeout(later, 20));
      });
    }
    await third.close();
    equal((await filesThere()).length, 0, "files after");
  });

  test("what killed tabs have left is cleared away, what others use is not", async () => {
    const used = await createDevice({
      memory: "1 MiB",
      swap: make({ size: "1 MiB", name: "used" }),
    });
    const root = await navigator.storage.getDirectory();
    const folder = await root.getDirectoryHandle(FOLDER);
    await folder.getFileHandle("left-over", { create: true });
    const next = await createDevice({
      memory: "1 MiB",
      swap: make({ size: "1 MiB", name: "next" }),
    });
    equal((await filesThere()).sort().join(), "next,used", "files");
    await next.close();
    await used.close();
  });

  if (setQuota === undefined) return;

  test("a write that a quota ends in its middle says how many pages it has stored", async () => {
    const { usage } = await navigator.storage.estimate();
    const swap = make({ size: "16 MiB", name: "short" });
    await swap.open();
    await setQuota(usage + 3 * 2 ** 20);
    try {
      // Neither calls nor runs end where a MiB does.
      const bytes = pattern(5, 15 * PAGE_SIZE);
      let short;
      for (let first = 1; short === undefined; first += 240) {
        const runs = Array.from({ length: 16 }, (_, i) => ({
          slot: first + i * 15,
          views: [bytes.subarray(0, 6 * PAGE_SIZE), bytes.subarray(6 * PAGE_SIZE)],
        }));
        short = await (swap.writeSync ?? swap.write)(runs);
        if (short === undefined) continue;
        equal(short.error.name, "QuotaExceededError", "why");
        assert(short.pages > 0 && short.pages < 240, `${short.pages} of 240 pages were stored`);
        for (let page = 0; page < short.pages; page++) {
          const target = new Uint8Array(PAGE_SIZE);
          await (swap.readSync ?? swap.read)([{ slot: first + page, views: [target] }]);
          const at = (page % 15) * PAGE_SIZE;
          same(target, bytes.subarray(at, at + PAGE_SIZE), `page ${page}`);
        }
      }
    } finally {
      await setQuota(null);
      await swap.close();
    }
  });

  test("a quota that is used up is ENOSPC, and nothing is lost", async () => {
    const { usage } = await navigator.storage.estimate();
    const device = await createDevice({ memory: "2 MiB", swap: make({ size: "64 MiB" }) });
    await setQuota(usage + 6 * 2 ** 20);
    try {
      const buffers = [];
      await fails("ENOSPC", async () => {
        for (let i = 0; i < 64; i++) {
          const buffer = device.createBuffer("512 KiB");
          await buffer.write(0, pattern(i, 524_288));
          buffers.push(buffer);
        }
      });
      assert(buffers.length >= 4, `only ${buffers.length} buffers were taken`);
      for (const [i, buffer] of buffers.entries()) {
        same(await buffer.read(0, new Uint8Array(524_288)), pattern(i, 524_288), `buffer ${i}`);
      }
      await setQuota(null);
      const more = device.createBuffer("512 KiB");
      for (let tries = 0; ; tries++) {
        try {
          await more.write(0, pattern(99, 524_288));
          break;
        } catch (error) {
          // A shrink that finds no slot tries one page to see whether there is more.
          if (error.code !== "ENOSPC" || tries > 200) throw error;
          await device.shrink().catch(() => {});
        }
      }
      same(await more.read(0, new Uint8Array(524_288)), pattern(99, 524_288));
    } finally {
      await setQuota(null);
    }
    await device.close({ force: true });
  });
}
