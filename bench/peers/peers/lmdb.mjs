// user code
import { open as openDatabase } from "lmdb";

const WINDOW = 4 * 1024 * 1024;

export function open({ dir }) {
  const db = openDatabase({
    path: `${dir}/objects`,
    encoding: "binary",
    keyEncoding: "uint32",
    noSync: true,
    noMemInit: true,
  });
  let last;
  let queued = 0;
  return {
    put(i, bytes) {
      last = db.put(i, bytes);
      queued += bytes.length;
      if (queued < WINDOW) return undefined;
      queued = 0;
      return last;
    },
    flush: () => last,
    get(i, use) {
      const bytes = db.getBinaryFast(i); // on a mapping that is larger than the object
      use(bytes.subarray(0, bytes.length));
    },
    close: () => db.close(),
  };
}
// end of user code

export const keeps = true;
