const { run } = require("./consumer.cjs");

test("a consumer", async () => {
  expect(await run()).toBe("ok");
});
