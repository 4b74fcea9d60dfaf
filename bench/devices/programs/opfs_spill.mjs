/* The worker of what is written by hand on a page. */
import { openFile } from "./opfs_store.mjs";

let file;

addEventListener("message", async ({ data: { id, op, at, bytes, length } }) => {
  if (op === "open") file = await openFile();
  if (op === "set") file.handle.write(bytes, { at });
  if (op === "close") await file.close();
  if (op !== "get") {
    postMessage({ id });
    return;
  }
  const read = new Uint8Array(length);
  file.handle.read(read, { at });
  postMessage({ id, bytes: read }, [read.buffer]);
});
