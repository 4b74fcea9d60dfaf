/** An error that says what it is by a code, where the library's own class would be too much to bring along. */
export function coded(code: string, message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, cause === undefined ? {} : { cause }), { code });
}
