// user code
import { closeSync, openSync, readSync, writeSync } from "node:fs";

/**
 * What a good engineer writes for this one workload: frames of the object's size in an arena, an exact
 * LRU list of them in typed arrays, a spill file with a place for each object. A frame whose object is
 * in the file as it is gets reused without a write.
 */
export function open({ dir, objects, objectBytes, budget, always = false }) {
  const frames = Math.floor(budget / objectBytes);
  const pages = (frames * objectBytes) / 65536;
  const { buffer } = new WebAssembly.Memory({ initial: pages, maximum: pages });
  const arena = Array.from({ length: frames }, (_, frame) => {
    return new Uint8Array(buffer, frame * objectBytes, objectBytes);
  });
  const fd = openSync(`${dir}/spill`, "w+");
  const frameOf = new Int32Array(objects).fill(-1);
  const objectIn = new Int32Array(frames).fill(-1);
  const spilled = new Uint8Array(objects);
  const next = Int32Array.from({ length: frames + 1 }, (_, i) => (i + 1) % (frames + 1));
  const prev = Int32Array.from({ length: frames + 1 }, (_, i) => (i + frames) % (frames + 1));

  /** Moves a frame to the most recently used end; entry `frames` is the ring's head. */
  function touch(frame) {
    next[prev[frame]] = next[frame];
    prev[next[frame]] = prev[frame];
    prev[frame] = prev[frames];
    next[prev[frames]] = frame;
    next[frame] = frames;
    prev[frames] = frame;
  }

  /** The least recently used frame, free for object `i`. */
  function take(i) {
    const frame = next[frames];
    const old = objectIn[frame];
    if (old >= 0) {
      if (always || !spilled[old]) writeAll(arena[frame], old * objectBytes);
      spilled[old] = 1;
      frameOf[old] = -1;
    }
    objectIn[frame] = i;
    frameOf[i] = frame;
    return frame;
  }

  function writeAll(bytes, at) {
    for (let done = 0; done < objectBytes; ) {
      done += writeSync(fd, bytes, done, objectBytes - done, at + done);
    }
  }

  function readAll(bytes, at) {
    for (let done = 0; done < objectBytes; ) {
      const n = readSync(fd, bytes, done, objectBytes - done, at + done);
      if (n === 0) throw new Error("the spill file is too short");
      done += n;
    }
  }

  return {
    put(i, bytes) {
      const frame = frameOf[i] < 0 ? take(i) : frameOf[i];
      touch(frame);
      arena[frame].set(bytes);
      spilled[i] = 0;
    },
    get(i, use) {
      let frame = frameOf[i];
      if (frame < 0) {
        frame = take(i);
        readAll(arena[frame], i * objectBytes);
      }
      touch(frame);
      use(arena[frame]);
    },
    close: () => closeSync(fd),
  };
}
// end of user code
