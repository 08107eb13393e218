// Sums, means and maxima of bags of rows (embedding.h). In the forward, threads divide the bags; in the
// backward, the columns of dweight.
#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <cstring>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/rows.h"

namespace ranvier {
namespace {

constexpr double kNsPerBagByte = 0.03;  // of rows in the L2 cache

// to += scale * from, for n elements. Vectors are written by hand, since this file is compiled for size.
template <class T>
void add_scaled(int64_t n, T scale, const T* from, T* to) {
  typedef T Four __attribute__((vector_size(16)));
  constexpr int lanes = 16 / sizeof(T);
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    Four a, b;
    std::memcpy(&a, from + j, sizeof a);
    std::memcpy(&b, to + j, sizeof b);
    b += scale * a;
    std::memcpy(to + j, &b, sizeof b);
  }
  for (; j < n; ++j) to[j] += scale * from[j];
}

// to += from where a equals b; if from is null, to += 1 there.
template <class T>
void add_where_equal(int64_t n, const T* a, const T* b, const T* from, T* to) {
  typedef T Four __attribute__((vector_size(16)));
  constexpr int lanes = 16 / sizeof(T);
  int64_t j = 0;
  for (; j + lanes <= n; j += lanes) {
    Four x, y, sum;
    Four more = Four{} + T(1);
    std::memcpy(&x, a + j, sizeof x);
    std::memcpy(&y, b + j, sizeof y);
    std::memcpy(&sum, to + j, sizeof sum);
    if (from) std::memcpy(&more, from + j, sizeof more);
    sum += x == y ? more : Four{};
    std::memcpy(to + j, &sum, sizeof sum);
  }
  for (; j < n; ++j) {
    const T more = from ? from[j] : T(1);
    to[j] += a[j] == b[j] ? more : T(0);
  }
}

// Bag b has the indices [begin, end). starts may change while a call runs, so they are limited to the index.
template <class Call>
void bounds(const Call& call, int64_t b, int64_t* begin, int64_t* end) {
  const int64_t count = numel(call.index);
  if (!call.starts.data) {
    *begin = b * call.index.shape[1];
    *end = *begin + call.index.shape[1];
    return;
  }
  const auto start = [&](int64_t k) {
    if (k >= call.starts.shape[0]) return count;
    return std::clamp<int64_t>(call.starts.data[k * call.starts.strides[0]], 0, count);
  };
  *begin = start(b);
  *end = std::max(*begin, start(b + 1));
}

template <class Call>
double cost_of(const Call& call, int64_t width, size_t item) {
  return double(numel(call.index)) * (4 + kNsPerBagByte * double(item) * double(width));
}

}  // namespace

template <class T>
void BagForward<T>::run(const Team& team, void*) const {
  const int64_t width = weight.shape[1];
  const int64_t count = numel(index);
  const int64_t bags = y.shape[0];
  const double cost = cost_of(*this, width, sizeof(T)) + 10.0 * double(bags);
  team.parallel_for(bags, cost, [&](const OpenTeam& team, int64_t first, int64_t last) {
    for (int64_t b = first; b < last && !interrupted(team); ++b) {
      int64_t begin, end;
      bounds(*this, b, &begin, &end);
      const T* scales = scale.data ? scale.data + begin : nullptr;
      bag_kernels<T>().bag({settings, weight.data, weight.shape[0], width, index.data + begin, end - begin,
                            /*after=*/count - end, scales, y.data + b * width});
    }
  });
}

namespace {

// Columns [first, last) of dweight, which one thread computes. So no two threads write to the same element,
// and each column is summed in the order of the bags.
template <class T>
struct Columns {
  const BagBackward<T>& call;
  int64_t first, last, rows, width;
  T* shares;        // by column: what each index of a bag gets of dy
  int64_t* picked;  // by row: how often it is picked; null if not wanted

  int64_t row(int64_t i) const { return inside(call.index.data[i], rows); }

  // For BagMode::max: adds dy to the rows that have the greatest element of a column, in equal shares.
  void add_greatest(int64_t b, int64_t begin, int64_t end) const {
    const T* y = call.y.data + b * width + first;
    const T* dy = call.dy.data + b * width;
    std::fill(shares + first, shares + last, T(0));
    for (int64_t i = begin; i < end; ++i) {  // counts the rows that share a column
      if (row(i) == call.settings.padding) continue;
      const T* weight = call.weight.data + row(i) * width + first;
      const T* ones = nullptr;
      add_where_equal(last - first, weight, y, ones, shares + first);
    }
    for (int64_t j = first; j < last; ++j) {
      const T count = std::max(shares[j], T(1));
      shares[j] = T(1) / count * dy[j];
    }
    for (int64_t i = begin; i < end; ++i) {
      if (row(i) == call.settings.padding) continue;
      const int64_t at = row(i) * width + first;
      add_where_equal(last - first, call.weight.data + at, y, shares + first, call.dweight.data + at);
    }
  }

  // For sums and means: adds dy, scaled, to the rows of the bag.
  void add_rows(int64_t b, int64_t begin, int64_t end) const {
    const T* dy = call.dy.data + b * width;
    int64_t used = 0;
    for (int64_t i = begin; i < end; ++i) used += row(i) != call.settings.padding;
    const bool mean = call.settings.mode == BagMode::mean && used > 1;
    if (mean)
      for (int64_t j = first; j < last; ++j) shares[j] = dy[j] / static_cast<T>(used);
    const T* of_row = mean ? shares : dy;  // what each row of the bag gets
    for (int64_t i = begin; i < end; ++i) {
      if (row(i) == call.settings.padding) continue;
      const T scale = call.scale.data ? call.scale.data[i] : T(1);
      add_scaled(last - first, scale, of_row + first, call.dweight.data + row(i) * width + first);
    }
  }

  // Adds the gradients by bag b. The thread with the first columns also counts the rows.
  void add(int64_t b) const {
    int64_t begin, end;
    bounds(call, b, &begin, &end);
    if (picked && first == 0)
      for (int64_t i = begin; i < end; ++i) ++picked[row(i)];
    if (call.settings.mode == BagMode::max) {
      add_greatest(b, begin, end);
    } else {
      add_rows(b, begin, end);
    }
  }
};

}  // namespace

template <class T>
void BagBackward<T>::run(const Team& team, void* workspace) const {
  const int64_t rows = weight.shape[0];
  const int64_t width = weight.shape[1];
  const int64_t bags = dy.shape[0];
  const int64_t line = kColumnBytes / int64_t(sizeof(T));
  const int64_t lines = ceil_div(width, line);
  int64_t* picked = by_frequency ? static_cast<int64_t*>(workspace) : nullptr;
  const int64_t counted = by_frequency ? rows : 0;
  T* shares = reinterpret_cast<T*>(static_cast<int64_t*>(workspace) + counted);
  const double cost = 2 * cost_of(*this, width, sizeof(T)) + kNsPerBagByte * sizeof(T) * double(width * rows);
  team.region(cost, [&](const OpenTeam& team) {
    if (dweight.data)
      team.parallel_for(rows, cost, [&](int64_t begin, int64_t end) {
        std::memset(dweight.data + begin * width, 0, sizeof(T) * static_cast<size_t>((end - begin) * width));
        if (picked) std::fill(picked + begin, picked + end, int64_t{0});
      });
    const int64_t first = team.share_begin(lines) * line;
    const int64_t last = std::min(team.share_end(lines) * line, width);
    if (dweight.data && first < last) {
      const Columns<T> columns = {*this, first, last, rows, width, shares, picked};
      for (int64_t b = 0; b < bags && !interrupted(team); ++b) columns.add(b);
    }
    team.barrier();
    if (dweight.data && picked)
      team.parallel_for(rows, cost, [&](int64_t row) {
        for (int64_t j = 0; j < width && picked[row] > 1; ++j)
          dweight.data[row * width + j] /= T(picked[row]);
      });
    if (!dscale.data) return;
    if (team.leads()) std::fill_n(dscale.data, numel(index), T(0));
    team.barrier();
    team.parallel_for(bags, cost, [&](int64_t b) {
      int64_t begin, end;
      bounds(*this, b, &begin, &end);
      for (int64_t i = begin; i < end; ++i) {
        const int64_t row = inside(index.data[i], rows);
        if (row == settings.padding) continue;
        dscale.data[i] = bag_kernels<T>().dot(width, dy.data + b * width, weight.data + row * width);
      }
    });
  });
}

RANVIER_INSTANTIATE(BagForward);
RANVIER_INSTANTIATE(BagBackward);

}  // namespace ranvier
