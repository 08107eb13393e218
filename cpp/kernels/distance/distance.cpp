#include "kernels/distance/distance.h"

#include "base/loop_nest.h"
#include "base/parallel.h"
#include "base/without_axis.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 0.3, kNsPerLine = 15;

double cost_ns(int64_t lines, int64_t n) {
  return static_cast<double>(lines) * (kNsPerLine + kNsPerElement * static_cast<double>(n));
}

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
  const int axis = settings.axis;
  const WithoutAxis shape(x1.shape, x1.ndim, axis);
  const LoopNest<3> nest(
      x1.ndim - 1, shape,
      {y.strides, WithoutAxis(x2.strides, x2.ndim, axis), WithoutAxis(x1.strides, x1.ndim, axis)});
  const int last = nest.ndim - 1;
  const auto function = distance_kernels<T>().forward[static_cast<int>(kind)];
  team.parallel_for(nest.size, cost_ns(nest.size, x1.shape[axis]), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[3]) {
      DistanceLines<T> lines = common_lines<T>(*this);
      lines.count = count;
      lines.x1 = {x1.data + offsets[2], nest.strides[2][last], x1.strides[axis]};
      lines.x2 = {x2.data + offsets[1], nest.strides[1][last], x2.strides[axis]};
      lines.y = {y.data + offsets[0], nest.strides[0][last], 0};
      function(lines);
    });
  });
}

template <class T>
void DistanceBackward<T>::run(const Team& team, void*) const {
  const int axis = settings.axis;
  const WithoutAxis shape(x1.shape, x1.ndim, axis);
  const LoopNest<4> nest(x1.ndim - 1, shape,
                         {dy.strides, WithoutAxis(x1.strides, x1.ndim, axis),
                          WithoutAxis(x2.strides, x2.ndim, axis), WithoutAxis(dx.strides, dx.ndim, axis)});
  const int last = nest.ndim - 1;
  const auto function = distance_kernels<T>().backward[static_cast<int>(kind)];
  team.parallel_for(nest.size, 2 * cost_ns(nest.size, x1.shape[axis]), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[4]) {
      DistanceLines<T> lines = common_lines<T>(*this);
      lines.count = count, lines.of_second = of_second;
      lines.dy = {dy.data + offsets[0], nest.strides[0][last], 0};
      lines.x1 = {x1.data + offsets[1], nest.strides[1][last], x1.strides[axis]};
      lines.x2 = {x2.data + offsets[2], nest.strides[2][last], x2.strides[axis]};
      lines.dx = {dx.data + offsets[3], nest.strides[3][last], dx.strides[axis]};
      function(lines);
    });
  });
}

RANVIER_INSTANTIATE(DistanceForward);
RANVIER_INSTANTIATE(DistanceBackward);

}  // namespace ranvier
