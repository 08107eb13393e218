// PairDistances and PairGradients (pairs.h). Threads divide the rows: of y in the forward, which is computed
// in tiles of pairs; of dx in the backward, in blocks of kReadRows rows.
#include "kernels/distance/pairs.h"

#include <algorithm>
#include <cmath>
#include <utility>

#include "base/parallel.h"
#include "kernels/distance/distance.h"
#include "kernels/reduce/reduce.h"

namespace ranvier {
namespace {

// Rows of a block of dx: the floats of a cache line of dy, which is read by columns.
constexpr int kReadRows = 16;
constexpr int kNorm = static_cast<int>(Distance::pairwise_distance);

PairPower power_of(double p) {
  if (std::isinf(p)) return PairPower::largest;
  if (p == 0) return PairPower::zero;
  if (p == 1) return PairPower::one;
  if (p == 2) return PairPower::two;
  return PairPower::other;
}
bool in_tiles(double p) { return power_of(p) != PairPower::other; }

// The sizes of a call: m rows of x1 and n rows of x2, of d elements, for each of `batches` batch indices.
struct Counts {
  int64_t batches, m, n, d;

  template <class T>
  Counts(const TensorView<const T>& x1, const TensorView<const T>& x2)
      : batches(1), m(x1.shape[x1.ndim - 2]), n(x2.shape[x2.ndim - 2]), d(x1.shape[x1.ndim - 1]) {
    for (int axis = 0; axis < x1.ndim - 2; ++axis) batches *= x1.shape[axis];
  }
  double cost_ns(double p, bool of_one) const {
    const double share = of_one ? 0.5 : 1;  // of all pairs: those with i < j, or all
    const double pairs = double(batches) * double(m) * double(n) * share;
    const double ns_of_pair = in_tiles(p) ? 0.5 + 0.04 * double(d) : 15 + 0.3 * double(d);
    return pairs * ns_of_pair;
  }
};

// The pairs of one row of x1 with `count` rows of x2, for the loops of distance.h.
template <class T>
DistanceLines<T> lines_of(const T* x1, const T* x2, int64_t d, double p, int64_t count) {
  DistanceLines<T> lines{};
  lines.count = count;
  lines.n = d;
  lines.p = static_cast<T>(p);
  lines.x1 = {x1, 0, 1};
  lines.x2 = {x2, d, 1};
  return lines;
}

// y = the distances of a row of x1 from `count` rows of x2.
template <class T>
void single(const T* x1, const T* x2, int64_t d, double p, int64_t count, T* y) {
  DistanceLines<T> lines = lines_of(x1, x2, d, p, count);
  lines.y = {y, 1, 0};
  distance_kernels<T>().forward[kNorm](lines);
}

// PairTile::exact. Equal rows, such as a row and itself, are frequent, so they are found first.
template <class T>
T euclidean(const T* x1, const T* x2, int64_t d) {
  int64_t k = 0;
  while (k < d && x1[k] == x2[k] && std::isfinite(x1[k])) ++k;
  T y = 0;
  if (k < d) single(x1, x2, d, 2, 1, &y);
  return y;
}

}  // namespace

template <class T>
void PairDistances<T>::run(const Team& team, void*) const {
  const Counts size(x1, x2);
  const PairKernels<T>& kernels = pair_kernels<T>();
  const int64_t of_batch = of_one ? 0 : size.m * size.n;
  if (size.d == 0) std::fill_n(y.data, numel(y), T(0));
  const auto rows = [&](int64_t batch, int64_t begin, int64_t end) {
    PairTile<T> tile{};
    tile.x1 = x1.data + batch * size.m * size.d;
    tile.x2 = x2.data + batch * size.n * size.d;
    tile.y = y.data + batch * of_batch;
    tile.n = size.n;
    tile.m = size.m;
    tile.d = size.d;
    tile.power = power_of(p);
    tile.of_one = of_one;
    tile.exact = euclidean<T>;
    tile.begin = begin;
    const int64_t first = of_one ? begin + 1 : 0;
    for (int64_t j = first; j < size.n; j += kernels.columns) {
      tile.column = j;
      tile.columns = std::min<int64_t>(kernels.columns, size.n - j);
      tile.end = of_one ? std::min(end, j + tile.columns - 1) : end;
      kernels.distances(tile);
    }
  };
  const auto some = [&](const OpenTeam& team, int64_t begin, int64_t end) {
    while (begin < end && !interrupted(team)) {
      const int64_t batch = begin / size.m;
      const int64_t i = begin % size.m;
      const int64_t count = std::min(end - begin, size.m - i);
      begin += count;
      if (in_tiles(p)) {
        rows(batch, i, i + count);
        continue;
      }
      for (int64_t row = i; row < i + count; ++row) {
        const int64_t first = of_one ? row + 1 : 0;
        const T* own = x1.data + (batch * size.m + row) * size.d;
        const T* others = x2.data + (batch * size.n + first) * size.d;
        T* to = y.data + batch * of_batch + pair_row(of_one, size.n, row) + first;
        single(own, others, size.d, p, size.n - first, to);
      }
    }
  };
  team.parallel_for(size.batches * size.m, size.cost_ns(p, of_one), some);
}

namespace {

// A block of rows of dx. It sums over the rows of the other matrix, a group of kPairGroup rows at a time.
template <class T>
struct Block {
  const PairGradients<T>& call;
  const Counts& size;
  int64_t rows, columns;  // the rows of the matrix whose gradient dx is, and of the other matrix
  const T *own, *other, *dy, *y;
  T* of_pairs;  // the workspace: gradients of the pairs of a group
  PairPower power;
  PairSlopes<T> slopes;
  T distance[kReadRows][kPairGroup], weight[kReadRows][kPairGroup];

  // The index in y and dy of the pair of row i of `own` and row j of `other`.
  int64_t pair(int64_t i, int64_t j) const {
    if (call.of_one) return pair_row(true, rows, std::min(i, j)) + std::max(i, j);
    if (call.of_second) return j * size.n + i;
    return i * size.n + j;
  }

  // to[r][k] = the number in `from` (dy or y) of the pair of rows i + r of `own` and j + k of `other`, for
  // r < count and k < group.
  void read(const T* from, int64_t i, int64_t count, int64_t j, int64_t group, T (*to)[kPairGroup]) const {
    // Numbers of pairs (j + k, i + r), in the order of memory.
    for (int64_t k = 0; k < group && (call.of_one || call.of_second); ++k) {
      const T* line = from + pair_row(call.of_one, size.n, j + k) + i;
      int64_t first = 0;  // with of_one, only pairs j + k < i + r exist
      if (call.of_one) first = std::max<int64_t>(0, j + k + 1 - i);
      for (int64_t r = first; r < count; ++r) to[r][k] = line[r];
    }
    if (call.of_second) return;
    for (int64_t r = 0; r < count; ++r) {
      // The first k whose pair (i + r, j + k) is in `from`: with of_one those with i + r < j + k. A row and
      // itself have the distance 0.
      int64_t first = 0;
      if (call.of_one) first = std::clamp<int64_t>(i + r - j, 0, group);
      if (call.of_one && first < group && i + r == j + first) {
        to[r][first] = 0;
        ++first;
      }
      const T* line = from + pair_row(call.of_one, size.n, i + r) + j;
      std::copy_n(line + first, group - first, to[r] + first);
    }
  }

  // Adds the gradients of row i by `count` rows of `other` from j on, by the loops of distance.h.
  void add_single(int64_t i, int64_t j, int64_t count, T* to) const {
    if (count <= 0) return;
    const auto add = reduce_kernels<T>().join[static_cast<int>(ReduceOp::sum)];
    T above[kPairGroup];
    for (int64_t k = 0; k < count; ++k) above[k] = dy[pair(i, j + k)];
    DistanceLines<T> lines = lines_of(own + i * size.d, other + j * size.d, size.d, call.p, count);
    lines.dy = {above, 1, 0};
    lines.dx = {of_pairs, size.d, 1};
    distance_kernels<T>().backward[kNorm](lines);
    for (int64_t k = 0; k < count; ++k) add(size.d, to, of_pairs + k * size.d);
  }

  // Computes rows [i, i + count) of dx, count <= kReadRows.
  void run(int64_t i, int64_t count, T* dx) {
    slopes.d = size.d;
    slopes.power = power;
    std::fill_n(dx, count * size.d, T(0));
    if (power == PairPower::zero) return;  // the number of differing elements has no gradient
    for (int64_t j = 0; j < columns; j += kPairGroup) {
      const int64_t group = std::min(kPairGroup, columns - j);
      if (power != PairPower::other) read(dy, i, count, j, group, weight);
      if (power == PairPower::two || power == PairPower::largest) read(y, i, count, j, group, distance);
      for (int64_t r = 0; r < count; r += kPairRows)
        add(i, r, std::min<int64_t>(kPairRows, count - r), j, group, dx);
    }
  }

  // Adds to rows [i + first, i + first + count) of dx, count <= kPairRows, the gradients by one group.
  void add(int64_t i, int64_t first, int64_t count, int64_t j, int64_t group, T* dx) {
    bool tiled = false;
    slopes.distance = distance + first;
    slopes.weight = weight + first;
    for (int64_t r = 0; r < kPairRows; ++r) {
      const int64_t place = r < count ? first + r : first;
      const int64_t row = i + place;
      slopes.x1[r] = own + row * size.d;
      slopes.to[r] = nullptr;
      if (r >= count || (call.of_one && group == 1 && row == j)) continue;  // no row, or only the row itself
      T* to = dx + place * size.d;
      bool in_tile = power != PairPower::other;
      if (power == PairPower::two) in_tile = pair_kernels<T>().weights(group, distance[place], weight[place]);
      if (in_tile) {
        slopes.to[r] = to;
        tiled = true;
        continue;
      }
      const bool self = call.of_one && j <= row && row < j + group;
      const int64_t before = self ? row - j : group;
      add_single(row, j, before, to);
      add_single(row, j + before + 1, group - before - 1, to);
    }
    if (!tiled) return;
    slopes.x2 = other + j * size.d;
    slopes.count = group;
    if (power == PairPower::largest) pair_kernels<T>().share(slopes, weight + first);
    pair_kernels<T>().slopes(slopes);
  }
};

}  // namespace

template <class T>
void PairGradients<T>::run(const Team& team, void* workspace) const {
  const Counts size(x1, x2);
  const int64_t rows = of_second ? size.n : size.m;
  const int64_t of_batch = of_one ? 0 : size.m * size.n;
  const int64_t blocks = (rows + kReadRows - 1) / kReadRows;
  const auto some = [&](const OpenTeam& team, int64_t begin, int64_t end) {
    T* of_pairs = reinterpret_cast<T*>(static_cast<char*>(workspace) + team.index() * bytes_of_thread());
    for (int64_t k = begin; k < end && !interrupted(team); ++k) {
      const int64_t batch = k / blocks;
      const int64_t i = k % blocks * kReadRows;
      const T* own = x1.data + batch * size.m * size.d;
      const T* other = x2.data + batch * size.n * size.d;
      if (of_second) std::swap(own, other);
      const int64_t columns = of_second ? size.m : size.n;
      const T* dy_of_batch = dy.data + batch * of_batch;
      const T* y_of_batch = y.data + batch * of_batch;
      Block<T> block{*this,      size,     rows,        columns, own, other, dy_of_batch,
                     y_of_batch, of_pairs, power_of(p), {},      {},  {}};
      block.run(i, std::min<int64_t>(kReadRows, rows - i), dx.data + (batch * rows + i) * size.d);
    }
  };
  const double passes = of_one ? 2 : 1;                // with of_one, each pair adds to two rows
  const double times_forward = in_tiles(p) ? 1.5 : 2;  // of a pass
  const double cost = passes * size.cost_ns(p, of_one) * times_forward;
  team.parallel_for(size.batches * blocks, cost, some);
}

RANVIER_INSTANTIATE(PairDistances);
RANVIER_INSTANTIATE(PairGradients);

}  // namespace ranvier
