// How many elements have each value (bincount), and how many are in each of some equal intervals (histogram).
#include <algorithm>

#include "kernels/sets/sets.h"
#include "kernels/sort/places.h"

namespace ranvier {

Extremes extremes_of(const int64_t* x, int64_t n) {
  Extremes range{x[0], x[0]};
  for (int64_t i = 1; i < n; ++i) {
    range.least = std::min(range.least, x[i]);
    range.greatest = std::max(range.greatest, x[i]);
  }
  return range;
}

void count_values(const int64_t* x, int64_t n, int64_t bins, int64_t* counts, int64_t* scratch) {
  if (bins > kFewBins) {
    for (int64_t i = 0; i < n; ++i) ++counts[x[i]];
    return;
  }
  std::fill_n(scratch, kTables * bins, 0);
  int64_t i = 0;
  for (; i + kTables <= n; i += kTables)
    for (int t = 0; t < kTables; ++t) ++scratch[t * bins + x[i + t]];
  for (; i < n; ++i) ++scratch[x[i]];
  for (int t = 0; t < kTables; ++t)
    for (int64_t k = 0; k < bins; ++k) counts[k] += scratch[t * bins + k];
}

template <class T>
void count_intervals(const T* x, int64_t n, const T* edges, int64_t bins, bool exact, int64_t* counts) {
  constexpr int64_t kBlock = 512;
  const T low = edges[0];
  const T high = edges[bins];
  const T count = static_cast<T>(bins);
  const T width = high - low;
  int64_t places[kBlock];
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t some = std::min(kBlock, n - start);
    int64_t used = 0;
    for (int64_t i = start; i < start + some; ++i) {
      const bool inside = x[i] >= low && x[i] <= high;  // false for NaN
      const T at = inside ? (x[i] - low) * count / width : T(0);
      places[used] = std::min(static_cast<int64_t>(at), bins - 1);
      if (exact && inside) {
        int64_t& place = places[used];
        while (place > 0 && x[i] < edges[place]) --place;
        while (place + 1 < bins && x[i] >= edges[place + 1]) ++place;
      }
      used += inside;
    }
    for (int64_t i = 0; i < used; ++i) ++counts[places[i]];
  }
}

template <class T>
void count_between(const T* x, int64_t n, const T* edges, int64_t bins, int64_t* counts) {
  constexpr int64_t kBlock = 512;
  int64_t places[kBlock];  // how many edges are not greater than the element; NaN is greater than all
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t some = std::min(kBlock, n - start);
    find_places(edges, bins + 1, x + start, some, some, /*right=*/true, places);
    for (int64_t i = 0; i < some; ++i) {
      const bool at_end = x[start + i] == edges[bins];
      const int64_t place = at_end ? bins : places[i];
      if (place > 0 && place <= bins) ++counts[place - 1];
    }
  }
}

template void count_between(const float*, int64_t, const float*, int64_t, int64_t*);
template void count_between(const double*, int64_t, const double*, int64_t, int64_t*);
template void count_intervals(const float*, int64_t, const float*, int64_t, bool, int64_t*);
template void count_intervals(const double*, int64_t, const double*, int64_t, bool, int64_t*);

}  // namespace ranvier
