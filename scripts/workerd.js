/** Runs bundles in workerd, which gets a program as a configuration of modules. */
import { mkdirSync, readdirSync, writeFileSync } from "node:fs";
import { extname, join } from "node:path";

/** Before Node's modules became a default, so that the library is seen to need none of them. */
const COMPATIBILITY_DATE = "2026-07-01";

/** @type {Record<string, string>} */
const KINDS = { ".js": "esModule", ".mjs": "esModule", ".wasm": "wasm" };

/**
 * Writes the configuration of one service that is made of a folder's modules.
 *
 * @param {string} folder
 * @param {string} main the module whose `test()` is run
 * @param {string} [durable] a class of it whose objects, bound as `OBJECTS`, have SQLite, in the folder `disk`
 * @returns {string[]} arguments for workerd, to be started in that folder
 */
export function workerdTest(folder, main, durable) {
  const names = readdirSync(folder).filter((name) => name !== main && extname(name) in KINDS);
  const modules = [main, ...names].map(
    (name) => `    (name = "./${name}", ${KINDS[extname(name)]} = embed "${name}"),`,
  );
  const disk = `(name = "disk", disk = (path = "disk", writable = true))`;
  const services = `(name = "test", worker = .test)${durable ? `, ${disk}` : ""}`;
  const objects = durable
    ? `
  durableObjectNamespaces = [(className = "${durable}", uniqueKey = "${durable}", enableSql = true)],
  durableObjectStorage = (localDisk = "disk"),
  bindings = [(name = "OBJECTS", durableObjectNamespace = "${durable}")],`
    : "";
  if (durable) mkdirSync(join(folder, "disk"), { recursive: true });
  const text = `using Workerd = import "/workerd/workerd.capnp";

const config :Workerd.Config = (
  services = [${services}],
);

const test :Workerd.Worker = (
  compatibilityDate = "${COMPATIBILITY_DATE}",
  modules = [
${modules.join("\n")}
  ],${objects}
);
`;
  writeFileSync(join(folder, "config.capnp"), text);
  return ["test", "config.capnp"];
}
