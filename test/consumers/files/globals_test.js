/* For runners with globals: vitest --globals, jest. */
import { run } from "./consumer.js";

test("a consumer", async () => {
  expect(await run()).toBe("ok");
});
