/* workerd: prints what the suite says. */
import "../suite/index.mjs";
import { runTests } from "../check.mjs";

export default {
  async test() {
    const result = await runTests();
    console.log(JSON.stringify(result));
    if (result.failures.length > 0) throw new Error("tests failed");
  },
};
