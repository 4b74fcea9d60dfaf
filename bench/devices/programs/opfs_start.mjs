/* The page: measures by itself, or has a worker do it. */
const query = new URLSearchParams(location.search);
if (query.has("page")) {
  await import("./opfs_page.mjs");
} else {
  const worker = new Worker(`./opfs_bench.js${location.search}`, { type: "module" });
  worker.onmessage = ({ data }) => {
    document.title = data;
  };
  worker.onerror = ({ message }) => {
    document.title = `failed: ${message}`;
  };
}
