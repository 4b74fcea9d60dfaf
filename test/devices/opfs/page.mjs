/* A page, where a worker that the device starts has the file. Nothing is bundled, and the policy is strict. */
import { createDevice, createDeviceSync } from "ttm-wasm";
import { opfsSwap } from "ttm-wasm/swap/opfs";
import { assert, equal, fails, pattern, runTests, same, test } from "../../runtimes/check.mjs";
import { poolModel } from "../pool.mjs";
import { opfsTests } from "./tests.mjs";

const ownWorker = () => new Worker("./bundled/own_worker.mjs", { type: "module" });

if (navigator.storage?.getDirectory === undefined) {
  test("a host without such a file system says so", async () => {
    const error = await fails("ENOSYS", () =>
      createDevice({ memory: "1 MiB", swap: opfsSwap({ size: "1 MiB" }) }),
    );
    assert(/Origin Private File System/.test(error.message), error.message);
  });
} else {
  pageTests();
}

function pageTests() {
  opfsTests({
    sync: false,
    make: opfsSwap,
    hold: () => new Worker("./bundled/worker.mjs?hold", { type: "module" }),
    setQuota: globalThis.setQuota,
  });

  test("another tab that has the name is told, and once it is closed its file is cleared away", async () => {
    const tab = open("./tab.html");
    const said = await new Promise((done) => {
      addEventListener("message", ({ data }) => done(data), { once: true });
    });
    equal(said, "open", "what the other tab says");
    const second = () =>
      createDevice({ memory: "1 MiB", swap: opfsSwap({ size: "1 MiB", name: "held" }) });
    await fails("EBUSY", second);
    tab.close();
    let device;
    for (let tries = 0; device === undefined; tries++) {
      device = await second().catch((error) => {
        if (error.code !== "EBUSY" || tries > 200) throw error;
        return new Promise((later) => setTimeout(later, 20));
      });
    }
    await device.close();
  });

  test("a page is not blocked: what would wait is refused", async () => {
    await fails("EWOULDBLOCK", () =>
      createDeviceSync({ memory: "1 MiB", swap: opfsSwap({ size: "1 MiB" }) }),
    );
    const device = await createDevice({ memory: "1 MiB", swap: opfsSwap({ size: "4 MiB" }) });
    const buffer = device.createBuffer(4096);
    await buffer.write(0, pattern(1, 4096));
    await fails("EWOULDBLOCK", () => buffer.shrinkSync());
    await device.shrink();
    await fails("EWOULDBLOCK", () => buffer.readSync(0, new Uint8Array(1)));
    same(await buffer.read(0, new Uint8Array(4096)), pattern(1, 4096));
    await device.close({ force: true });
  });

  test("a worker of the user's serves as well", () =>
    poolModel(opfsSwap({ size: "16 MiB", worker: ownWorker }), false));

  test("a worker that cannot be loaded is told with what to do", async () => {
    const worker = () => new Worker("./missing.mjs", { type: "module" });
    const error = await fails("ENOSYS", () =>
      createDevice({ memory: "1 MiB", swap: opfsSwap({ size: "1 MiB", worker }) }),
    );
    equal(/serveOpfsSwap/.test(error.message), true, "hint");
  });

  test("a worker that dies ends the calls that wait for it, and nothing is lost in memory", async () => {
    let worker;
    const swap = opfsSwap({
      size: "4 MiB",
      worker: () => {
        worker = ownWorker();
        return worker;
      },
    });
    const device = await createDevice({ memory: "1 MiB", swap });
    const buffer = device.createBuffer(4096);
    await buffer.write(0, pattern(2, 4096));
    worker.dispatchEvent(new ErrorEvent("error", { message: "out of luck" }));
    const error = await fails("ENODEV", () => device.shrink());
    equal(/out of luck/.test(error.message), true, "what the worker failed with");
    same(await buffer.read(0, new Uint8Array(4096)), pattern(2, 4096));
    await device.close({ force: true }).catch(() => {});
  });
}

document.title = JSON.stringify(await runTests());
