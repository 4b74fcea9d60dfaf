/*
 * One buffer that is many times as large as the memory: written and read back from end to end, 1 MiB a call, with
 * every byte compared, beside bare positioned writes and reads of as many bytes. A buffer of 8 GiB goes through
 * 64 MiB; the bare file is an eighth of it, used again and again, so that both fit the page cache.
 */
import { Buffer } from "node:buffer";
import { tmpdir } from "node:os";
import { BareFile } from "../src/cli/bare.ts";
import { createDeviceSync } from "../src/index.ts";
import { fileSwap } from "../src/swap/file.ts";
import { clock, MIB, main, PAGE, QUICK, Samples } from "./harness.ts";

const MEMORY: number = (QUICK ? 8 : 64) * MIB;
const SIZE: number = 128 * MEMORY;
/** Bytes between two looks at the clock. */
const STRETCH = SIZE / 8;

/** Content of the MiB at `at`: each page says where it lies. */
function stamp(block: Uint8Array, at: number): Uint8Array {
  const words = new Float64Array(block.buffer);
  for (let page = 0; page < MIB; page += PAGE) words[page / 8] = at + page;
  return block;
}

await main("large", async (bench) => {
  const swap = fileSwap({ size: SIZE, directory: tmpdir() });
  const device = createDeviceSync({ memory: MEMORY, swap });
  const buffer = device.createBuffer(SIZE);
  buffer.advise("sequential");
  const file = new BareFile(tmpdir());
  const block = new Uint8Array(MIB);
  for (let i = 0; i < MIB; i++) block[i] = (i * 31) ^ (i >> 9);
  const target = new Uint8Array(MIB);
  let wrong = 0;
  for (const out of [true, false]) {
    let done = 0;
    /** Time of the calls alone, in the bench's unit: what is written is made, and what is read compared, beside them. */
    const ours = () => {
      let time = 0;
      for (let at = done; at < done + STRETCH; at += MIB) {
        stamp(block, at);
        const start = clock();
        if (out) buffer.writeSync(at, block);
        else buffer.readSync(at, target);
        time += clock() - start;
        if (!out && Buffer.compare(target, block) !== 0) wrong++;
      }
      done += STRETCH;
      return time;
    };
    const bare = () => {
      let time = 0;
      for (let at = 0; at < STRETCH; at += MIB) {
        stamp(block, at);
        const start = clock();
        if (out) file.write([block], undefined, at);
        else file.read([target], undefined, at);
        time += clock() - start;
      }
      return time;
    };
    const samples = new Samples();
    const phases = [[{ name: "ours", run: ours }], [{ name: "bare", run: bare }]];
    await samples.interleave(SIZE / STRETCH, phases, 0);
    const name = `${SIZE / MIB} MiB through ${MEMORY / MIB}, ${out ? "written" : "read back"}`;
    bench.row(name, samples, "ours", {
      unit: "us",
      per: (STRETCH / MIB) * 1e3,
      against: "bare",
      label: `bare ${out ? "write" : "read"} of 1 MiB`,
    });
  }
  bench.value("blocks of 1 MiB that came back wrong", [wrong], { unit: "blocks" });
  device.check();
  device.closeSync({ force: true });
  file.close();
  bench.keep("blocks of 1 MiB that came back wrong", [wrong], { atMost: 0 });
  bench.promise("reads in a row through a small memory, of bare ones", "ratio", /read back$/, {
    atLeast: 0.9,
  });
});
