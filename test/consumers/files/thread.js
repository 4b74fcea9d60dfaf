import { parentPort } from "node:worker_threads";
import { run } from "./consumer.js";

run().then((text) => parentPort.postMessage(text));
