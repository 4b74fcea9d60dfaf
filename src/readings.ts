/** What may be looked at and not be set: the fields of `source`, as they are at the time. */
export function readings<T extends object>(source: T): Readonly<T> {
  const names = Object.keys(source) as (keyof T)[];
  const get = (name: keyof T) => ({ enumerable: true, get: () => source[name] });
  const entries = names.map((name) => [name, get(name)] as const);
  return Object.freeze(Object.defineProperties({} as T, Object.fromEntries(entries)));
}
