import { createDevice } from "ttm-wasm";
import { assert, equal, test } from "../check.mjs";

test("with debug a view that is used after unmap() is found out", async () => {
  const misuses = [];
  const debug = { report: (misuse) => misuses.push(misuse) };
  const device = await createDevice({ memory: "1 MiB", debug });
  const buffer = device.createBuffer(10_000);
  const mapping = await buffer.map();
  const view = mapping.bytes;
  view.fill(7);
  mapping.unmap();
  const bytes = await buffer.read(0, new Uint8Array(10_000));
  assert(
    bytes.every((byte) => byte === 7),
    "what was written to the view is lost",
  );
  assert(
    view.every((byte) => byte === 0xdb),
    "a stale view is no poison",
  );
  equal(misuses.length, 0, "misuses");
  view[123] = 1;
  device.check();
  equal(misuses.length, 1, "misuses");
  equal(misuses[0].code, "EFAULT");
  assert(misuses[0].message.includes("at byte 123 of the buffer"), misuses[0].message);
  await device.close({ force: true });
});
