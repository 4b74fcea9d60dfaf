/* A block store over a Map, synchronous or not, that fails on demand. */
import { PAGE_SIZE } from "ttm-wasm";

export function mapSwap({ slots = 4096, async = false } = {}) {
  const pages = new Map();
  const store = {
    name: "map",
    slots,
    async,
    /** Pages that went out and came in. */
    written: 0,
    fetched: 0,
    closed: 0,
    /** Called before each call; what it throws is what the call fails with. */
    before: undefined,
    write: (slot, views) =>
      perform(() => {
        store.before?.("write");
        for (const page of pagesOf(views)) pages.set(slot++, page.slice());
        store.written += pagesOf(views).length;
      }),
    read: (slot, views) =>
      perform(() => {
        store.before?.("read");
        for (const page of pagesOf(views)) page.set(pages.get(slot++));
        store.fetched += pagesOf(views).length;
      }),
    close: () =>
      perform(() => {
        store.closed++;
      }),
  };
  const perform = (work) => (async ? Promise.resolve().then(work) : work());
  return store;
}

function pagesOf(views) {
  return views.flatMap((view) => {
    const starts = Array.from({ length: view.length / PAGE_SIZE }, (_, i) => i * PAGE_SIZE);
    return starts.map((at) => view.subarray(at, at + PAGE_SIZE));
  });
}
