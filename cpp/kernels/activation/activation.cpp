#include "kernels/activation/activation.h"

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

#define RANVIER_X(name, op, cost) cost,
constexpr double kNsPerElement[] = {RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)};
#undef RANVIER_X

double cost_ns(Activation kind, int64_t n, size_t element) {
  return kNsPerElement[static_cast<int>(kind)] * static_cast<double>(n) * (element == 8 ? 2.5 : 1);
}

template <class T>
ActivationLine<T> line_with(double alpha, double beta) {
  ActivationLine<T> line{};
  line.alpha = static_cast<T>(alpha), line.beta = static_cast<T>(beta);
  return line;
}

}  // namespace

template <class T>
void ActivationForward<T>::run(const Team& team, void*) const {
  const LoopNest<2> nest(x.ndim, x.shape, {x.strides, y.strides});
  const auto function = activation_kernels<T>().forward[static_cast<int>(kind)];
  ActivationLine<T> common = line_with<T>(alpha, beta);
  common.stride_x = nest.strides[0][nest.ndim - 1];
  common.stride_y = nest.strides[1][nest.ndim - 1];
  team.parallel_for(nest.size, cost_ns(kind, nest.size, sizeof(T)), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[2]) {
      ActivationLine<T> line = common;
      line.n = count;
      line.x = x.data + offsets[0];
      line.y = y.data + offsets[1];
      function(line);
    });
  });
}

template <class T>
void ActivationBackward<T>::run(const Team& team, void*) const {
  const LoopNest<3> nest(dx.ndim, dx.shape, {dy.strides, saved.strides, dx.strides});
  const auto function = activation_kernels<T>().backward[static_cast<int>(kind)];
  ActivationLine<T> common = line_with<T>(alpha, beta);
  common.stride_dy = nest.strides[0][nest.ndim - 1];
  common.stride_x = nest.strides[1][nest.ndim - 1];
  common.stride_y = nest.strides[2][nest.ndim - 1];
  team.parallel_for(nest.size, cost_ns(kind, nest.size, sizeof(T)), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[3]) {
      ActivationLine<T> line = common;
      line.n = count;
      line.dy = dy.data + offsets[0];
      line.x = saved.data + offsets[1];
      line.y = dx.data + offsets[2];
      function(line);
    });
  });
}

RANVIER_INSTANTIATE(ActivationForward);
RANVIER_INSTANTIATE(ActivationBackward);

}  // namespace ranvier
