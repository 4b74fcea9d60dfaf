import { TtmError } from "../errors.ts";

/** No run of bad luck is that long. */
const ATTEMPTS = 1000;

/** Does what fails on purpose again until it succeeds; what fails otherwise is thrown on. */
export class Retry {
  readonly #faults: boolean;

  /** `faults`: whether faults are injected. */
  constructor(faults: boolean) {
    this.#faults = faults;
  }

  run<T>(work: () => T): T {
    for (let attempt = 1; ; attempt++) {
      try {
        return work();
      } catch (error) {
        const injected = error instanceof TtmError && error.message.includes("injected fault");
        if (!this.#faults || !injected || attempt === ATTEMPTS) throw error;
      }
    }
  }
}
