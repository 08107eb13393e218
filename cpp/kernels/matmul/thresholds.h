// The thresholds of matmul: the sizes at which one way to compute a product takes over from another. They do
// not affect the bits of results. The comment of each says what was measured, or why it has this value, then
// the processor, where it was noted, and the day. A product is written m x k x n. "Xeon" is a Sapphire
// Rapids. plan.h explains the words.
// benchmarks/kernels/matmul.md has more measurements; blocking.h has the constants that are compiled for each
// ISA level.
#pragma once
#include <cstdint>

namespace ranvier {

// --- Which way: choice.cpp

// The most rows of a for gemv.h. At AVX2, 1 to 4 rows take .65 to 1 times as long as tiles where b is at
// least twice L1. Beside a b in the last cache 5 to 8 rows take 1.2 to 1.6 times as long (8x1000x1000,
// 5x1000x1000), beside one from memory .4 to .8 times (5x3000x3000, 8x3000x3000). Zen 3, 2026-12-01
constexpr int kGemvRows = 8;
// Bytes. One row of c that is longer goes to gemv.h, as it has more columns than one tile: 1x393x260 takes
// 1.19 times as long in tiles at AVX-512, 1x512x512 1.11 times. Zen 5, 2026-11-29
constexpr int64_t kRowInRegisters = 512;

// Elements. The largest m, n and k of `small` (small.h): b and the sums then stay in L1, 16 KB each in
// float32, and a plan would take as long as the product. 32x20x32 with bias and ReLU fell from .89 to .57 us.
// AVX-512, 2026-11-21
constexpr int64_t kSmallSide = 64;
// The largest n and k of `small` where a bias or activation follows, with any number of rows: 8208x12x10
// takes 2.6 times as long in tiles, 8208x8x64 1.7, 8208x20x100 1.6, 8208x64x64 1.13 at AVX-512. Zen 5,
// 2026-11-29
constexpr int64_t kSmallLong = 256;
// The largest k of `small_batch` where b is contiguous along k or its columns are not whole vectors, and
// there are many registers: for larger k, tiles with a packed b take less time. 50 products of 50x50x50 with
// such a b take 78 us in tiles and 98 in small.h. Zen 5, 2026-11-26
constexpr int64_t kFewProductsOfBatch = 24;
// The most rows of each product for stack.h: 1000 of 8x8x8 take 1.35 times as long otherwise. Zen 5,
// 2026-11-29
constexpr int64_t kStackRows = 32;
// The most multiplications (m n k) of a product of few rows by a packed b that makes no plan: for 1x64x64 the
// plan took half of the time. 2026-11-26
constexpr int64_t kShortPacked = 1 << 17;

// The most rows of a by a b that is rounded to bfloat16 each time it is read: where b stays in L2 for the
// next rows, and where it does not. 13x512x512 took 1.8 times as long as float32 with a packed b, now 1.05
// times. Zen 5, 2026-11-26
constexpr int64_t kPassedRows = 96, kPassedTwice = 24;

// The estimated costs from which plan.cpp decides between c = a b and c' = b' a', in the time of one FMA of
// vectors; fitted to 90 random shapes at AVX2 and AVX-512. 2026-11-21
constexpr double kCostOfTile = 80;
constexpr double kCostOfTransposes = 3;  // for each vector of rows and each product along k, see narrow.h
// For each element that packing copies, that packing transposes, and that is stored with a stride.
constexpr double kCostOfCopy = 0.15, kCostOfTransposing = 0.45, kCostOfScattering = 2;

// --- Threads

constexpr double kMatmulNsPerProduct = 0.012;  // one multiply-add on one core at AVX-512, roughly
constexpr double kMatmulNsPerByte = 0.008;     // reading a byte of a or b, roughly
// How many elements of a packed b can be read from another core in the time that it takes to write a line of
// c that two threads share. The wrong choice took 1.3 to 1.6 times as long for 128x15x652 with two threads at
// AVX2. Xeon, 2026-11-26
constexpr int64_t kLinesOfB = 80;
constexpr int64_t kFewPanelsA = 6;  // with at most this many panels of a, the threads divide the columns of b
constexpr int64_t kFewPanelsAInPlace = 3;  // the same where b is not packed
// With at least this many panels of b, counted as panels of two vectors, the threads may divide the columns
// with more panels of a, too.
constexpr int64_t kSomePanelsB = 4;
constexpr int64_t kManyTiles = 8;  // with this many tiles for each thread, their shares are even enough
// Elements. A b of at most this size is packed by each thread for itself, in the time that it would take to
// get half of it from another core.
constexpr int64_t kOwn = 32 << 10;
constexpr int64_t kPieces = 4;  // the parts of a panel of b that different threads may pack

// --- What is read in place

// A pass is one time that an operand is read: a is read once for each panel of b, b once for each panel of a.
// Up to this many passes are read in place where a tile uses only part of each cache line.
constexpr int64_t kFewPasses = 3;
// The same for an a with contiguous rows, unless kAliased divides their distance.
constexpr int64_t kFewPassesOfRows = 16;
// The same for a b with contiguous rows at AVX-512, unless kInTheWay divides it: 43x141x2716 and 57x93x4000
// took 1.1 to 1.2 times as long packed, but 32x1024x1024 1.6 times as long in place. Xeon, 2026-11-22
constexpr int64_t kFewPassesOfLines = 16;
constexpr int64_t kAliased = 4096;   // bytes; rows that are a multiple of this apart share few sets of L1
constexpr int64_t kInTheWay = 1024;  // bytes; the same where four rows are read at once
constexpr int64_t kFewPages = 64;    // pages of memory, or operands' rows that each are on a separate page
// Bytes. At AVX2 a panel of b stays in L1 in place only if this does not divide the distance of its rows.
constexpr int64_t kInTheSameSets = 256;
// For more panels of a than this, packing pays where a panel of b takes more than 3/4 of L1: 40x300x2000
// took 1.1 times as long in place, 90x300x2000 1.28 times. Xeon, 2026-11-22
constexpr int64_t kManyPanelsA = 8;
constexpr int64_t kLinesOfThree = 5;  // twice the lines of a row of three vectors of AVX2, on average

// --- What is fetched ahead

// Bytes. Lines of c are prefetched where a row of c is at least this long: 2000x30x600 took 1.2 to 1.3 times
// as long without. Xeon, 2026-11-22
constexpr int64_t kLongRow = 1024;
// Up to this k, the stores of c take most of the time, and lines of c are prefetched: 300x6x700 and 194x4x472
// took 1.35 times as long without. With k = 16 prefetching costs a tenth. Xeon, 2026-11-22
constexpr int64_t kFewProducts = 12;
constexpr int64_t kFarApart = 2;  // rows of a further apart than this times k: the gaps are not prefetched
constexpr int64_t kNearProducts = 128;  // up to this k, a panel of a need not be prefetched a panel ahead

// Bytes. At AVX-512 few_rows.h prefetches a b that is larger than this and not larger than L2, in chunks:
// 2x784x128 takes 1.2 times as long without, 1x256x1000 1.3 times. Zen 5, 2026-11-29
constexpr int64_t kBeyondL1 = int64_t{64} << 10;

// --- The size of tiles: tile_size.cpp

// Tiles of three vectors are chosen where they need at most this many times the chains (see tile_size.cpp) of
// tiles of two. kFewChains: the general case. kPackedChains: tiles of three pack b. kAlignedChains: rows of b
// are aligned, so that every other panel of three vectors begins in the middle of a cache line.
// kFinishedChains: a bias or an activation follows the sums. 5600x24x20 and 5885x81x23 took 1.2 to 1.3 times
// as long in tiles of two. Xeon, 2026-11-22
constexpr double kFewChains = 1.02, kPackedChains = 1.08, kAlignedChains = 0.93, kFinishedChains = 0.96;
constexpr int64_t kLeastChains = 8;  // fewer leave FMAs waiting: two FMAs in each cycle, with a latency of 4
// Tiles of four vectors, at levels with many registers: their rows, and the largest k. 12544x27x64 takes 1.14
// times as long in tiles of two on a Zen 5, .89 times on an Emerald Rapids. 2026-11-27
constexpr int kRowsOfFour = 6;
constexpr int64_t kShortChains = 96;

// --- How much is worked on at a time

constexpr int64_t kWidest = 512;   // plan.nc is a multiple of this
constexpr int kFewestPanelsB = 3;  // the fewest panels of b that a thread packs at a time
// Up to this many panels of a, the tiles of a block of a packed b prefetch the next block.
constexpr int kFewPanelsOfFetchedB = 6;
// Products along k that are packed for each panel of a in turn, where a cache line of a has rows of several
// panels of a.
constexpr int64_t kTogether = 16;
// Rows of pairs (pairs.h) of b that are packed in all panels of b at a time.
constexpr int64_t kRowsOfPairs = 8;
// Up to this many panels of b, one call of the kernel runs several panels of a: 1682x31x40 takes 1.09 times
// as long otherwise. Zen 5, 2026-11-29
constexpr int64_t kFewPanelsB = 6;
// How much is computed between two checks for an interrupt: rows of `small`, multiplications of other ways.
constexpr int64_t kSmallRows = 1024, kDotProducts = 1 << 23, kStackProducts = 1 << 26;

}  // namespace ranvier
