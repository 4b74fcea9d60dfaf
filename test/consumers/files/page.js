import { run } from "./consumer.js";

run().then(
  (text) => {
    document.title = text;
  },
  (error) => {
    document.title = `failed: ${error?.stack ?? error}`;
  },
);
