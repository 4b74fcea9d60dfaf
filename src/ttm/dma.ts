import { PAGE_SIZE } from "../../assembly/abi.ts";
import { TtmError } from "../errors.ts";

/** Pages that a device sees at a bus address. */
export interface DmaMapping {
  /** Bus address of the first page (bytes). */
  readonly address: number;
  /** Pages side by side at that address. */
  readonly pages: number;
}

/**
 * A simulated IOMMU: hands out bus addresses, and insists that each mapping is undone once, with the
 * size it was made with (dma_map_page, dma_unmap_page).
 */
export class Iommu {
  readonly #mappings = new Map<number, number>();
  #next = 2 ** 32;

  /** Mappings alive (a count). */
  get size(): number {
    return this.#mappings.size;
  }

  /** Pages in all mappings. */
  get pages(): number {
    let pages = 0;
    for (const count of this.#mappings.values()) pages += count;
    return pages;
  }

  /** Maps `pages` pages side by side (dma_map_page). */
  map(pages: number): DmaMapping {
    const address = this.#next;
    this.#next += pages * PAGE_SIZE;
    this.#mappings.set(address, pages);
    return { address, pages };
  }

  /**
   * Undoes a mapping (dma_unmap_page).
   *
   * @throws TtmError EFAULT when there is no such mapping of that size
   */
  unmap({ address, pages }: DmaMapping): void {
    if (this.#mappings.get(address) !== pages) {
      const text = `no DMA mapping of ${pages} pages at bus address 0x${address.toString(16)}`;
      throw new TtmError("EFAULT", "destroy", text);
    }
    this.#mappings.delete(address);
  }
}
