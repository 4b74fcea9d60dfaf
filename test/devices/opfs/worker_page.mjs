/* A page that only starts the worker, and does for it what only a page can. */
const worker = new Worker("./bundled/worker.mjs", { type: "module" });
worker.onmessage = async ({ data }) => {
  if (data.result !== undefined) {
    document.title = data.result;
    return;
  }
  await globalThis.setQuota?.(data.quota);
  worker.postMessage("done");
};
worker.onerror = ({ message }) => {
  document.title = `failed: the worker did not start: ${message}`;
};
