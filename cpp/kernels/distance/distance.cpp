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
DistanceLine<T> common_line(const Call& call) {
  const int axis = call.settings.axis;
  DistanceLine<T> line{};
  line.n = call.x1.shape[axis];
  line.step1 = call.x1.strides[axis], line.step2 = call.x2.strides[axis];
  line.eps = static_cast<T>(call.settings.eps), line.p = static_cast<T>(call.settings.p);
  return line;
}

}  // namespace

template <class T>
void DistanceForward<T>::run(void*) const {
  const int axis = settings.axis;
  const WithoutAxis shape(x1.shape, x1.ndim, axis);
  const LoopNest<3> nest(
      x1.ndim - 1, shape,
      {y.strides, WithoutAxis(x2.strides, x2.ndim, axis), WithoutAxis(x1.strides, x1.ndim, axis)});
  const int last = nest.ndim - 1;
  const auto function = distance_kernels<T>().forward[static_cast<int>(kind)];
  parallel_for(nest.size, cost_ns(nest.size, x1.shape[axis]), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[3]) {
      DistanceLine<T> line = common_line<T>(*this);
      for (int64_t i = 0; i < count; ++i) {
        line.x1 = x1.data + offsets[2] + i * nest.strides[2][last];
        line.x2 = x2.data + offsets[1] + i * nest.strides[1][last];
        y.data[offsets[0] + i * nest.strides[0][last]] = function(line);
      }
    });
  });
}

template <class T>
void DistanceBackward<T>::run(void*) const {
  const int axis = settings.axis;
  const WithoutAxis shape(x1.shape, x1.ndim, axis);
  const LoopNest<4> nest(x1.ndim - 1, shape,
                         {dy.strides, WithoutAxis(x1.strides, x1.ndim, axis),
                          WithoutAxis(x2.strides, x2.ndim, axis), WithoutAxis(dx.strides, dx.ndim, axis)});
  const int last = nest.ndim - 1;
  const auto function = distance_kernels<T>().backward[static_cast<int>(kind)];
  parallel_for(nest.size, 2 * cost_ns(nest.size, x1.shape[axis]), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[4]) {
      DistanceLine<T> line = common_line<T>(*this);
      line.of_second = of_second, line.step_dx = dx.strides[axis];
      for (int64_t i = 0; i < count; ++i) {
        line.dy = dy.data[offsets[0] + i * nest.strides[0][last]];
        line.x1 = x1.data + offsets[1] + i * nest.strides[1][last];
        line.x2 = x2.data + offsets[2] + i * nest.strides[2][last];
        line.dx = dx.data + offsets[3] + i * nest.strides[3][last];
        function(line);
      }
    });
  });
}

template struct DistanceForward<float>;
template struct DistanceForward<double>;
template struct DistanceBackward<float>;
template struct DistanceBackward<double>;

}  // namespace ranvier
