import { describe, expect, test } from "vitest";
import { parseCommand, type RunOptions } from "../../src/cli/args.ts";
import { UsageError } from "../../src/cli/errors.ts";

const MIB = 2 ** 20;

function optionsOf(...argv: string[]): RunOptions {
  const command = parseCommand(["run", ...argv]);
  if (command.name !== "run") throw new Error(`parsed as ${command.name}`);
  return command.options;
}

function errorOf(...argv: string[]): UsageError {
  try {
    parseCommand(argv);
  } catch (error) {
    if (error instanceof UsageError) return error;
    throw error;
  }
  throw new Error("nothing was thrown");
}

describe("parseCommand", () => {
  test("run has defaults", () => {
    expect(optionsOf()).toEqual({
      paths: [],
      size: 512 * MIB,
      objectSize: 2 * MIB,
      memory: 64 * MIB,
      accesses: 20000,
      seed: 1,
      interrupt: 0.1,
      swap: { kind: "file" },
      swapSize: undefined,
      caching: "cached",
      poolSize: undefined,
      fault: 0,
      runtimes: undefined,
      trim: false,
      json: false,
    });
  });

  test("takes every option, in any order with the paths", () => {
    const argv =
      "a --size 1GiB --object-size=64KiB b --memory 8MiB --accesses 0 --seed -7 --json --trim";
    const more = "--interrupt 1 --swap file:/x/y --swap-size 2GiB --runtime bun,node,bun";
    const kernel = "--caching wc --pool-size 1MiB --fault 0.25";
    expect(optionsOf(...`${argv} ${more} ${kernel}`.split(" "))).toEqual({
      paths: ["a", "b"],
      size: 1024 * MIB,
      objectSize: 65536,
      memory: 8 * MIB,
      accesses: 0,
      seed: -7,
      interrupt: 1,
      swap: { kind: "file", path: "/x/y" },
      swapSize: 2048 * MIB,
      caching: "wc",
      poolSize: MIB,
      fault: 0.25,
      runtimes: ["bun", "node"],
      trim: true,
      json: true,
    });
  });

  test("paths after -- may look like options", () => {
    expect(optionsOf("--json", "--", "--size").paths).toEqual(["--size"]);
  });

  test("objects go along with a small memory unless their size is given", () => {
    expect(optionsOf("--memory", "4MiB").objectSize).toBe(MIB / 2);
    expect(optionsOf("--memory", "4MiB", "--object-size", "4MiB").objectSize).toBe(4 * MIB);
  });

  test("help and version", () => {
    expect(parseCommand(["--help"])).toEqual({ name: "help", of: "program" });
    expect(parseCommand(["run", "-h"])).toEqual({ name: "help", of: "run" });
    expect(parseCommand(["--version"])).toEqual({ name: "version" });
  });

  test.each([
    [[], "no command is given"],
    [["walk"], '"walk" is not a command'],
    [["run", "--sizes", "1"], "unknown option --sizes"],
    [["run", "-x"], "unknown option -x"],
    [["run", "--__proto__", "1"], "unknown option --__proto__"],
    [["run", "--size"], "--size needs a value"],
    [["run", "--size="], "--size needs a value"],
    [["run", "--size", "1MiB", "--size", "2MiB"], "--size is given more than once"],
    [["run", "--json=yes"], "--json takes no value"],
    [["run", "--size", "12 parsecs"], '--size is "12 parsecs"'],
    [["run", "--size", "0"], "--size must be a whole number of bytes above 0"],
    [["run", "--object-size", "-1"], "--object-size must be"],
    [["run", "--object-size", "65MiB"], "--object-size 65MiB does not fit --memory 64MiB"],
    [["run", "--memory", "63KiB"], "--memory 63KiB is out of range"],
    [["run", "--memory", "4GiB"], "--memory 4GiB is out of range"],
    [["run", "--swap-size", "x"], '--swap-size is "x"'],
    [["run", "--accesses", "-1"], '--accesses is "-1"'],
    [["run", "--accesses", "1.5"], '--accesses is "1.5"'],
    [["run", "--accesses", "1e3"], '--accesses is "1e3"'],
    [["run", "--seed", "one"], '--seed is "one"'],
    [["run", "--interrupt", "1.1"], '--interrupt is "1.1"'],
    [["run", "--interrupt", "-0.1"], '--interrupt is "-0.1"'],
    [["run", "--interrupt", ""], "--interrupt needs a value"],
    [["run", "--swap", "tape"], '--swap is "tape"'],
    [["run", "--swap", "file:"], '--swap is "file:"'],
    [["run", "--runtime", "node,rhino"], '--runtime is "node,rhino"'],
    [["run", "--runtime", "node,"], '--runtime is "node,"'],
    [["run", ""], "is not the path of a file"],
  ])("%j is an error in one line", (argv, message) => {
    const error = errorOf(...argv);
    expect(error.message).toContain(message);
    expect(error.message).not.toContain("\n");
    expect(error.exitCode).toBe(2);
  });
});
