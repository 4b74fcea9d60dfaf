/** The engine's raw exports: integers in, integers out, negative errno (assembly/index.ts). */
export interface Exports {
  readonly memory: WebAssembly.Memory;
  memoryPages(frames: number, slots: number, entries: number, ram: number): number;
  init(frames: number, slots: number, entries: number, ram: number, dma32: number): number;
  vectorAlloc(entries: number): number;
  vectorFree(vector: number, entries: number): number;
  vectorDrop(vector: number, entries: number, flags: number): number;
  vectorPunch(vector: number, entries: number, start: number, count: number, flags: number): number;
  vectorDirty(vector: number, entries: number, start: number, count: number, keep: number): number;
  vectorCaching(vector: number, entries: number, start: number, caching: number): number;
  vectorExtents(vector: number, entries: number, start: number, count: number): number;
  vectorsPack(used: number): number;
  entriesBefore(index: number, count: number, kinds: number): number;
  entriesCount(index: number, count: number, kinds: number): number;
  fillPrepare(
    vector: number,
    entries: number,
    start: number,
    done: number,
    budget: number,
    flags: number,
    overwriteFrom: number,
    overwriteTo: number,
  ): number;
  fillCommit(
    vector: number,
    entries: number,
    start: number,
    done: number,
    covered: number,
    read: number,
    flags: number,
  ): number;
  shrinkPrepare(items: number, budget: number): number;
  shrinkCommit(items: number, moved: number): number;
  shrinkNeeds(items: number, budget: number): number;
  shrinkSaved(vector: number, entries: number, start: number, count: number): number;
  trimRun(from: number, least: number, most: number): number;
  trimRefused(pfn: number, count: number): number;
  livePages(from: number): number;
  ramTransfer(out: number, sums?: number): number;
  sumPages(pfn: number, count: number): number;
  verifyPages(pfn: number, count: number): number;
  pageCopy(to: number, from: number): number;
  pageChecksum(pfn: number): number;
  poolCount(type: number, order: number): number;
  poolShrink(type: number, order: number): number;
  allocPages(order: number): number;
  givePages(pfn: number, order: number): number;
  slotAlloc(want: number): number;
  slotFree(slot: number, count: number): number;
  slotsFree(): number;
  slotsTook(slot: number, count: number): number;
  slotsAside(slot: number, count: number, why: number): number;
  slotRetry(lost: number): number;
  slotsBack(): number;
  slotsDiscard(): number;
  slotsReach(): number;
  check(): number;
}
