/* Inside test runners, with what their environments lack and replace. */

const all = { "consumer.js": "all.js", "subpaths.js": "subpaths.js", "basic.js": "basic.js" };
const esm = { ...all, "consumer.test.js": "globals_test.js" };
const cjs = {
  "package.json": { type: "commonjs" },
  "consumer.cjs": "all.cjs",
  "basic.cjs": "basic.cjs",
  "consumer.test.cjs": "globals_test.cjs",
};
const PASSED = /Tests:?\s+1 passed/;

const vitest = (environment) => ({
  name: `vitest ${environment}`,
  files: esm,
  // Where vitest looks for environments.
  links: environment === "node" ? [] : [environment],
  steps: [["vitest:vitest", "run", "--globals", "--environment", environment]],
  expects: PASSED,
});

/** With its own way to load ES modules, which needs a flag of Node's. */
const jest = (kind, environment) => ({
  name: `jest ${kind} ${environment}`,
  files: {
    ...(kind === "ESM" ? esm : cjs),
    "jest.config.json": {
      testEnvironment: environment === "node" ? "node" : "jest-environment-jsdom",
      testMatch: ["<rootDir>/consumer.test.*"],
      moduleFileExtensions: ["js", "cjs", "json"],
      transform: {},
    },
  },
  links: environment === "node" ? [] : ["jest-environment-jsdom"],
  steps: [["jest:jest", "--config", "jest.config.json"]],
  env: kind === "ESM" ? { NODE_OPTIONS: "--experimental-vm-modules --no-warnings" } : {},
  expects: PASSED,
});

export const rows = [
  {
    name: "node:test",
    files: { ...all, "consumer.test.js": "node_test.js" },
    steps: [["node", "--test", "--test-reporter=tap"]],
    expects: /^# pass 1$/m,
  },
  vitest("node"),
  vitest("jsdom"),
  vitest("happy-dom"),
  jest("ESM", "node"),
  jest("ESM", "jsdom"),
  jest("CommonJS", "node"),
  jest("CommonJS", "jsdom"),
  {
    name: "bun test",
    files: esm,
    steps: [["bun", "test"]],
    expects: /1 pass/,
  },
];
