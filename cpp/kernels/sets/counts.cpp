// How many elements have each value (bincount), and how many are in each interval (histogram).
#include <algorithm>

#include "kernels/sets/sets.h"
#include "kernels/sort/places.h"

namespace ranvier {
namespace {

constexpr int64_t kBlock = 512;  // elements whose places are found before they are counted

// Counts n places.
template <class Place>
void count_places(const Place* places, int64_t n, int64_t bins, int64_t* tables) {
  int64_t i = 0;
  if (tables_of(bins) == kTables)
    for (; i + kTables <= n; i += kTables)
      for (int t = 0; t < kTables; ++t) ++tables[t * bins + places[i + t]];
  for (; i < n; ++i) ++tables[places[i]];
}

// The place of x from the one that was computed: the edges decide.
template <class T>
int32_t place_by_edges(T x, const T* edges, int32_t bins, int32_t place) {
  while (place > 0 && x < edges[place]) --place;
  while (place + 1 < bins && x >= edges[place + 1]) ++place;
  return place;
}

}  // namespace

void join_tables(int64_t bins, int64_t* tables) {
  for (int64_t t = 1; t < tables_of(bins); ++t)
    for (int64_t k = 0; k < bins; ++k) tables[k] += tables[t * bins + k];
}

Extremes extremes_of(const int64_t* x, int64_t n) {
  constexpr int kChains = 4;  // so that a comparison need not wait for the one before it
  Extremes chains[kChains];
  for (Extremes& chain : chains) chain = {x[0], x[0]};
  const auto add = [](Extremes& range, int64_t value) {
    range.least = std::min(range.least, value);
    range.greatest = std::max(range.greatest, value);
  };
  int64_t i = 0;
  for (; i + kChains <= n; i += kChains)
    for (int chain = 0; chain < kChains; ++chain) add(chains[chain], x[i + chain]);
  for (; i < n; ++i) add(chains[0], x[i]);
  for (const Extremes& chain : chains) {
    add(chains[0], chain.least);
    add(chains[0], chain.greatest);
  }
  return chains[0];
}

void count_values(const int64_t* x, int64_t n, int64_t bins, int64_t* tables) {
  count_places(x, n, bins, tables);
}

template <class T>
void count_intervals(const T* x, int64_t n, const T* edges, int64_t bins, bool exact, int64_t* tables) {
  const T low = edges[0];
  const T high = edges[bins];
  const T count = static_cast<T>(bins);
  const T width = high - low;
  const int32_t outside = static_cast<int32_t>(bins);
  const int32_t last = outside - 1;
  int32_t places[kBlock];
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t some = std::min(kBlock, n - start);
    const T* from = x + start;
    for (int64_t i = 0; i < some; ++i) {
      const bool inside = (from[i] >= low) & (from[i] <= high);  // false for NaN
      const T at = (from[i] - low) * count / width;
      const int32_t place = static_cast<int32_t>(inside ? at : T(0));
      places[i] = inside ? std::min(place, last) : outside;
    }
    if (exact)
      for (int64_t i = 0; i < some; ++i)
        if (places[i] != outside) places[i] = place_by_edges(from[i], edges, outside, places[i]);
    count_places(places, some, bins + 1, tables);
  }
}

template <class T>
void count_between(const T* x, int64_t n, const T* edges, int64_t bins, int64_t* tables) {
  int64_t places[kBlock];  // how many edges are not greater than the element; NaN is greater than all
  for (int64_t start = 0; start < n; start += kBlock) {
    const int64_t some = std::min(kBlock, n - start);
    find_places(edges, bins + 1, x + start, some, some, /*right=*/true, places);
    for (int64_t i = 0; i < some; ++i) {
      const bool at_end = x[start + i] == edges[bins];
      const int64_t place = at_end ? bins : places[i];
      places[i] = place > 0 && place <= bins ? place - 1 : bins;
    }
    count_places(places, some, bins + 1, tables);
  }
}

template void count_between(const float*, int64_t, const float*, int64_t, int64_t*);
template void count_between(const double*, int64_t, const double*, int64_t, int64_t*);
template void count_intervals(const float*, int64_t, const float*, int64_t, bool, int64_t*);
template void count_intervals(const double*, int64_t, const double*, int64_t, bool, int64_t*);

}  // namespace ranvier
