import { Worker } from "node:worker_threads";

/* Two at once, each with a device of its own. */
const answers = [0, 1].map(
  () =>
    new Promise((resolve, reject) => {
      const worker = new Worker(new URL("./thread.js", import.meta.url));
      worker.on("message", resolve);
      worker.on("error", reject);
    }),
);
Promise.all(answers).then((texts) => console.log(texts.every((t) => t === "ok") ? "ok" : texts));
