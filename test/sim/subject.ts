import { PAGE_SIZE } from "../../assembly/abi.ts";
import type { BufferObject, Device, Mapping } from "../../src/index.ts";
import { Content } from "./content.ts";

/** A mapping that is alive, and the bytes of its buffer that it shows. */
export interface Mapped {
  readonly mapping: Mapping;
  readonly offset: number;
  readonly length: number;
  readonly write: boolean;
}

/** Windows of fewer pages come whole. */
const PARTS_FROM = 17;

/** A buffer, and what it has to show. */
export class Subject {
  readonly device: Device;
  readonly bo: BufferObject;
  readonly content: Content;
  readonly mappings: Mapped[] = [];
  pins = 0;
  /** Maps and pins under way (a count). */
  holding = 0;
  destroyed = false;
  /** It is to be resized, or to be looked at: nothing else is asked of it. */
  resizing = false;
  /** Its pages come whole in any case. */
  readonly whole: boolean;
  /** Its pages do not leave. */
  readonly coherent: boolean;

  constructor(device: Device, bo: BufferObject, whole: boolean) {
    this.device = device;
    this.bo = bo;
    this.coherent = device.pool.coherent;
    this.whole = whole || this.coherent;
    this.content = new Content(bo.windows);
  }

  get name(): string {
    return `buffer ${this.bo.id}`;
  }

  get pages(): number {
    return Math.ceil(this.bo.size / PAGE_SIZE);
  }

  get held(): boolean {
    return this.pins + this.mappings.length + this.holding > 0;
  }

  /** Pages of its largest window. */
  get windowPages(): number {
    return this.bo.windows[0]?.pages ?? 0;
  }

  /** Whether its pages stay where they are. */
  get stays(): boolean {
    return this.held || this.coherent;
  }

  /** Frames that an operation on these bytes has to have: at the same time for one window, and for `all` of them. */
  need(offset: number, length: number, all = false): number {
    let most = 0;
    let sum = 0;
    const [first] = this.bo.windows;
    const { size } = first as { size: number };
    const last = Math.floor((offset + length - 1) / size);
    for (let i = Math.floor(offset / size); i <= last; i++) {
      const { start, pages, size: bytes } = this.bo.windows[i] as Window;
      const from = Math.max(offset - start, 0);
      const to = Math.min(offset + length - start, bytes);
      const part = Math.ceil(to / PAGE_SIZE) - Math.floor(from / PAGE_SIZE);
      const frames = this.whole || pages < PARTS_FROM ? pages : part;
      most = Math.max(most, frames);
      sum += frames;
    }
    return all ? sum : most;
  }
}

type Window = BufferObject["windows"][number];
