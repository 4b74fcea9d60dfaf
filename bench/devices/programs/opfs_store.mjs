/* A file of objects as one writes it by hand, where a web worker has it. */

export async function openFile() {
  const root = await navigator.storage.getDirectory();
  const name = crypto.randomUUID();
  const file = await root.getFileHandle(name, { create: true });
  const handle = await file.createSyncAccessHandle();
  return {
    handle,
    async close() {
      handle.close();
      await root.removeEntry(name);
    },
  };
}
