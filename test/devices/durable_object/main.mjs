/* What `workerd test` runs first. */
import { assert } from "../../runtimes/check.mjs";
import "./tests.mjs";

export { Swapping } from "./object.mjs";

export default {
  async test(_controller, { OBJECTS }) {
    const objectOf = (name) => OBJECTS.get(OBJECTS.idFromName(name));
    const result = await objectOf("tests").run();
    console.log(JSON.stringify(result));
    if (result.failures.length > 0) throw new Error("tests failed");
    // An object that is evicted with a device open, and another whose process ends.
    for (const name of ["evicted", "left"]) await objectOf(name).leave();
    await objectOf("evicted")
      .abort()
      .catch(() => {});
    const [left = ""] = await objectOf("evicted").tables();
    assert(/^ttm_wasm_swap [1-9]/.test(left), `an evicted object has left ${left}`);
    await objectOf("evicted").again();
  },
};
