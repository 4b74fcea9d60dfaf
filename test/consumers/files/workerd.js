import { run } from "./consumer.js";

export default {
  async test() {
    const text = await run();
    if (text !== "ok") throw new Error(text);
  },
  async fetch() {
    return new Response(await run());
  },
};
