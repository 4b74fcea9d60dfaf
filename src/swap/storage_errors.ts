/*
 * What stores say when they refuse, as codes of ours. Most clients throw errors without a code, and drivers
 * put the answer of the server into the message: what is known of those is here, once.
 */
import { codeOf, messageOf, TtmError, type TtmErrorCode, type TtmOperation } from "../errors.ts";

/** Codes of the network's, and names that clients give to what never got an answer. */
const UNREACHED =
  /^(?:E(?:CONN(?:REFUSED|RESET|ABORTED)|PIPE|TIMEDOUT|NOTFOUND|AI_AGAIN|HOSTUNREACH|HOSTDOWN|NETUNREACH|NETDOWN)|UND_ERR_\w+|MaxRetriesPerRequestError|ClusterAllFailedError|TimeoutError)$/;

/** Answers by what their message has, best known first. */
const ANSWERS: readonly (readonly [TtmErrorCode, RegExp])[] = [
  // Redis and those that speak as it does.
  ["ENOSPC", /\bOOM command not allowed\b/],
  ["EACCES", /\b(?:NOAUTH|NOPERM|WRONGPASS)\b/],
  ["EROFS", /\bREADONLY You can't write\b/],
  ["ENODEV", /\b(?:LOADING|MASTERDOWN|CLUSTERDOWN|TRYAGAIN)\b/],
  ["ENODEV", /Connection is closed|Stream isn't writeable|Command timed out|fetch failed/],
  // Stores behind HTTP, whose drivers tell the status in words.
  ["ENOSPC", /\b(?:507 |Insufficient Storage|QuotaExceeded|EntityTooLarge)/],
  ["EACCES", /\b(?:401 Unauthorized|403 Forbidden|AccessDenied)\b/],
];

/** The same by the status of an answer, where an error has one. */
const STATUS: Readonly<Record<number, TtmErrorCode>> = {
  401: "EACCES",
  403: "EACCES",
  413: "ENOSPC",
  507: "ENOSPC",
};

/** Errors are wrapped in errors: how many are looked at. */
const CAUSES_MAX = 8;

/** The failure of one call of a store, by what the store threw; `what` names the device and what it did. */
export function storeError(op: TtmOperation, what: string, error: unknown): TtmError {
  const code = storeCode(error);
  const away = code === "ENODEV" ? "the store cannot be reached: " : "";
  return new TtmError(code, op, `${what}: ${away}${messageOf(error)}`, error);
}

/** Our code for what a store threw. */
export function storeCode(error: unknown): TtmErrorCode {
  const known = codeOf(error);
  if (known !== "EIO") return known;
  let at = error;
  for (let i = 0; i < CAUSES_MAX && typeof at === "object" && at !== null; i++) {
    const { code, name, status, statusCode, cause } = at as Record<string, unknown>;
    if ([code, name].some((each) => UNREACHED.test(String(each)))) return "ENODEV";
    const answer = STATUS[Number(status ?? statusCode)];
    if (answer) return answer;
    const message = messageOf(at);
    const found = ANSWERS.find(([, text]) => text.test(message));
    if (found) return found[0];
    at = cause;
  }
  return "EIO";
}
