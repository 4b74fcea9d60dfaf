/* What finds mistakes of those who use the package. An option, not a switch: only bundles that name it hold it. */
export type { MapMisuse } from "./debug/checked_mapping.ts";
export { type DebugMapsOptions, debugMaps } from "./debug/maps.ts";
