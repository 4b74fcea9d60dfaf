import { TtmError, type TtmErrorCode } from "../../src/index.ts";

function asTtmError(error: unknown, code: TtmErrorCode): TtmError {
  if (error instanceof TtmError && error.code === code) return error;
  throw new Error(`not a TtmError ${code} but ${String(error)}`, { cause: error });
}

/** The `TtmError` with `code` that `run` throws. */
export function failsSync(code: TtmErrorCode, run: () => unknown): TtmError {
  try {
    run();
  } catch (error) {
    return asTtmError(error, code);
  }
  throw new Error(`there was no error, but ${code} was expected`);
}

/** The `TtmError` with `code` that `running` rejects with. */
export async function fails(code: TtmErrorCode, running: Promise<unknown>): Promise<TtmError> {
  try {
    await running;
  } catch (error) {
    return asTtmError(error, code);
  }
  throw new Error(`there was no error, but ${code} was expected`);
}

/** An error with a system's code, as file systems throw them. */
export function systemError(code: string): Error {
  return Object.assign(new Error(`${code}: injected`), { code });
}
