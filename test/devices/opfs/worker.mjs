/* A web worker, started by worker_page.mjs, where the device is synchronous. */
import { opfsSwap } from "ttm-wasm/swap/opfs";
import { runTests, test } from "../../runtimes/check.mjs";
import { poolModel } from "../pool.mjs";
import { opfsTests } from "./tests.mjs";

/** The page can set a quota in Chromium only. */
const setQuota = (quota) =>
  new Promise((done) => {
    addEventListener("message", () => done(), { once: true });
    postMessage({ quota });
  });

if (new URLSearchParams(location.search).has("hold")) {
  // What a second tab would be: it opens the name, says so, and holds it until it is ended.
  const device = opfsSwap({ size: "1 MiB", name: "held" });
  await device.open();
  postMessage("open");
} else {
  const hold = () => new Worker("./worker.mjs?hold", { type: "module" });
  opfsTests({
    sync: true,
    make: opfsSwap,
    hold,
    setQuota: navigator.userAgent.includes("Chrome") ? setQuota : undefined,
  });
  test("in a web worker, too, another one may have the file", () => {
    const worker = () => new Worker("./own_worker.mjs", { type: "module" });
    return poolModel(opfsSwap({ size: "16 MiB", worker }), false);
  });
  postMessage({ result: JSON.stringify(await runTests()) });
}
