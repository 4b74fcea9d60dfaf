/* A page: its title is what the suite says. */
import "../suite/index.mjs";
import { runTests } from "../check.mjs";

document.title = JSON.stringify(await runTests());
