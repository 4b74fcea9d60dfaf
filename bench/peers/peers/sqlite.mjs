// user code
import Database from "better-sqlite3";
import { LRUCache } from "lru-cache";

export function open({ dir, objects, objectBytes, budget }) {
  const db = new Database(`${dir}/objects.db`);
  db.pragma("page_size = 65536");
  db.pragma("journal_mode = OFF");
  db.pragma("synchronous = OFF");
  db.pragma("locking_mode = EXCLUSIVE");
  db.exec("CREATE TABLE objects (id INTEGER PRIMARY KEY, bytes BLOB NOT NULL); BEGIN");
  const insert = db.prepare("INSERT OR REPLACE INTO objects VALUES (?, ?)");
  const select = db.prepare("SELECT bytes FROM objects WHERE id = ?").pluck();
  const written = new Uint8Array(objects);
  const cache = new LRUCache({
    max: Math.floor(budget / objectBytes),
    dispose(bytes, i) {
      if (!written[i]) insert.run(i, bytes);
      written[i] = 1;
    },
  });
  return {
    put(i, bytes) {
      written[i] = 0;
      cache.set(i, bytes);
    },
    flush: () => void db.exec("COMMIT; BEGIN"),
    get(i, use) {
      let bytes = cache.get(i);
      if (!bytes) {
        bytes = select.get(i);
        cache.set(i, bytes);
      }
      use(bytes);
    },
    close: () => db.close(),
  };
}
// end of user code

export const keeps = true;
