/* Stores that unstorage has drivers for: files, and a Redis of the test's own. */

const row = (name, program) => ({
  name: `storage: ${name}`,
  about: "node",
  tools: "devices",
  links: ["unstorage", "ioredis"],
  files: { "devices/storage": "devices/storage", runtimes: "runtimes" },
  steps: [["node", `devices/storage/${program}`]],
  expects: /"tests":([1-9]\d*),"failures":\[\]/,
});

export const rows = [
  row("files", "files.mjs"),
  row("redis", "redis.mjs"),
  row("redis, killed and restarted", "redis_killed.mjs"),
  {
    name: "storage: types of unstorage",
    about: "typescript5.9:tsc",
    tools: "devices",
    links: ["unstorage", "ioredis"],
    files: {
      "main.ts": "devices/storage/types.ts",
      "tsconfig.json": {
        compilerOptions: {
          strict: true,
          exactOptionalPropertyTypes: true,
          module: "nodenext",
          target: "es2022",
          lib: ["es2022", "dom"],
          types: [],
          skipLibCheck: true,
          outDir: "out",
        },
        files: ["main.ts"],
      },
    },
    steps: [
      ["typescript5.9:tsc", "--project", "."],
      ["node", "out/main.js"],
    ],
  },
];
