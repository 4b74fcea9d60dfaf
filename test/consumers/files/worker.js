import { run } from "./consumer.js";

run().then(
  (text) => postMessage(text),
  (error) => postMessage(`failed: ${error?.stack ?? error}`),
);
