import { spawnSync } from "node:child_process";
import { mkdirSync, mkdtempSync, readdirSync, readlinkSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import process from "node:process";

/** A new folder in the temp folder, with whatever gets into it removed at the end. */
export class TempFolder implements Disposable {
  readonly path: string = mkdtempSync(join(tmpdir(), "ttm-test-"));

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    rmSync(this.path, { recursive: true, force: true });
  }
}

/** True when this process runs as root. */
export const ROOT: boolean = process.getuid?.() === 0;

/** A small file system in memory, mounted on a folder of its own: only for root, on Linux. */
export class SmallDisk implements Disposable {
  readonly #folder = new TempFolder();
  readonly path: string = this.#folder.file("disk");

  constructor(size: string) {
    mkdirSync(this.path);
    const { status } = mount("-t", "tmpfs", "-o", `size=${size}`, "none", this.path);
    if (status !== 0) throw new Error("cannot mount a small disk");
  }

  file(name: string): string {
    return join(this.path, name);
  }

  [Symbol.dispose](): void {
    spawnSync("umount", ["-l", this.path]);
    this.#folder[Symbol.dispose]();
  }
}

function mount(...args: string[]): { status: number | null } {
  return spawnSync("mount", args, { stdio: "ignore" });
}

/** Whether `SmallDisk` works here. */
export const CAN_MOUNT: boolean = canMount();

function canMount(): boolean {
  if (!ROOT || process.platform !== "linux") return false;
  try {
    using _disk = new SmallDisk("1m");
    return true;
  } catch {
    return false;
  }
}

/** Whether the system tells which files a process has open. */
export const HAS_PROC: boolean = process.platform === "linux";

/** Files this process has open, by what /proc/self/fd links to; deleted ones say so. */
export function openFiles(): { fd: number; target: string }[] {
  return readdirSync("/proc/self/fd").flatMap((name) => {
    try {
      return [{ fd: Number(name), target: readlinkSync(`/proc/self/fd/${name}`) }];
    } catch {
      return []; // the folder's own descriptor, closed by now
    }
  });
}
