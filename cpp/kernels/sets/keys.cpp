// The keys of elements of any dtype (sets.h), and the runs of equal neighbours.
#include <limits>
#include <type_traits>

#include "kernels/sets/sets.h"
#include "kernels/sort/entries.h"

namespace ranvier {
namespace {

template <class T>
constexpr bool is_half = std::is_same_v<T, Float16> || std::is_same_v<T, BFloat16>;

// An integer minus the least one of its type.
template <class Key, class T>
Key key_of_element(T x) {
  if constexpr (is_half<T>) {
    return key_of(static_cast<float>(x), /*descending=*/false);
  } else if constexpr (std::is_floating_point_v<T>) {
    return key_of(x, /*descending=*/false);
  } else {
    return static_cast<Key>(x) - static_cast<Key>(std::numeric_limits<T>::min());
  }
}

// Elements as values that == compares by PyTorch's rules: a NaN differs from all others, and -0 equals 0.
template <class T>
auto comparable(T x) {
  if constexpr (is_half<T>) {
    return static_cast<float>(x);
  } else {
    return x;
  }
}

}  // namespace

template <class T, class Key>
void find_keys(const T* x, int64_t n, Key* keys) {
  for (int64_t i = 0; i < n; ++i) keys[i] = key_of_element<Key>(x[i]);
}

// Each element is written as the first one of the next run. If it belongs to the run before, the next element
// overwrites it, so that no branch can be predicted wrongly.
template <class T>
int64_t find_runs(const T* x, int64_t n, int64_t* first, int64_t* inverse) {
  if (n == 0) return 0;
  int64_t run = 0;
  first[0] = 0;
  if (inverse) inverse[0] = 0;
  for (int64_t i = 1; i < n; ++i) {
    first[run + 1] = i;
    run += comparable(x[i]) != comparable(x[i - 1]);
    if (inverse) inverse[i] = run;
  }
  return run + 1;
}

#define RANVIER_KEYS(T, Key)                        \
  template void find_keys(const T*, int64_t, Key*); \
  template int64_t find_runs(const T*, int64_t, int64_t*, int64_t*)
RANVIER_KEYS(bool, uint32_t);
RANVIER_KEYS(uint8_t, uint32_t);
RANVIER_KEYS(int8_t, uint32_t);
RANVIER_KEYS(int16_t, uint32_t);
RANVIER_KEYS(uint16_t, uint32_t);
RANVIER_KEYS(int32_t, uint32_t);
RANVIER_KEYS(uint32_t, uint32_t);
RANVIER_KEYS(Float16, uint32_t);
RANVIER_KEYS(BFloat16, uint32_t);
RANVIER_KEYS(float, uint32_t);
RANVIER_KEYS(double, uint64_t);
RANVIER_KEYS(int64_t, uint64_t);
#undef RANVIER_KEYS

}  // namespace ranvier
