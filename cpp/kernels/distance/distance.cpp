#include "kernels/distance/distance.h"

#include <algorithm>
#include <cstring>

#include "base/without_axis.h"
#include "kernels/reduce/reduce.h"

namespace ranvier {
namespace {

double cost_ns(int64_t n) { return 15 + 0.3 * static_cast<double>(n); }  // of a line

template <class T, class Call>
DistanceLines<T> common_lines(const Call& call) {
  DistanceLines<T> lines{};
  lines.n = call.x1.shape[call.settings.axis];
  lines.eps = static_cast<T>(call.settings.eps), lines.p = static_cast<T>(call.settings.p);
  return lines;
}

}  // namespace

template <class T>
void DistanceForward<T>::run(const Team& team, void*) const {
  const DistanceLines<T> common = common_lines<T>(*this);
  const auto function = distance_kernels<T>().forward[static_cast<int>(kind)];
  const auto forward = [&](const Team&, int64_t count, const Lines<T>& to, const Lines<const T>& second,
                           const Lines<const T>& first) {
    DistanceLines<T> lines = common;
    lines.count = count, lines.x1 = first, lines.x2 = second, lines.y = to;
    function(lines);
  };
  for_lines(team, cost_ns(common.n), settings.axis, forward, y, x2, x1);
}

template <class T>
void DistanceBackward<T>::run(const Team& team, void*) const {
  const DistanceLines<T> common = common_lines<T>(*this);
  const auto function = distance_kernels<T>().backward[static_cast<int>(kind)];
  const auto backward = [&](const Team&, int64_t count, const Lines<const T>& above,
                            const Lines<const T>& first, const Lines<const T>& second, const Lines<T>& to) {
    DistanceLines<T> lines = common;
    lines.count = count, lines.x1 = first, lines.x2 = second, lines.dy = above, lines.dx = to;
    lines.of_second = of_second;
    function(lines);
  };
  for_lines(team, 2 * cost_ns(common.n), settings.axis, backward, dy, x1, x2, dx);
}

// to += the gradients of `count` pairs for p = 2: weight (x1 - x2), which needs no column of each pair. The
// weights dy / y leave the range where y is next to 0: false.
template <class T>
bool add_euclidean(const DistanceLines<T>& lines, T* weights, T* to) {
  typedef T Four __attribute__((vector_size(16)));
  constexpr int lanes = 16 / sizeof(T);
  bool fits = true;
  for (int64_t k = 0; k < lines.count; ++k) {
    fits = fits && weights[k] >= T(1e-15) && weights[k] <= T(1e15);
    weights[k] = lines.dy.data[k * lines.dy.line] / weights[k];
  }
  if (!fits || lines.x1.step != 1 || lines.x2.step != 1) return false;
  for (int64_t k = 0; k < lines.count; ++k) {
    const T *first = lines.x1.data, *second = lines.x2.data + k * lines.x2.line;
    int64_t c = 0;
    for (; c + lanes <= lines.n; c += lanes) {
      Four a, b, sum;
      std::memcpy(&a, first + c, sizeof a), std::memcpy(&b, second + c, sizeof b);
      std::memcpy(&sum, to + c, sizeof sum);
      sum += weights[k] * (a - b);
      std::memcpy(to + c, &sum, sizeof sum);
    }
    for (; c < lines.n; ++c) to[c] += weights[k] * (first[c] - second[c]);
  }
  return true;
}

template <class T>
void DistanceSums<T>::run(const Team& team, void* workspace) const {
  const int64_t m = x1.shape[1], n = x2.shape[1], d = dx.shape[2];
  const DistanceKernels<T>& kernels = distance_kernels<T>();
  constexpr int norm = static_cast<int>(Distance::pairwise_distance);
  const auto add = reduce_kernels<T>().join[static_cast<int>(ReduceOp::sum)];
  const auto row = [&](const OpenTeam& team, int64_t batch, int64_t i) {
    T* of_pairs = reinterpret_cast<T*>(static_cast<char*>(workspace) + team.index() * bytes_of_thread());
    T* distances = of_pairs + group_size();
    T* to = dx.data + (batch * m + i) * d;
    std::fill_n(to, d, T(0));
    const T* above = dy.data + batch * dy.strides[0] + i * dy.strides[1];
    DistanceLines<T> lines{};
    lines.n = d, lines.p = static_cast<T>(p);
    lines.x1 = {x1.data + batch * x1.strides[0] + i * x1.strides[1], 0, x1.strides[2]};
    for (int64_t j = 0; j < n; j += lines.count) {
      lines.count = std::min(n - j, kDistanceGroup);
      lines.x2 = {x2.data + batch * x2.strides[0] + j * x2.strides[1], x2.strides[1], x2.strides[2]};
      lines.dy = {above + j * dy.strides[2], dy.strides[2], 0};
      if (p == 2) {
        lines.dx = {}, lines.y = {distances, 1, 0};
        kernels.forward[norm](lines);
        std::fill_n(of_pairs, d, T(0));
        if (add_euclidean(lines, distances, of_pairs)) {
          add(d, to, of_pairs);
          continue;
        }
      }
      lines.dx = {of_pairs, d, 1};
      kernels.backward[norm](lines);
      for (int64_t k = 0; k < lines.count; ++k) add(d, to, of_pairs + k * d);
    }
  };
  team.parallel_for(dx.shape[0] * m, 2 * cost_ns(d) * double(dx.shape[0] * m * n),
                    [&](const OpenTeam& team, int64_t begin, int64_t end) {
                      for (int64_t i = begin; i < end && !interrupted(team); ++i) row(team, i / m, i % m);
                    });
}

RANVIER_INSTANTIATE(DistanceSums);
RANVIER_INSTANTIATE(DistanceForward);
RANVIER_INSTANTIATE(DistanceBackward);

}  // namespace ranvier
