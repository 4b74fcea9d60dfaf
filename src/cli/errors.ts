import { messageOf } from "../errors.ts";

/** Something the user has to mend; `message` is one line that says what and how. */
export class CommandError extends Error {
  override readonly name: string = "CommandError";
  readonly exitCode: number;

  constructor(message: string, exitCode = 1) {
    super(message);
    this.exitCode = exitCode;
  }
}

/** The command line itself makes no sense: exit code 2, as is the custom. */
export class UsageError extends CommandError {
  override readonly name: string = "UsageError";

  constructor(message: string) {
    super(message, 2);
  }
}

/** The system's code of an error, if it has one; the only field all runtimes agree on. */
export function systemCode(error: unknown): string | undefined {
  const code = (error as { code?: unknown } | null)?.code;
  return typeof code === "string" ? code : undefined;
}

const REASONS: Readonly<Record<string, string>> = {
  ENOENT: "no such file or folder",
  EACCES: "permission denied",
  EPERM: "permission denied",
  ENOTDIR: "a part of the path is not a folder",
  ELOOP: "too many links lead to one another",
  ENAMETOOLONG: "the name is too long",
  EMFILE: "too many files are open",
};

/** Why the system refused, in words; without the runtime's own wording, which differs. */
export function reasonOf(error: unknown): string {
  const code = systemCode(error);
  return (code && REASONS[code]) ?? firstLine(messageOf(error));
}

/** Errors are one line, whatever a runtime puts in its messages. */
export function firstLine(text: string): string {
  return text.split("\n", 1)[0] as string;
}
