/* What `workerd test` runs in a second process, on the disk of the first. */
import { assert } from "../../runtimes/check.mjs";

export { Swapping } from "./object.mjs";

export default {
  async test(_controller, { OBJECTS }) {
    const object = OBJECTS.get(OBJECTS.idFromName("left"));
    const [left = ""] = await object.tables();
    assert(/^ttm_wasm_swap [1-9]/.test(left), `the first process has left ${left}`);
    await object.again();
  },
};
