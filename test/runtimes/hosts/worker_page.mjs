/* A page that only starts the worker. */
const worker = new Worker("./bundled/worker.mjs", { type: "module" });
worker.onmessage = ({ data }) => {
  document.title = data;
};
worker.onerror = ({ message }) => {
  document.title = `failed: the worker did not start: ${message}`;
};
