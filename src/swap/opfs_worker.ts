/* What the worker runs that `opfsSwap` starts on a page: built as a file of its own, with all it needs. */
import { serveOpfsSwap } from "./opfs_serve.ts";

serveOpfsSwap();
