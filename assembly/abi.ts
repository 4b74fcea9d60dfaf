/**
 * The numbers both sides of the WASM boundary agree on.
 *
 * Plain literals only: AssemblyScript compiles this file into the engine, and the TypeScript host
 * imports the very same file, so the two sides cannot drift apart.
 */

// Pages. A page is always 4 KiB here; the 64 KiB unit of WASM is called a wasm page.
export const PAGE_SHIFT = 12;
/** Bytes of a page. */
export const PAGE_SIZE = 4096;
/** Largest chunk: 2^9 pages = 2 MiB, the kernel's PMD order. */
export const MAX_ORDER = 9;
export const NR_ORDERS = 10;

// Errors, numbered as in Linux. Results of the engine below zero are negated ones.
export const EPERM = 1;
export const ENOENT = 2;
export const EINTR = 4;
export const EIO = 5;
export const EWOULDBLOCK = 11;
export const ENOMEM = 12;
export const EACCES = 13;
export const EFAULT = 14;
export const EBUSY = 16;
export const EEXIST = 17;
export const ENODEV = 19;
export const ENOTDIR = 20;
export const EISDIR = 21;
export const EINVAL = 22;
export const ENFILE = 23;
export const EMFILE = 24;
export const ENOSPC = 28;
export const EROFS = 30;
export const ENAMETOOLONG = 36;
export const ENOSYS = 38;
export const ELOOP = 40;

/*
 * An entry of a page vector, one u32:
 *
 *   31                                12 11              1  0
 *   | page number                       | 0 ........... 0  0 |   page: its address in linear memory
 *   | swap slot                                            1 |   handle: slot << 1 | 1
 *   | 0 ................................................ 0 0 |   empty: reads as zeros
 *
 * Slots count from 1, so the handle 1 (slot 0) never names content, and is no entry. Beside each entry lie its
 * shadow, of the same form (entry.ts), and the checksum of its page: one u32 each.
 */
export const ENTRY_SHIFT = 2;
/** Bytes of an entry, of a shadow, and of a checksum. */
export const ENTRY_BYTES = 4;
/** The bit that makes an entry a handle, and the shadow of a page a valid copy in swap. */
export const HANDLE = 1;
/** A slot lies in an entry this many bits up. */
export const SLOT_SHIFT = 1;
/** The shadow of a page of zeros that leaves: the handle of slot 0, which there is not. Its entry will be empty. */
export const ZERO = 1;

/** Kinds of entries, as flags: a page; one that a page is held for; neither, in swap or empty. */
export const KIND_PAGE = 1;
export const KIND_HELD = 2;
export const KIND_SWAPPED = 4;
export const KIND_EMPTY = 8;
/** All of them. */
export const KINDS = 15;

/*
 * struct page, for each frame (the kernel's has 64 bytes); fields by the byte they begin at:
 *
 *   +0  u8   order   of the chunk, in its first page
 *   +1  u8   state   TAIL (not first in a chunk) | FREE | ALLOCATED | POOLED
 *   +2  u8   caching CACHED | WRITE_COMBINED | UNCACHED, of each page
 *   +3  u8   flags   MOVING the chunk, in its first page: from a prepare, out or in, to its commit
 *                    REPORTED  a page that holds nothing: given back to the host (trim.ts)
 *   +4  u32  next    page number in a free list or a pool's, 0 = end
 *   +8  u32  prev    in a free list
 *   +12 u32  owner   vector entry that holds the chunk's first page, NONE = handed out directly
 *
 * Only the first page of a chunk has an order and a state; a tail's are zero.
 */
export const PAGE_STRUCT_SHIFT = 4;
export const PAGE_STRUCT_BYTES = 16;
export const P_ORDER = 0;
export const P_STATE = 1;
export const P_CACHING = 2;
export const P_FLAGS = 3;
export const P_NEXT = 4;
export const P_PREV = 8;
export const P_OWNER = 12;
/** States of a page. */
export const TAIL = 0;
export const FREE = 1;
export const ALLOCATED = 2;
export const POOLED = 3;
/** Flags of a page. */
export const MOVING = 1;
export const REPORTED = 2;

// Where the fixed areas lie (bytes). The header below 8192: its addresses, which are all over the code, take two
// bytes there. The compiler's static data comes between it and the items (asconfig.json).
export const HEADER = 0x1000;
export const ITEMS = 0x11000;
export const EXTENTS = 0x14000;
export const SUM_KEY = 0x1ef00;
export const FIXED_END = 0x20000;

/**
 * One item of a batch, by the u32 of each field: first entry of the vector, entries in it, first entry to
 * visit; where the prepare's walk ended; and how many of its pages the commit released.
 */
export const I_VECTOR = 0;
export const I_ENTRIES = 1;
export const I_START = 2;
export const I_NEXT = 3;
export const I_RELEASED = 4;
export const ITEM_BYTES = 20;
export const ITEMS_MAX = 512;

/**
 * One extent, by the u32 of each field: page address, first slot, pages, how many pages of the batch precede
 * it, and the entry of its first page.
 * A batch stops at the first chunk border past its budget of BATCH_PAGES_MAX pages or less, so it
 * needs at most BATCH_PAGES_MAX + 2^MAX_ORDER extents.
 */
export const X_ADDRESS = 0;
export const X_SLOT = 1;
export const X_PAGES = 2;
export const X_AT = 3;
export const X_INDEX = 4;
export const EXTENT_BYTES = 20;
export const BATCH_PAGES_MAX = 1024;
export const EXTENTS_MAX = 2240;

/**
 * The key of the checksums, random bytes: as many as a page has and two vectors more, then three u64
 * (page_bytes.ts).
 */
export const SUM_KEY_BYTES = 4152;

/** Caching of a page: write-back, write-combined, uncached (enum ttm_caching, cached first). */
export const CACHED = 0;
export const WRITE_COMBINED = 1;
export const UNCACHED = 2;

/** Why a slot is set aside: its write failed, or the store refused it as full. */
export const BAD = 1;
export const LOST = 2;
/** Slots above the last one in use that a store keeps when it gives space back. */
export const TRIM_SPARE = 256;

/** Lists of pooled chunks: one a pool type, for each order. */
export const POOL_TYPES_MAX = 36;

/*
 * How a walk treats pages, flags in one u32:
 *
 *   31   27 26 25  24 23         16 15  11 10  9           0
 *   | 0    |K |caching| pool type+1| 0    |D | orders       |
 *
 * orders: which may be allocated. D: from the DMA32 zone only. pool type: where chunks are taken
 * from and given to before the allocator, 0 none. caching: the pages'. K: pages that come keep
 * their slots.
 */
export const WALK_ORDERS = 0x3ff;
export const WALK_DMA32 = 0x400;
export const WALK_POOL_SHIFT = 16;
export const WALK_CACHING_SHIFT = 24;
export const WALK_KEEP = 0x4000000;

// Header words (u32 index from HEADER).
export const H_MAGIC = 0;
export const H_FRAMES = 1;
export const H_SLOTS = 2;
export const H_ENTRIES = 3;
/** Page number of the first page frame; pfn = address >> PAGE_SHIFT, and 0 is never a frame. */
export const H_FIRST_PFN = 4;
export const H_PAGE_TABLE = 5;
export const H_SWAP_MAP = 6;
export const H_VECTOR_MAP = 7;
export const H_ENTRY = 8;
export const H_SHADOW = 9;
export const H_SUM = 10;
/** Address of slot 1 when the swap slots lie in linear memory, else 0. */
export const H_RAM = 11;
export const H_FREE_PAGES = 12;
/** First frame that was never handed out: it and all behind it still read as zeros. */
export const H_FRESH_PFN = 13;
/** Extents written by the last prepare. */
export const H_EXTENTS = 14;
/** Length of the last run that slotAlloc returned (slots). */
export const H_RUN = 15;
/** Frames and slots handed out directly, outside any page vector. */
export const H_RAW_PAGES = 17;
export const H_RAW_SLOTS = 18;
/** Last address of all regions, rounded up to a page. */
export const H_END = 19;
/** Slots about to be freed as one run: the first, and how many. */
export const H_GIVE_SLOT = 20;
export const H_GIVE_COUNT = 21;
/** Frames about to be freed as one run: the first, and how many. */
export const H_GIVE_PFN = 22;
export const H_GIVE_FRAMES = 28;
/** Address of the bits of slots handed out directly. */
export const H_RAW_MAP = 16;
/** First pfn behind the DMA32 zone. */
export const H_DMA32_END = 23;
/** Pages in pools. */
export const H_POOLED = 24;
/** Pages whose caching was changed, and in how many runs. */
export const H_CACHING_PAGES = 25;
export const H_CACHING_RUNS = 26;
/** Pages with a valid copy in swap. */
export const H_CLEAN = 27;
/** Pages of chunks that are being moved: from a prepare, out or in, to the commit that ends it. */
export const H_MOVING = 29;
/** Frames held for entries, by a fill that is under way or one that was interrupted. */
export const H_HELD = 30;
/** Pages that the last commit of a shrink released without a slot, as they were zeros. */
export const H_ZEROS = 31;
/** Addresses of the bits of slots that the store has had a page in, and of those set aside. */
export const H_BACKED_MAP = 80;
export const H_ASIDE_MAP = 81;
/** Free and pooled frames that were handed out, and given back to the host since: they read as zeros. */
export const H_REPORTED = 82;
/** First frame of a free list, and chunks in it: for each order, the DMA32 zone first. */
export const H_FREE_HEAD = 32;
export const H_FREE_COUNT = 52;
/** Slots in use; free ones that the store has had a page in. */
export const H_SLOTS_USED = 72;
export const H_BACKED_FREE = 74;
/** Entries that are handles: pages in swap only. */
export const H_SWAPPED = 73;
/** Slots set aside: their writes failed; the store refused them as full. */
export const H_BAD = 75;
export const H_LOST = 76;
/** One past the last slot that the store has had a page in; that was set aside; where to look for those. */
export const H_SLOTS_END = 77;
export const H_ASIDE_END = 78;
export const H_ASIDE_NEXT = 79;
/** First frame of a pool list, and chunks in it: two words for each order of each type. */
export const H_POOL = 128;
export const HEADER_WORDS = 1024;

export const MAGIC = 0x54544d31;
export const NONE = 0xffffffff;

// What check() returns when an invariant does not hold.
export const CHECK_FREE_LIST = -1001;
export const CHECK_PAGE_TABLE = -1002;
export const CHECK_OWNER = -1003;
export const CHECK_PAGE_COUNT = -1004;
export const CHECK_SLOT = -1005;
export const CHECK_SLOT_COUNT = -1006;
export const CHECK_BITMAP = -1007;
export const CHECK_VECTOR = -1008;
export const CHECK_POOL = -1009;
export const CHECK_CLEAN = -1010;
export const CHECK_MOVING = -1011;
export const CHECK_HELD = -1012;
export const CHECK_ASIDE = -1013;
export const CHECK_REPORTED = -1014;

// The codec (assembly/codec), a module and a memory of its own.
/** Most pages, and bytes, of a block: offsets of LZ4 reach no further. */
export const BLOCK_PAGES = 16;
export const BLOCK_BYTES = 65536;
/** Where a block lies as it is, and where it lies compressed. */
export const CODEC_RAW = 65536;
export const CODEC_PACKED = 196608;
/** Its memory, in bytes: what is not mentioned is the codec's own, or slack that copies may run into. */
export const CODEC_BYTES = 327680;
