/** Does nothing: what starting a runtime costs by itself. */
export function run(): void {}
