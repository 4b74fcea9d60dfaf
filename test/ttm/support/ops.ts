import process from "node:process";

/** Operations of a random test: `TTM_OPS`, or 10,000. */
export const OPS: number = Number(process.env.TTM_OPS ?? 10_000);

/** How long such a test may take (milliseconds), on a slow and busy machine. */
export const OPS_TIMEOUT: number = 60_000 + OPS * 20;

/** After so many operations the room for page vectors is scattered anew, so that they have to move. */
export const SCATTER_STEPS = 100;
