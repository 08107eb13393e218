#include "kernels/softmax/softmax.h"

#include "base/parallel.h"
#include "base/without_axis.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 0.5;  // of forward, float, on one core, roughly

template <class T>
double cost_ns(int64_t elements) {
  return kNsPerElement * static_cast<double>(elements) * static_cast<double>(sizeof(T) / 4);
}

}  // namespace

template <class T>
void SoftmaxForward<T>::run(const Team& team, void*) const {
  const LoopNest<2> nest = lines_along(axis, x, y);
  const int last = nest.ndim - 1;
  const int64_t n = x.shape[axis];
  const auto function = softmax_kernels<T>().forward[log];
  team.parallel_for(nest.size, cost_ns<T>(nest.size * n), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[2]) {
      SoftmaxLines<T> lines{};
      lines.count = count, lines.n = n;
      lines.x = {x.data + offsets[0], nest.strides[0][last], x.strides[axis]};
      lines.out = {y.data + offsets[1], nest.strides[1][last], y.strides[axis]};
      function(lines);
    });
  });
}

template <class T>
void SoftmaxBackward<T>::run(const Team& team, void*) const {
  const LoopNest<3> nest = lines_along(axis, dy, y, dx);
  const int last = nest.ndim - 1;
  const int64_t n = dx.shape[axis];
  const auto function = softmax_kernels<T>().backward[log];
  team.parallel_for(nest.size, cost_ns<T>(nest.size * n), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[3]) {
      SoftmaxLines<T> lines{};
      lines.count = count, lines.n = n;
      lines.dy = {dy.data + offsets[0], nest.strides[0][last], dy.strides[axis]};
      lines.x = {y.data + offsets[1], nest.strides[1][last], y.strides[axis]};
      lines.out = {dx.data + offsets[2], nest.strides[2][last], dx.strides[axis]};
      function(lines);
    });
  });
}

RANVIER_INSTANTIATE(SoftmaxForward);
RANVIER_INSTANTIATE(SoftmaxBackward);

}  // namespace ranvier
