// Binary search in sorted rows (places.h), for several values at a time.
#include "kernels/sort/places.h"

#include <algorithm>

namespace ranvier {
namespace {

constexpr int kFew = 8;  // values that are searched for together

// The places of kFew values, none of which is NaN. A step has no branch, since its prediction would be wrong
// half of the time. All values take the same number of steps, which the CPU overlaps. At each step the place
// of values[k] is in [first[k], first[k] + n].
template <bool right, class T>
void find_few(const T* row, int64_t n, const T* values, int64_t* places) {
  const T* first[kFew];
  std::fill_n(first, kFew, row);
  const auto is_before = [](T x, T v) { return right ? x <= v : x < v; };
  for (; n > 1; n -= n / 2)
    for (int k = 0; k < kFew; ++k) {
      const T* const next = first[k] + n / 2;
      first[k] = is_before(next[-1], values[k]) ? next : first[k];
    }
  for (int k = 0; k < kFew; ++k) {
    const bool is_after = n == 1 && is_before(*first[k], values[k]);
    places[k] = first[k] - row + is_after;
  }
}

// The place of one value, which may be NaN.
template <class T>
__attribute__((noinline)) int64_t find_one(const T* row, int64_t n, T v, bool right) {
  const auto is_before = [&](T x) {
    if (v != v) return right || x == x;  // NaN is sorted behind all numbers
    return right ? x <= v : x < v;
  };
  return std::partition_point(row, row + n, is_before) - row;
}

// The places of all values: by find_few() if the next kFew values belong to one row and none is NaN, else by
// find_one().
template <bool right, class T>
void find_all(const T* row, int64_t n, const T* values, int64_t count, int64_t each, int64_t* to) {
  for (int64_t done = 0; done < count; row += n) {
    const int64_t end = done + each;
    while (done < end) {
      bool several = done + kFew <= end;
      for (int k = 0; several && k < kFew; ++k) several = values[done + k] == values[done + k];
      if (several)
        find_few<right>(row, n, values + done, to + done);
      else
        to[done] = find_one(row, n, values[done], right);
      done += several ? kFew : 1;
    }
  }
}

}  // namespace

template <class T>
void find_places(const T* row, int64_t n, const T* values, int64_t count, int64_t each, bool right,
                 int64_t* to) {
  if (right) {
    find_all<true>(row, n, values, count, each, to);
  } else {
    find_all<false>(row, n, values, count, each, to);
  }
}

#define RANVIER_PLACES(T) \
  template void find_places<T>(const T*, int64_t, const T*, int64_t, int64_t, bool, int64_t*)
RANVIER_PLACES(float);
RANVIER_PLACES(double);
RANVIER_PLACES(int64_t);

}  // namespace ranvier
