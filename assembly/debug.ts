/*
 * What debug builds look at on the way, and a release build contains nothing of: what a host must never do,
 * though its arguments are in order (messages that begin with "host:"; a release build refuses it or does
 * nothing), and what the engine's own state can never be. An assertion that fails traps, with a message that
 * the loader decodes.
 */

/** True in debug builds, which are given the name (asconfig.json). */
// @ts-ignore: no other build knows it
export const DEBUGGING: bool = isDefined(DEBUG);
