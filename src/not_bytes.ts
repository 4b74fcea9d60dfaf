/* A buffer is no bytes, although it looks like that at first: who takes it for such is told what to do. */

/** As a field, it keeps its object from being cloned or posted in silence: the error shows this text. */
export const NOT_CLONED: symbol = Symbol(
  "ttm-wasm: this stays on its device; read() bytes and send those",
);

/** @throws TypeError with what to do, for `Symbol.toPrimitive`: `new Blob([buffer])` asks for a text */
export function notText(instead: string): never {
  throw new TypeError(`this is neither bytes nor text; use ${instead}`);
}
