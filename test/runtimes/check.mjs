/* As much of a test runner as runs everywhere: nothing but the language. */

const tests = [];

export function test(name, run) {
  tests.push({ name, run });
}

export function assert(condition, what) {
  if (!condition) throw new Error(what);
}

export function equal(actual, expected, what = "value") {
  if (!Object.is(actual, expected)) throw new Error(`${what} is ${actual}, not ${expected}`);
}

/** Bytes that differ from page to page and from seed to seed. */
export function pattern(seed, length) {
  const bytes = new Uint8Array(length);
  for (let i = 0; i < length; i++) bytes[i] = ((i + seed * 7919) * 2654435761) >>> 24;
  return bytes;
}

export function same(actual, expected, what = "content") {
  equal(actual.length, expected.length, `length of ${what}`);
  const at = actual.findIndex((byte, i) => byte !== expected[i]);
  if (at >= 0) throw new Error(`${what}: byte ${at} is ${actual[at]}, not ${expected[at]}`);
}

export function zeros(actual, what = "content") {
  same(actual, new Uint8Array(actual.length), what);
}

function expected(error, code, Class) {
  if (code !== undefined && error?.code === code) return error;
  if (code === undefined && error instanceof Class) return error;
  throw error;
}

/** What `run` fails with: a TtmError of this code, or an error of this class. */
export async function fails(kind, run) {
  const [code, Class] = typeof kind === "string" ? [kind] : [undefined, kind];
  let result;
  try {
    result = await run();
  } catch (error) {
    return expected(error, code, Class);
  }
  throw new Error(`${code ?? Class.name} was expected, but it returned ${result}`);
}

/** Runs what was registered, and says how it went. */
export async function runTests() {
  const failures = [];
  for (const { name, run } of tests) {
    try {
      await run();
    } catch (error) {
      // Not every stack begins with the message.
      const stack = String(error?.stack ?? "");
      failures.push(`${name}: ${stack.includes(error?.message) ? stack : `${error}\n${stack}`}`);
    }
  }
  return { tests: tests.length, failures };
}
