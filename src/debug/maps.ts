import type { BufferObject } from "../buffer_object.ts";
import type { Device } from "../device.ts";
import { show } from "../errors.ts";
import { afterQuietly, report } from "../host.ts";
import { type Mapping, type MapRequest, mapOptions } from "../mapping.ts";
import { assertOptions } from "../options.ts";
import { CheckedMapping, type MapMisuse } from "./checked_mapping.ts";

/** What `debug` of `createDevice` takes. */
export interface DebugOptions {
  /** Is told of each misuse. Default: it is an error that nobody caught. */
  readonly report?: (misuse: MapMisuse) => void;
}

/** Bytes of ended mappings that are watched for writes; what has been ended for longest goes first. */
const WATCHED_BYTES = 8 * 2 ** 20;
/** Milliseconds after an unmap when what is watched is looked at, if nothing else has had it looked at before. */
const LOOK_AFTER = 20;

/**
 * What makes a device find uses of views that are none, as `debug` of `createDevice` says; `undefined`: it shall not.
 *
 * @throws TypeError for options that cannot be meant
 */
export function debugMaps(debug: boolean | DebugOptions): ((device: Device) => void) | undefined {
  if (debug === false) return undefined;
  const options = debug === true ? {} : debug;
  if (typeof options !== "object" || options === null) {
    throw new TypeError(`debug must be a boolean, or an object with report, not ${show(debug)}`);
  }
  assertOptions(options, ["report"], "debug");
  const { report: tell = report } = options;
  if (typeof tell !== "function") {
    throw new TypeError(`report must be a function, not ${show(tell)}`);
  }
  return (device) => watchDevice(device, new Watch(tell));
}

/** All mappings of the devices on one memory, those that were ended included. */
class Watch {
  readonly #tell: (misuse: MapMisuse) => void;
  readonly #mapped = new Map<BufferObject, Set<CheckedMapping>>();
  /** Ended ones, the first to be ended first. */
  readonly #ended = new Set<CheckedMapping>();
  #bytes = 0;
  #stop: (() => void) | undefined;

  constructor(tell: (misuse: MapMisuse) => void) {
    this.#tell = tell;
  }

  /** What the user gets instead of a mapping of pages. */
  hold(bo: BufferObject, pages: Mapping, { write, offset }: MapRequest): Mapping {
    const mapping = new CheckedMapping(bo, pages, offset, write, this.#tell, () =>
      this.#end(mapping),
    );
    const own = this.#mapped.get(bo) ?? new Set();
    this.#mapped.set(bo, own.add(mapping));
    this.look();
    return mapping.given;
  }

  /** Brings the copies of a buffer's bytes and its pages up to date. */
  sync(bo: BufferObject): void {
    // What one of them has written the others have to see.
    const own = this.#mapped.get(bo);
    for (let round = 0; own && round < Math.min(own.size, 2); round++) {
      for (const mapping of own) mapping.sync();
    }
  }

  /** Looks for writes to what was ended. */
  look(): void {
    for (const mapping of this.#ended) if (!mapping.isPoison()) this.#forget(mapping);
  }

  /** Buffers that are gone have no mappings any more, although nobody has ended them. */
  dropGone(): void {
    for (const [bo, own] of [...this.#mapped]) {
      if (bo.destroyed) for (const mapping of [...own]) this.#end(mapping);
    }
    this.look();
  }

  #end(mapping: CheckedMapping): void {
    const { bo } = mapping;
    if (!bo.destroyed) this.sync(bo);
    mapping.end();
    const own = this.#mapped.get(bo);
    own?.delete(mapping);
    if (own?.size === 0) this.#mapped.delete(bo);
    this.look();
    this.#ended.add(mapping);
    this.#bytes += mapping.bytes;
    for (const oldest of this.#ended) {
      if (this.#bytes <= WATCHED_BYTES) break;
      this.#forget(oldest);
    }
    this.#stop?.();
    this.#stop = afterQuietly(LOOK_AFTER, () => this.look());
  }

  #forget(mapping: CheckedMapping): void {
    mapping.detach();
    this.#ended.delete(mapping);
    this.#bytes -= mapping.bytes;
  }
}

/** Puts `make(what it was)` in the place of a method. */
function override<T extends object, K extends keyof T>(
  on: T,
  name: K,
  make: (was: T[K]) => T[K],
): void {
  const was = on[name];
  const bound = (was as (...args: never[]) => unknown).bind(on) as T[K];
  const value = make(bound);
  Object.defineProperty(on, name, { value, configurable: true, writable: true });
}

function watchDevice(device: Device, watch: Watch): void {
  override(device, "createBuffer", (create) => (size, options) => {
    const bo = create(size, options);
    watchBuffer(bo, watch);
    return bo;
  });
  override(device, "createSibling", (create) => (options) => {
    const sibling = create(options);
    watchDevice(sibling, watch);
    return sibling;
  });
  override(device, "check", (check) => () => {
    watch.look();
    check();
  });
  override(device, "close", (close) => async (options) => {
    await close(options);
    watch.dropGone();
  });
  override(device, "closeSync", (close) => (options) => {
    close(options);
    watch.dropGone();
  });
}

/** Methods that see or change bytes. */
const NOW = ["readSync", "writeSync", "discardSync"] as const;
const LATER = ["read", "write", "discard"] as const;

type Call = (...args: unknown[]) => unknown;

function watchBuffer(bo: BufferObject, watch: Watch): void {
  const calls = bo as unknown as Record<(typeof NOW | typeof LATER)[number], Call>;
  for (const name of NOW) {
    override(calls, name, (was) => (...args) => {
      watch.sync(bo);
      try {
        return was(...args);
      } finally {
        watch.sync(bo);
      }
    });
  }
  for (const name of LATER) {
    override(calls, name, (was) => async (...args) => {
      watch.sync(bo);
      try {
        return await was(...args);
      } finally {
        watch.sync(bo);
      }
    });
  }
  override(bo, "mapSync", (map) => (options) => {
    bo.assertAlive();
    const asked = mapOptions(options, bo);
    watch.sync(bo);
    return watch.hold(bo, map(asked), asked);
  });
  override(bo, "map", (map) => async (options) => {
    bo.assertAlive();
    // They may be others by the time that it is mapped.
    const asked = mapOptions(options, bo);
    watch.sync(bo);
    return watch.hold(bo, await map(asked), asked);
  });
}
