/*
 * LZ4 blocks (github.com/lz4/lz4, doc/lz4_Block_format.md), for compressed swap: a module of its own, which only
 * who swaps to compressed memory loads. No argument is an address, and it has a memory of its own, so nothing that it is
 * given can make it touch a page of anybody: a page goes in and out by a copy, a fortieth of what compressing it takes.
 *
 *   0        offsets: for each below 16 a vector that repeats so many bytes
 *   256      state
 *   4 KiB    table: where sequences of four bytes were seen last
 *   64 KiB   CODEC_RAW, a block as it is, and slack: copies go by 16 bytes, and end up to 16 beyond
 *   192 KiB  CODEC_PACKED, the same, compressed, and slack
 */
export { compress } from "./compress";
export { decompress } from "./decompress";
export { repeated } from "./repeated";
