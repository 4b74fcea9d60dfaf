import { HANDLE } from "../../assembly/abi.ts";

/** True for an entry that is a page in memory: then it is its address. */
export function isPage(entry: number): boolean {
  return entry !== 0 && (entry & HANDLE) === 0;
}

/** True for an entry that is a page in swap; of the shadow of a page, that its copy in swap is valid. */
export function isHandle(entry: number): boolean {
  return (entry & HANDLE) !== 0;
}
