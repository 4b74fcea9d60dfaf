import { run } from "./consumer.js";

run().then(console.log);
