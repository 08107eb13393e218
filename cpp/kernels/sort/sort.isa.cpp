// SortKernels::rank (sort.h): for each key of a short line the number of keys that come before it, counted
// for a vector of keys at a time.
#include "kernels/sort/sort.h"
#include "base/isa.h"

namespace ranvier::RANVIER_ISA {

// Of equal keys, the one with the smaller index comes first. So a key that equals one of the vector counts if
// its index is before the vector; it does not count if it is after it; and within the vector the lanes are
// compared.
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
    // A true comparison is -1: this turns minus the number of keys that come after into those before.
    count += Key(i);
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
