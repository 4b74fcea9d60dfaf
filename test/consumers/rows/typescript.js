/*
 * Compile with each TypeScript under each way to resolve modules, without skipLibCheck, declarations
 * emitted, and run what was compiled.
 */

/** Each way to resolve, with the kind of the sources; the first versions that have and no longer have it. */
const MODES = [
  { name: "node10", module: "commonjs", moduleResolution: "node10", type: "commonjs", until: 7 },
  { name: "node16 ESM", module: "node16", moduleResolution: "node16", type: "module" },
  { name: "node16 CommonJS", module: "node16", moduleResolution: "node16", type: "commonjs" },
  { name: "nodenext ESM", module: "nodenext", moduleResolution: "nodenext", type: "module" },
  { name: "nodenext CommonJS", module: "nodenext", moduleResolution: "nodenext", type: "commonjs" },
  { name: "bundler", module: "esnext", moduleResolution: "bundler", type: "module" },
];

/** What the compiler knows of the world besides the language. */
const FULL = {
  name: "node, dom, using",
  types: ["node"],
  lib: ["es2022", "dom", "esnext.disposable"],
};
const LEAN = [
  { name: "node types only", types: ["node"], lib: ["es2022"] },
  { name: "dom only", types: [], lib: ["es2022", "dom"] },
  { name: "no node, no dom", types: [], lib: ["es2022"] },
];

const VERSIONS = ["5.4", "5.6", "5.8", "5.9", "6", "7"];

function row(version, mode, world) {
  const full = world === FULL;
  const compilerOptions = {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    declaration: true,
    target: "es2022",
    lib: world.lib,
    types: world.types,
    module: mode.module,
    moduleResolution: mode.moduleResolution,
    rootDir: ".",
    outDir: "out",
    ...(version === "6" && mode.name === "node10" ? { ignoreDeprecations: "6.0" } : {}),
  };
  const sources = full ? ["consumer.ts", "declared.ts"] : ["consumer.ts"];
  return {
    name: `TypeScript ${version} ${mode.name}, ${world.name}`,
    files: {
      "package.json": { type: mode.type },
      "tsconfig.json": { compilerOptions, files: sources },
      // Who uses those declarations checks them, too.
      "declarations.json": {
        compilerOptions: { ...compilerOptions, declaration: false, noEmit: true },
        files: ["out/declared.d.ts"],
      },
      "consumer.ts": full ? "consumer.ts" : "lean.ts",
      "run.mjs": "run_out.mjs",
      ...(full ? { "declared.ts": "declared.ts" } : {}),
    },
    links: world.types.includes("node") ? ["@types/node"] : [],
    steps: [
      [`typescript${version}:tsc`, "--project", "tsconfig.json"],
      ...(full && mode.name === "bundler"
        ? [[`typescript${version}:tsc`, "--project", "declarations.json"]]
        : []),
      ["node", "run.mjs"],
    ],
  };
}

export const rows = VERSIONS.flatMap((version) => {
  const modes = MODES.filter(({ until = Infinity }) => Number(version) < until);
  const lean = modes.filter(({ name }) => ["nodenext ESM", "bundler"].includes(name));
  return [
    ...modes.map((mode) => row(version, mode, FULL)),
    ...lean.flatMap((mode) => LEAN.map((world) => row(version, mode, world))),
  ];
});
