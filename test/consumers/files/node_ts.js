import { run } from "./consumer.ts";

run().then(console.log);
