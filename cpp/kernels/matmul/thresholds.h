// The thresholds of matmul: the sizes at which one way to compute a product takes over from another. They
// decide no bits. With each is what was measured, or why it is so; then the processor, where it was noted,
// and the day. Xeon: Sapphire Rapids, if no other is named. More is in benchmarks/kernels/matmul.md. What is
// compiled for a level is in blocking.h.
#pragma once
#include <cstdint>

namespace ranvier {

// --- Which way: choice.cpp

// gemv.h. At AVX2 1 to 4, 7 and 8 rows take .65 to 1 times the time of tiles from a b of twice L1 on, 5 and 6
// rows .7 to 1.3 times, so from twice L2 on. 2026-11-21
constexpr int kGemvRows = 8;
// A row of c of more bytes is more than a tile: 1x393x260 takes 1.19 times as long in tiles at AVX-512,
// 1x512x512 1.11 times. Zen 5, 2026-11-29
constexpr int64_t kRowInRegisters = 512;

// Sums in an L1 of 16 KB beside b: with 64 elements on each side a plan would take as long as the product.
// 32x20x32 with bias and ReLU .89 to .57 us. AVX-512, 2026-11-21
constexpr int64_t kSmallSide = 64;
// n and k where something follows the sums, with any number of rows: 8208x12x10 takes 2.6 times as long in
// tiles, 8208x8x64 1.7, 8208x20x100 1.6, 8208x64x64 1.13 at AVX-512. Zen 5, 2026-11-29
constexpr int64_t kSmallLong = 256;
// Products of a batch by columns, or of columns that are no whole vectors: with more, tiles pack in less time
// where registers are many. 50 of 50x50x50 by columns 78 and 98 us. Zen 5, 2026-11-26
constexpr int64_t kFewProductsOfBatch = 24;
// Rows of each product of a stack: 1000 of 8x8x8 takes 1.35 times as long else. Zen 5, 2026-11-29
constexpr int64_t kStackRows = 32;
// Products of few rows by a packed b that need no plan, which took half the time of 1x64x64. 2026-11-26
constexpr int64_t kShortPacked = 1 << 17;

// Rows of a that multiply a b which is rounded where it is used, by whether it stays in L2 for the next rows.
// 13x512x512 packed took 1.8 times float32's time, and takes 1.05. Zen 5, 2026-11-26
constexpr int64_t kPassedRows = 96, kPassedTwice = 24;

// The cost of a product in either orientation, in FMAs of vectors; fitted to 90 random shapes at AVX2 and
// AVX-512. 2026-11-21
constexpr double kCostOfTile = 80;
constexpr double kCostOfTransposes = 3;  // for each product of a vector of rows, see narrow.h
constexpr double kCostOfCopy = 0.15, kCostOfTransposing = 0.45, kCostOfScattering = 2;  // of an element

// --- Threads

constexpr double kMatmulNsPerProduct = 0.012;  // one multiply-add on one core at AVX-512, roughly
constexpr double kMatmulNsPerByte = 0.008;     // the same for a byte of a and b
// Elements of b that are read from another core in the time of a line that two threads write: 128x15x652 at
// two threads and AVX2 1.3 to 1.6 times. Xeon, 2026-11-26
constexpr int64_t kLinesOfB = 80;
constexpr int64_t kFewPanels = 6;  // so few panels of a let threads split the columns of b, if each gets some
constexpr int64_t kFewPanelsInPlace = 3;  // the same if b is not packed: more panels share it better
// With this many strips of b, counted as of two vectors where they have three, threads split the columns also
// for more panels.
constexpr int64_t kSomeStrips = 4;
constexpr int64_t kManyTiles = 8;   // for each thread: then their shares are even enough
constexpr int64_t kOwn = 32 << 10;  // elements: packed as soon as half of them are got from another thread
constexpr int64_t kPieces = 4;      // parts in which threads pack a strip of b

// --- What is read in place

// Columns of tiles that read an operand of which each element is a cache line's only one.
constexpr int64_t kFewPasses = 3;
constexpr int64_t kFewPassesOfRows = 16;  // a's rows, unless they are in each other's way
// b's rows where a vector is a whole line, unless they are so: 43x141x2716 and 57x93x4000 took 1.1 to 1.2
// times as long packed, 32x1024x1024 1.6 times as long in place. Xeon, 2026-11-22
constexpr int64_t kFewPassesOfLines = 16;
constexpr int64_t kAliased = 4096;   // bytes; rows so far apart share the sets of L1, which hold few lines
constexpr int64_t kInTheWay = 1024;  // bytes; the same for a few rows
constexpr int64_t kFewPages = 64;    // pages of memory
// At AVX2, a strip of b in L1 that all panels pass: its rows are not as far apart as these bytes.
constexpr int64_t kInTheSameSets = 256;
// For more panels, packing pays from 3/4 of L1 on: 40x300x2000 took 1.1 times as long in place, 90x300x2000
// 1.28 times. Xeon, 2026-11-22
constexpr int64_t kManyPanels = 8;
constexpr int64_t kLinesOfThree = 5;  // twice the lines of a row of three vectors that is not aligned

// --- What is fetched ahead

// Bytes of a row of c, whose lines are then fetched: 2000x30x600 took 1.2 to 1.3 times as long. Xeon,
// 2026-11-22
constexpr int64_t kLongRow = 1024;
// Up to this many products in a tile its stores take most of the time: 300x6x700 and 194x4x472 took 1.35
// times as long, and with 16 products it costs a tenth. Xeon, 2026-11-22
constexpr int64_t kFewProducts = 12;
constexpr int64_t kFarApart = 2;        // times the products of rows: what is between them is not fetched
constexpr int64_t kNearProducts = 128;  // a panel of this many or fewer need not be fetched ahead of its use

// Bytes of a b by columns from L2, which few_rows.h fetches: 2x784x128 takes 1.2 times as long else,
// 1x256x1000 1.3 times. Zen 5, 2026-11-29
constexpr int64_t kBeyondL1 = int64_t{64} << 10;

// --- The size of tiles: tile_size.cpp

// Tiles of three vectors are chosen where their chains are at most this many times those of tiles of two: as
// a rule (kFewChains), where tiles of three pack b, where rows of b are aligned, so that every other strip of
// three begins within a cache line, and where a bias or an activation follows the sums. 5600x24x20 and
// 5885x81x23 took 1.2 to 1.3 times as long in tiles of two. Xeon, 2026-11-22
constexpr double kFewChains = 1.02, kPackedChains = 1.08, kAlignedChains = 0.93, kFinishedChains = 0.96;
constexpr int64_t kLeastChains = 8;  // two FMAs in each cycle, with a latency of 4
// Tiles of four vectors, where registers hold many rows of two vectors: their rows, and the most products.
// 12544x27x64 takes 1.14 times as long in tiles of two on a Zen 5, .89 on an Emerald Rapids. 2026-11-27
constexpr int kRowsOfFour = 6;
constexpr int64_t kShortChains = 96;

// --- How much is worked on at a time

constexpr int64_t kWidest = 512;     // a multiple of the columns of any tile
constexpr int kGroup = 3;            // strips that a thread packs at once at least
constexpr int64_t kTogether = 16;    // products packed for each panel in turn: a's lines have several panels
constexpr int64_t kRowsOfPairs = 8;  // rows of pairs of b that are packed in all strips at once, or a step
// Up to this many strips, one call of the kernel takes several panels: 1682x31x40 takes 1.09 times as long
// else. Zen 5, 2026-11-29
constexpr int64_t kFewStrips = 6;
// Rows, and products, between two looks for a signal. Columns are counted by int.
constexpr int64_t kSmallRows = 1024, kDotProducts = 1 << 23, kStackProducts = 1 << 26;

}  // namespace ranvier
