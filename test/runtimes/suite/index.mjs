/* What runs everywhere. */
import "./buffers.mjs";
import "./debug.mjs";
import "./encrypted.mjs";
import "./errors.mjs";
import "./interrupts.mjs";
import "./kernel.mjs";
import "./pressure.mjs";
import "./salvage.mjs";
import "./streams.mjs";
