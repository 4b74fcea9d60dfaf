/*
 * For authors of swap devices: the contract as tests, a device whose behaviour is scripted, and what keeps pages in
 * a store of records.
 */
export {
  PageRecords,
  type PageRecordsOptions,
  type RecordBytes,
  type RecordStore,
} from "./swap/records.ts";
export { SwapContractError, type SwapRule } from "./testing/rules.ts";
export {
  type ScriptedAnswer,
  type ScriptedCall,
  type ScriptedSwap,
  type ScriptedSwapOptions,
  scriptedSwap,
} from "./testing/scripted.ts";
export {
  checkSwapDevice,
  type SwapDeviceReport,
  type SwapDeviceTest,
  type SwapDeviceTestsOptions,
  type SwapFixture,
  swapDeviceTests,
} from "./testing/suite.ts";
