// AttentionCached (attention.h): new keys and values are copied into the cache, then each thread computes
// blocks of queries. Also CachePositions.
#include <algorithm>

#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/attention/attention.h"

namespace ranvier {
namespace {

constexpr int64_t kCachedQueries = 16;  // queries that a thread computes at a time
constexpr double kNsPerTerm = 0.05;     // the time of an element of a key or value, for one query, roughly

// The first element of the matrix of head i, counted over all sequences; x is (sequences, heads, ..., ...).
template <class T>
T* head_of(const TensorView<T>& x, int64_t i) {
  const int64_t sequence = i / x.shape[1];
  const int64_t head = i % x.shape[1];
  return x.data + sequence * x.strides[0] + head * x.strides[1];
}

// y[a, b] = x[b, a] for a < columns, b < rows of x.
template <class T>
void copy_transposed(const T* x, int64_t rows, int64_t columns, int64_t step_x, int64_t lane_x, T* y,
                     int64_t step_y) {
  for (int64_t a = 0; a < columns; ++a)
    for (int64_t b = 0; b < rows; ++b) y[a * step_y + b] = x[b * step_x + a * lane_x];
}

}  // namespace

template <class T>
void AttentionCached<T>::run(const Team& team, void*) const {
  const int64_t heads = query.shape[1];
  const int64_t all = query.shape[0] * heads;
  const int64_t l = query.shape[2];      // new queries, keys and values of each sequence
  const int64_t e = query.shape[3];      // elements of a query or key
  const int64_t d = value.shape[3];      // elements of a value
  const int64_t most = values.shape[2];  // the positions of the cache
  if (all == 0 || l == 0) return;
  // The lengths were checked, but another Python thread may change them meanwhile. The limits keep writes in
  // the memory.
  const auto first_of = [&](int64_t i) {
    const int64_t length = lengths.data[i / heads * lengths.strides[0]];
    return std::clamp<int64_t>(length, 0, most - l);
  };
  const double terms = static_cast<double>(all * l) * static_cast<double>((first_of(0) + l) * (e + d));
  team.region(kNsPerTerm * terms * (sizeof(T) / 4), [&](const OpenTeam& team) {
    team.parallel_for(all, 0, [&](int64_t i) {
      const int64_t first = first_of(i);
      T* const key_place = head_of(keys, i) + first;
      copy_transposed(head_of(key, i), l, e, key.strides[2], key.strides[3], key_place, keys.strides[2]);
      // The values keep their order: value, read as its transpose (d, l), is transposed back.
      T* const value_place = head_of(values, i) + first * values.strides[2];
      copy_transposed(head_of(value, i), d, l, value.strides[3], value.strides[2], value_place,
                      values.strides[2]);
    });
    const int64_t blocks = ceil_div(l, kCachedQueries);
    team.parallel_for(all * blocks, 0, [&](int64_t item) {
      if (interrupted(team)) return;
      const int64_t i = item / blocks;
      const int64_t row = item % blocks * kCachedQueries;
      const int64_t rows = std::min(kCachedQueries, l - row);
      const int64_t seen = first_of(i) + row + rows;  // the keys that the last of these queries sees
      const T* const queries = head_of(query, i) + row * query.strides[2];
      T* const to = head_of(y, i) + row * y.strides[2];
      // In the order of CachedQueries (attention.h).
      attention_kernels<T>().cached({rows, seen, e, d, static_cast<T>(scale), queries, query.strides[2],
                                     query.strides[3], head_of(keys, i), head_of(values, i), keys.strides[2],
                                     values.strides[2], to, y.strides[2]});
    });
    if (!advances || team.index() > 0) return;  // all have read the lengths: the loop ends in a barrier
    for (int64_t i = 0; i < lengths.shape[0]; ++i) lengths.data[i * lengths.strides[0]] += l;
  });
}

RANVIER_INSTANTIATE(AttentionCached);

void CachePositions::run(const Team& team, void*) const {
  const int64_t l = positions.shape[1];
  team.parallel_for(1, 0, [&](int64_t) {
    for (int64_t i = 0; i < numel(positions); ++i) {
      const int64_t sequence = i / l;
      positions.data[i] = lengths.data[sequence * lengths.strides[0]] + i % l;
    }
  });
}

}  // namespace ranvier
