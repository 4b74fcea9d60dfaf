import assert from "node:assert/strict";
import { test } from "node:test";
import { run } from "./consumer.js";

test("a consumer", async () => {
  assert.equal(await run(), "ok");
});
