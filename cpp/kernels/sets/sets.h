// sets: equal elements as groups (unique, unique_consecutive, mode), and how many elements have a value or
// are in an interval (bincount, histogram)
//
// Elements are compared by their keys: unsigned integers with the order of the elements, made by find_keys().
// -0 and 0 have one key. All NaNs have the greatest one, kept_apart, and each of them is a group of its own.
//
// If the keys lie close together, as labels do, each has an element of a table, and one loop counts. Others
// are sorted, each beside the index of its element (kernels/sort/entries.h). The sort is stable, so that the
// results do not depend on the number of threads.
#pragma once
#include <cstddef>
#include <cstdint>

#include "base/half.h"
#include "base/views.h"

namespace ranvier {

// Keys are stored as signed integers, the types of integers that views have.
template <class Key>
struct StoredKeys;
template <>
struct StoredKeys<uint32_t> {
  using type = int32_t;
};
template <>
struct StoredKeys<uint64_t> {
  using type = int64_t;
};
template <class Key>
using StoredKey = typename StoredKeys<Key>::type;

// keys[i] = the key of x[i], for i < n: of 32 bits for elements of at most 32 bits.
template <class T, class Key>
void find_keys(const T* x, int64_t n, Key* keys);

// The groups of equal rows of `width` keys, in rising order, and for each row the number of its group. Of two
// rows, the first keys that differ decide which one comes first. A row with a NaN is a group of its own.
template <class Key>
struct Group {
  RANVIER_CALL("group", keys, first, inverse, counts, found);
  size_t workspace_bytes(int threads) const;
  bool nans_apart;                        // the greatest key is that of NaN
  int64_t width;                          // at least 1
  TensorView<const StoredKey<Key>> keys;  // (n width), contiguous, as all others
  TensorView<int64_t> first;              // (n): the index of the first row of each group
  TensorView<int64_t> inverse;            // (n), or data null
  TensorView<int64_t> counts;             // (n), or data null: the number of rows of each group
  TensorView<int64_t> found;              // (): the number of groups
};

// The mode of each row of n keys: the index of the last element of the largest group, of several the one with
// the least key.
template <class Key>
struct Mode {
  RANVIER_CALL("mode", keys, index);
  size_t workspace_bytes(int threads) const;
  bool nans_apart;
  int64_t n;                              // at least 1
  TensorView<const StoredKey<Key>> keys;  // (rows n), contiguous
  TensorView<int64_t> index;              // (rows), contiguous
};

// The runs of equal neighbours among n elements. first[k] = the index of the first element of run k, and
// inverse[i] = the run of element i, unless inverse is null. Returns the number of runs.
template <class T>
int64_t find_runs(const T* x, int64_t n, int64_t* first, int64_t* inverse);

// The least and the greatest of n >= 1 elements.
struct Extremes {
  int64_t least, greatest;
};
Extremes extremes_of(const int64_t* x, int64_t n);

// The functions below add to `tables`: kTables tables of `bins` counts if there are few bins, else one. The
// elements are counted in each of them in turn, since an addition waits for one before it to the same count.
// join_tables() adds the counts of all tables to those of the first.
constexpr int kTables = 4;
constexpr int64_t kFewBins = 1 << 11;
constexpr int64_t tables_of(int64_t bins) { return bins <= kFewBins ? kTables : 1; }
void join_tables(int64_t bins, int64_t* tables);

// Counts x[i] for each of n elements, 0 <= x[i] < bins.
void count_values(const int64_t* x, int64_t n, int64_t bins, int64_t* tables);

// Counts each of n elements in the interval from edges[k] to edges[k + 1], of which the last alone has its
// upper end; those outside in bin `bins`, so that there are bins + 1. The edges rise in equal steps; bins <
// 2^31. exact: an element belongs where the edges say; else where (x - low) bins / (high - low) says, which
// rounding may move across an edge.
template <class T>
void count_intervals(const T* x, int64_t n, const T* edges, int64_t bins, bool exact, int64_t* tables);

// The same for bins + 1 edges of which none is less than the one before. An element of several empty
// intervals belongs to the last one.
template <class T>
void count_between(const T* x, int64_t n, const T* edges, int64_t bins, int64_t* counts);

}  // namespace ranvier
