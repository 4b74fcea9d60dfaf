import { isFit, type Release } from "../engine/trim.ts";
import { DISCARD_UNIT, discardBy, discardMethod } from "./discard.ts";
import { findMadvise } from "./madvise.ts";

/** A means to give memory back where it lies. */
export interface InPlace {
  readonly by: string;
  readonly release: Release;
  /** Whole ones of so many bytes can be given back. */
  readonly unit: number;
}

/** Those that were found, and do what they should, by what they call. */
const found = new Map<unknown, InPlace>();

/** The means of that name, or why this host has none. What is not there is looked for again: it may be permitted by then. */
export function inPlace(means: "discard" | "madvise"): InPlace | string {
  const called = means === "discard" ? discardMethod() : means;
  const known = found.get(called);
  if (known) return known;
  const candidate = means === "discard" ? discard() : madvise();
  if (typeof candidate === "string") return candidate;
  if (!isFit(candidate.release)) return `${candidate.by} does not give zeros back`;
  found.set(called, candidate);
  return candidate;
}

function discard(): InPlace | string {
  const method = discardMethod();
  if (!method) return "this host's WebAssembly.Memory has no discard";
  return { by: "discard", release: discardBy(method), unit: DISCARD_UNIT };
}

function madvise(): InPlace | string {
  const call = findMadvise();
  if (typeof call === "string") return call;
  return { by: call.by, release: (view) => call.dontNeed(view) === 0, unit: call.pageBytes };
}
