import { messageOf, TtmError, type TtmOperation } from "../errors.ts";
import { formatSize } from "../size.ts";

/** What is said when the host refuses a memory of so many bytes. */
export function noMemory(op: TtmOperation, bytes: number, error: unknown): TtmError {
  const text =
    `the host gave no WebAssembly memory of ${formatSize(bytes)} (${messageOf(error)}); use a ` +
    "smaller memory, or fewer devices; V8 reserves 8 GiB of addresses or more for each memory, " +
    "so where these are limited (ulimit -v), start Node with --disable-wasm-trap-handler";
  return new TtmError("ENOMEM", op, text, error);
}
