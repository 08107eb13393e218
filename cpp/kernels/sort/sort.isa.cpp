// Ranks of short lines: how many elements come before each, counted for a vector of elements at a time.
#include "kernels/sort/sort.h"
#include "base/isa.h"

namespace ranvier::RANVIER_ISA {

// A rank is how many keys come before a key; of equal keys the first one does. So equal keys count if they
// are before a vector, not if they are after it, and within it by their places.
template <class T>
static void rank(int64_t n, const typename SortKeys<T>::Key* keys, typename SortKeys<T>::Key* ranks) {
  using Key = typename SortKeys<T>::Key;
  constexpr int kLanes = RANVIER_VECTOR_BYTES / sizeof(Key);  // at most kRanked
  typedef Key Vector __attribute__((vector_size(RANVIER_VECTOR_BYTES)));
  Vector lane;
  for (int l = 0; l < kLanes; ++l) lane[l] = l;
  for (int64_t i = 0; i < n; i += kLanes) {
    Vector own, count = {};
    __builtin_memcpy(&own, keys + i, sizeof own);
    for (int64_t j = 0; j < i; ++j) count += own < keys[j];
    count += Key(i);  // it has counted, as -1, those that come after
    for (int64_t j = i; j < i + kLanes; ++j)
      count -= (own > keys[j]) | ((own == keys[j]) & (lane > Key(j - i)));
    for (int64_t j = i + kLanes; j < n; ++j) count -= own > keys[j];
    __builtin_memcpy(ranks + i, &count, sizeof count);
  }
}

template <class T>
static constexpr SortKernels<T> sort_table = {rank<T>};

RANVIER_DEFINE_TABLES(SortKernels, sort_kernels, sort_table);

}  // namespace ranvier::RANVIER_ISA
