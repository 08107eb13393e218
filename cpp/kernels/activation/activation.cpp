#include "kernels/activation/activation.h"

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

#define RANVIER_X(name, op, cost) cost,
constexpr double kNsPerElement[] = {RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)};
#undef RANVIER_X

template <class T, class Call>
void run_lines(const Team& team, const Call& call, typename ActivationKernels<T>::Function function,
               const TensorView<const T>& x, const TensorView<const T>& dy, const TensorView<T>& y) {
  const LoopNest<3> nest(y.ndim, y.shape, {dy.strides, x.strides, y.strides});
  const double ns = kNsPerElement[static_cast<int>(call.kind)] * (sizeof(T) == 8 ? 2.5 : 1);
  const int inner = nest.ndim - 1;
  team.parallel_for(nest.size, ns * static_cast<double>(nest.size), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t* offsets) {
      function({count, x.data + offsets[1], dy.data + offsets[0], y.data + offsets[2], nest.strides[1][inner],
                nest.strides[0][inner], nest.strides[2][inner], static_cast<T>(call.alpha),
                static_cast<T>(call.beta)});
    });
  });
}

}  // namespace

template <class T>
void ActivationForward<T>::run(const Team& team, void*) const {
  run_lines(team, *this, activation_kernels<T>().forward[static_cast<int>(kind)], x, x, y);
}

template <class T>
void ActivationBackward<T>::run(const Team& team, void*) const {
  run_lines(team, *this, activation_kernels<T>().backward[static_cast<int>(kind)], saved, dy, dx);
}

RANVIER_INSTANTIATE(ActivationForward);
RANVIER_INSTANTIATE(ActivationBackward);

}  // namespace ranvier
