/** @throws TypeError when `options` is no object, or has a name that is not among the `known` */
export function assertOptions(options: unknown, known: readonly string[], what: string): void {
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`${what} must be an object`);
  }
  for (const name of Object.keys(options)) {
    if (known.includes(name)) continue;
    throw new TypeError(`${what} has no option ${name}; there are ${known.join(", ")}`);
  }
}
