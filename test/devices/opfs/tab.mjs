/* Another tab: its worker holds the name `held`, until the tab is closed. */
const worker = new Worker("./bundled/worker.mjs?hold", { type: "module" });
worker.onmessage = ({ data }) => opener.postMessage(data);
