/* A web worker, started by worker_page.mjs. */
import "../suite/index.mjs";
import { runTests } from "../check.mjs";

postMessage(JSON.stringify(await runTests()));
