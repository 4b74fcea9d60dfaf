import { runInNewContext } from "node:vm";
import { describe, expect, test } from "vitest";
import { codeOf, messageOf } from "../src/errors.ts";
import { createDeviceSync, TtmError, type TtmErrorCode } from "../src/index.ts";
import { contentSync, expectSame, pattern } from "./support/bytes.ts";
import { filled } from "./support/devices.ts";
import { failsSync, systemError } from "./support/errors.ts";

describe("a TtmError", () => {
  test.each<[TtmErrorCode, number]>([
    ["EPERM", -1],
    ["ENOENT", -2],
    ["EINTR", -4],
    ["EIO", -5],
    ["EWOULDBLOCK", -11],
    ["ENOMEM", -12],
    ["EACCES", -13],
    ["EFAULT", -14],
    ["EBUSY", -16],
    ["EEXIST", -17],
    ["ENODEV", -19],
    ["ENOTDIR", -20],
    ["EISDIR", -21],
    ["EINVAL", -22],
    ["ENFILE", -23],
    ["EMFILE", -24],
    ["ENOSPC", -28],
    ["EROFS", -30],
    ["ENAMETOOLONG", -36],
    ["ELOOP", -40],
  ])("%s has the number %d, as in Linux", (code, errno) => {
    const error = new TtmError(code, "shrink", "text");
    expect(error).toMatchObject({ name: "TtmError", code, errno, op: "shrink" });
    expect(error.message).toBe(`${code}: text`);
    expect(error.stack).toContain(`${code}: text`);
    expect("cause" in error).toBe(false);
  });

  test("keeps its cause, whatever that is", () => {
    for (const cause of [new Error("why"), "text", 0, null, false]) {
      expect(new TtmError("EIO", "restore", "text", cause).cause).toBe(cause);
    }
  });

  test("is an Error, and an instance of the TtmError of every copy of the package", () => {
    const error = new TtmError("EIO", "restore", "text");
    expect(error).toBeInstanceOf(Error);
    expect(error instanceof TtmError).toBe(true);
    class OtherCopy extends Error {
      static override [Symbol.hasInstance](value: unknown): boolean {
        return TtmError[Symbol.hasInstance](value);
      }
    }
    expect(error instanceof OtherCopy).toBe(true);
    const foreign = Object.defineProperty(new Error(), Symbol.for("ttm-wasm.TtmError"), {
      value: true,
    });
    expect(foreign instanceof TtmError).toBe(true);
  });

  test.each([undefined, null, 1, "EIO", {}, new Error("EIO"), systemError("EIO"), new TypeError()])(
    "is nothing else: not %s",
    (value) => {
      expect((value as unknown) instanceof TtmError).toBe(false);
    },
  );

  test("shows neither brand nor stack among its own enumerable properties", () => {
    const error = new TtmError("EIO", "restore", "text");
    expect(Object.keys(error).sort()).toEqual(["code", "errno", "name", "op"]);
  });

  test("is what expected failures throw, with the operation that failed", () => {
    using device = createDeviceSync({ memory: "64 KiB" });
    const bo = filled(device, 16, 1);
    using _mapping = bo.mapSync();
    const busy = failsSync("EBUSY", () => bo.destroy());
    expect(busy).toMatchObject({ errno: -16, op: "destroy" });
    expect(busy.message).toBe("EBUSY: cannot destroy a pinned buffer; unmap or unpin it first");
    expect(failsSync("ENOMEM", () => device.createBuffer("1 MiB")).op).toBe("create");
    expect(failsSync("ENOMEM", () => filled(device, 1, 2)).op).toBe("populate");
    expect(failsSync("EBUSY", () => device.closeSync()).op).toBe("close");
  });
});

describe("an interruption", () => {
  test("has a message but no stack: where it was noticed tells nothing", () => {
    using device = createDeviceSync({ memory: "64 KiB" });
    const bo = filled(device, 4, 1);
    const limit = Error.stackTraceLimit;
    const error = failsSync("EINTR", () => bo.shrinkSync({ signal: { aborted: true } }));
    expect(error.stack ?? "").not.toMatch(/\n +at |@/);
    expect(Error.stackTraceLimit).toBe(limit);
    expect(new Error("another").stack).toMatch(/errors\.test/);
  });

  test("whose reason is an error made on the spot leaves that its stack", () => {
    using device = createDeviceSync({ memory: "64 KiB" });
    const bo = filled(device, 4, 1);
    const signal = {
      aborted: true,
      get reason(): unknown {
        return new RangeError("reason");
      },
    };
    const { cause } = failsSync("EINTR", () => bo.shrinkSync({ signal }));
    expect((cause as Error).stack).toMatch(/errors\.test/);
  });

  test("whose reason throws leaves the stacks of others alone", () => {
    using device = createDeviceSync({ memory: "64 KiB" });
    const bo = filled(device, 4, 1);
    const signal = {
      aborted: true,
      get reason(): unknown {
        throw new RangeError("reason");
      },
    };
    expect(() => bo.shrinkSync({ signal })).toThrow();
    expect(new Error("another").stack).toMatch(/errors\.test/);
    expectSame(contentSync(bo), pattern(1, bo.size), "the buffer");
  });
});

describe("what others throw", () => {
  test.each(["ENOSPC", "ENOMEM", "EINTR", "EACCES", "EROFS"] as const)(
    "keeps its code %s",
    (code) => {
      expect(codeOf(systemError(code))).toBe(code);
      expect(codeOf({ code })).toBe(code);
      expect(codeOf(new TtmError(code, "open", "text"))).toBe(code);
    },
  );

  test.each([
    undefined,
    null,
    5,
    "ENOSPC",
    {},
    new Error("ENOSPC"),
    { code: 28 },
    { code: "ERR_INVALID_ARG_TYPE" },
    { code: "toString" },
    { code: "constructor" },
    { code: "__proto__" },
  ])("is EIO when it has no code of ours: %j", (error) => {
    expect(codeOf(error)).toBe("EIO");
  });

  const named = (name: string) => Object.assign(new Error("text"), { name });

  test.each<[TtmErrorCode, unknown]>([
    ["ENOSPC", new Error("File too large (os error 27)")],
    ["ENOSPC", new Error("Disk quota exceeded (os error 122)")],
    ["EIO", new Error("Something (os error 71)")],
    ["ENOSPC", systemError("EDQUOT")],
    ["ENOSPC", systemError("EFBIG")],
    ["ENOSPC", systemError("SQLITE_FULL")],
    ["ENOSPC", Object.assign(systemError("ERR_SQLITE_ERROR"), { errcode: 13 })],
    ["ENOSPC", new DOMException("text", "QuotaExceededError")],
    ["ENOSPC", { code: 22 }],
    ["ENOSPC", { errno: -28 }],
    ["ENOSPC", { errno: 28 }],
    ["ENOSPC", { errno: -122 }],
    ["EPERM", systemError("EPERM")],
    ["EPERM", new DOMException("text", "NotAllowedError")],
    ["EPERM", new DOMException("text", "SecurityError")],
    ["EPERM", named("NotCapable")],
    ["EPERM", named("PermissionDenied")],
    ["EPERM", systemError("ERR_ACCESS_DENIED")],
    ["EACCES", systemError("EACCES")],
    ["EROFS", new DOMException("text", "NoModificationAllowedError")],
    ["ENOENT", new DOMException("text", "NotFoundError")],
    ["ENOENT", named("NotFound")],
    ["ENODEV", systemError("ENODEV")],
    ["ENODEV", systemError("ENXIO")],
    ["ENODEV", systemError("EBADF")],
    ["ENODEV", new DOMException("text", "InvalidStateError")],
    ["EMFILE", systemError("EMFILE")],
    ["ENFILE", systemError("ENFILE")],
    ["EWOULDBLOCK", systemError("EAGAIN")],
    ["EIO", systemError("ETIMEDOUT")],
    ["EIO", new DOMException("text", "DataError")],
    ["EIO", Object.assign(systemError("ERR_SQLITE_ERROR"), { errcode: 28 })],
    ["EIO", Object.assign(systemError("SQLITE_IOERR"), { errno: 28 })],
  ])("is %s by whatever name: %s", (code, error) => {
    expect(codeOf(error)).toBe(code);
    expect(codeOf(new Error("wrapped", { cause: error }))).toBe(code);
    expect(codeOf(new Error("again", { cause: new TypeError("text", { cause: error }) }))).toBe(
      code,
    );
  });

  test("may be hostile, and is an answer nevertheless", () => {
    const bad = () => {
      throw new Error("do not look");
    };
    const traps = { get: bad, has: bad, getPrototypeOf: bad, ownKeys: bad };
    const round: { cause?: unknown } = {};
    round.cause = round;
    for (const error of [
      new Proxy({}, traps),
      new Proxy(new Error("text"), traps),
      Object.defineProperties({}, { code: { get: bad }, name: { get: bad }, cause: { get: bad } }),
      { code: Symbol("ENOSPC"), name: Symbol("x"), errno: Symbol("y"), cause: Symbol("z") },
      { code: Object.create(null), name: {}, errno: 28n, cause: () => {} },
      { errno: Number.NaN },
      Object.create(null),
      Symbol("ENOSPC"),
      () => "ENOSPC",
      28n,
      round,
    ]) {
      expect(codeOf(error)).toBe("EIO");
      expect(typeof messageOf(error)).toBe("string");
    }
    let calls = 0;
    const twoFaced = {
      get code() {
        return calls++ === 0 ? "ENOSPC" : bad();
      },
    };
    expect(codeOf(twoFaced)).toBe("ENOSPC");
  });

  test("has a message, whatever it is", () => {
    expect(messageOf(new Error("text"))).toBe("text");
    expect(messageOf("text")).toBe("text");
    expect(messageOf(undefined)).toBe("undefined");
    expect(messageOf({ toString: () => "shown" })).toBe("shown");
    expect(messageOf(runInNewContext("new RangeError('of another realm')"))).toBe(
      "of another realm",
    );
    expect(messageOf(Object.create(null))).toBe("something that cannot be shown");
  });
});
