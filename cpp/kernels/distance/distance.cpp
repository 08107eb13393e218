// DistanceForward and DistanceBackward (distance.h): divide the lines among threads.
#include "kernels/distance/distance.h"

#include "base/without_axis.h"

namespace ranvier {
namespace {

double cost_ns(int64_t n) { return 15 + 0.3 * static_cast<double>(n); }  // of a line of n elements

// What all lines of a call share.
template <class T, class Call>
DistanceLines<T> common_lines(const Call& call) {
  DistanceLines<T> lines{};
  lines.n = call.x1.shape[call.settings.axis];
  lines.eps = static_cast<T>(call.settings.eps);
  lines.p = static_cast<T>(call.settings.p);
  return lines;
}

}  // namespace

template <class T>
void DistanceForward<T>::run(const Team& team, void*) const {
  const DistanceLines<T> common = common_lines<T>(*this);
  const auto function = distance_kernels<T>().forward[static_cast<int>(kind)];
  // for_lines() calls this for `count` lines at a time.
  const auto forward = [&](const Team&, int64_t count, const Lines<T>& to, const Lines<const T>& second,
                           const Lines<const T>& first) {
    DistanceLines<T> lines = common;
    lines.count = count;
    lines.x1 = first;
    lines.x2 = second;
    lines.y = to;
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
    lines.count = count;
    lines.x1 = first;
    lines.x2 = second;
    lines.dy = above;
    lines.dx = to;
    lines.of_second = of_second;
    function(lines);
  };
  for_lines(team, 2 * cost_ns(common.n), settings.axis, backward, dy, x1, x2, dx);
}

RANVIER_INSTANTIATE(DistanceForward);
RANVIER_INSTANTIATE(DistanceBackward);

}  // namespace ranvier
