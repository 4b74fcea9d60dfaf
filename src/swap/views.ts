import type { View } from "../host_types.ts";

/** Bytes of all views together. */
export function bytesOf(views: readonly View[]): number {
  return views.reduce((sum, view) => sum + view.length, 0);
}

/** Copies the views, one after the other, to where `target` begins. */
export function gather(views: readonly View[], target: View): void {
  let at = 0;
  for (const view of views) {
    target.set(view, at);
    at += view.length;
  }
}

/** Fills the views, one after the other, with what `source` begins with. */
export function scatter(source: View, views: readonly View[]): void {
  let at = 0;
  for (const view of views) {
    view.set(source.subarray(at, at + view.length));
    at += view.length;
  }
}
