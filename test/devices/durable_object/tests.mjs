/* What holds inside an object. */
import { createDevice, PAGE_SIZE, TtmError } from "ttm-wasm";
import { durableObjectSwap } from "ttm-wasm/swap/durable-object";
import { encryptedSwap } from "ttm-wasm/swap/encrypted";
import { swapDeviceTests } from "ttm-wasm/testing";
import { assert, equal, fails, pattern, same, test } from "../../runtimes/check.mjs";
import { deviceModel, poolModel } from "../pool.mjs";
import { storage, tablesOf } from "./object.mjs";

const make = (options) => durableObjectSwap(storage, { size: "8 MiB", ...options });

test("arguments that cannot be meant are refused by name", async () => {
  equal(make().slots, 2048, "slots");
  await fails(TypeError, () => durableObjectSwap());
  await fails(TypeError, () => durableObjectSwap(storage));
  await fails(TypeError, () => durableObjectSwap(storage.sql, { size: 1 }));
  await fails(RangeError, () => make({ size: 0 }));
  await fails(TypeError, () => make({ table: "a b" }));
  await fails(TypeError, () => make({ table: "_cf_kv" }));
  await fails(TypeError, () => make({ name: "x" }));
});

/** A number of a table, 0 when it is not there. */
function count(table, expression) {
  if (!tablesOf(storage).some((line) => line.startsWith(`${table} `))) return 0;
  return storage.sql.exec(`SELECT ${expression} AS count FROM ${table}`).one().count ?? 0;
}

let last = 0;
const contractOf = (wrap) => ({
  createDevice,
  create({ slots }) {
    const table = `contract_${++last}`;
    return { table, device: wrap(make({ size: slots * PAGE_SIZE, table })) };
  },
  second: ({ table }) => wrap(make({ table })),
  bytes: ({ table }) => count(table, "sum(length(pages))"),
  left: ({ table }) => tablesOf(storage).filter((line) => line.startsWith(`${table} `)).length,
  // A page that was written alone has a row of its own.
  damage: ({ table }) =>
    storage.sql.exec(`DELETE FROM ${table} WHERE length(pages) = ${PAGE_SIZE}`),
});
for (const [what, wrap] of [
  ["the contract", (device) => device],
  ["encrypted", encryptedSwap],
]) {
  for (const { name, run } of swapDeviceTests(contractOf(wrap))) test(`${what}: ${name}`, run);
}

test("1,000 operations on buffers", () => poolModel(make({ size: "16 MiB" }), true));
test("1,000 calls of the device", () => deviceModel(make()));

test("the table is there while a device is open, and nothing is left of it", async () => {
  equal(tablesOf(storage).join(), "", "tables before");
  const device = await createDevice({ memory: "1 MiB", swap: make() });
  const buffer = device.createBuffer("256 KiB");
  await buffer.write(0, pattern(1, 262_144));
  await device.shrink();
  equal(tablesOf(storage).join(), "ttm_wasm_swap 4", "tables");
  await device.close({ force: true });
  equal(tablesOf(storage).join(), "", "tables after");
});

test("rows that hold nothing any more are deleted", async () => {
  const device = await createDevice({ memory: "1 MiB", swap: make() });
  const buffers = Array.from({ length: 8 }, () => device.createBuffer("512 KiB"));
  for (const buffer of buffers) await buffer.write(0, pattern(1, 524_288));
  await device.shrink();
  equal(tablesOf(storage).join(), "ttm_wasm_swap 64", "tables");
  for (const buffer of buffers) buffer.destroy();
  equal(tablesOf(storage).join(), "ttm_wasm_swap 0", "tables after");
  await device.close();
});

test("two devices on one table are refused, on two they are not", async () => {
  const first = await createDevice({ memory: "1 MiB", swap: make() });
  const error = await fails("EBUSY", () => createDevice({ memory: "1 MiB", swap: make() }));
  assert(error instanceof TtmError, "what open throws is no TtmError");
  assert(/ttm_wasm_swap .* is in use/.test(error.message), error.message);
  await fails("EBUSY", () =>
    createDevice({ memory: "1 MiB", swap: make({ table: "TTM_wasm_swap" }) }),
  );
  const second = await createDevice({ memory: "1 MiB", swap: make({ table: "other" }) });
  await first.close();
  await second.close();
  const third = await createDevice({ memory: "1 MiB", swap: make() });
  await third.close();
});

test("a table of somebody else's is left alone", async () => {
  storage.sql.exec("CREATE TABLE theirs (id INTEGER PRIMARY KEY, pages BLOB, more TEXT)");
  storage.sql.exec("INSERT INTO theirs VALUES (1, NULL, 'kept')");
  await fails("EEXIST", () => createDevice({ memory: "1 MiB", swap: make({ table: "theirs" }) }));
  equal(storage.sql.exec("SELECT more FROM theirs").one().more, "kept", "content");
  storage.sql.exec("DROP TABLE theirs");
});

test("a table that is gone is ENODEV, and what is in memory is kept", async () => {
  const device = await createDevice({ memory: "1 MiB", swap: make() });
  const buffers = [device.createBuffer("512 KiB"), device.createBuffer("512 KiB")];
  for (const [i, buffer] of buffers.entries()) await buffer.write(0, pattern(i, 524_288));
  buffers[0].shrinkSync();
  storage.sql.exec("DROP TABLE ttm_wasm_swap");
  await fails("ENODEV", () => buffers[0].read(0, new Uint8Array(1)));
  same(await buffers[1].read(0, new Uint8Array(524_288)), pattern(1, 524_288));
  await device.close({ force: true });
});

test("what a transaction takes back is missed, not mistaken", async () => {
  const device = await createDevice({ memory: "1 MiB", swap: make() });
  const [kept, lost, stale] = [1, 2, 3].map(() => device.createBuffer("64 KiB"));
  for (const [i, buffer] of [kept, stale].entries()) {
    buffer.writeSync(0, pattern(i, 65_536));
    buffer.shrinkSync();
  }
  await fails(SyntaxError, () =>
    storage.transactionSync(() => {
      lost.writeSync(0, pattern(7, 65_536));
      // A part that is written leaves to where it was.
      stale.writeSync(4096, pattern(8, 4096));
      device.shrinkSync();
      throw new SyntaxError("rolled back");
    }),
  );
  await fails("ENODEV", () => lost.read(0, new Uint8Array(1)));
  const error = await stale.read(0, new Uint8Array(1)).catch((thrown) => thrown);
  assert(
    ["EIO", "ENODEV"].includes(error.code),
    `a page of before is taken for one of now: ${error}`,
  );
  same(await kept.read(0, new Uint8Array(65_536)), pattern(0, 65_536));
  await device.close({ force: true });
});
