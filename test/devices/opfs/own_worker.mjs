/* A worker as users write one whose bundler or policy wants it to be theirs. */
import { serveOpfsSwap } from "ttm-wasm/swap/opfs";

serveOpfsSwap();
