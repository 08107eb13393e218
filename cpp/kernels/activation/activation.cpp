// Runs activations (activation.h) through the element-wise loops, which take arrays of any strides.
#include "kernels/activation/activation.h"

#include "kernels/elementwise/loops.h"

namespace ranvier {
namespace {

using elementwise::array_of;

#define RANVIER_X(name, op, cost, ...) cost,
constexpr double kNsPerElement[] = {RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)};
#undef RANVIER_X

// What run_row() needs besides the operands: the loop of the activation, and its settings (activation.h).
template <class T>
struct Settings {
  typename ActivationKernels<T>::Function function;
  T alpha, beta;
};

// The inner loop for run_loops(): operand 0 is x (or the saved tensor), operand 1 dy.
template <class T>
void run_row(const ElementRow& r) {
  const auto& s = *static_cast<const Settings<T>*>(r.attributes);
  const T* x = static_cast<const T*>(r.x[0]);
  const T* dy = static_cast<const T*>(r.x[1]);
  T* y = static_cast<T*>(r.y);
  s.function({r.n, x, dy, y, r.step[0], r.step[1], /*stride_y=*/1, s.alpha, s.beta});
}

// y = f(x), or with dy (null in the forward) y = dy f'(x). x: in the backward the saved tensor.
template <class T, class Call>
void run_rows(const Team& team, const Call& call, typename ActivationKernels<T>::Function function,
              const TensorView<const T>& x, const TensorView<const T>* dy, const TensorView<T>& y) {
  const Settings<T> settings{function, static_cast<T>(call.alpha), static_cast<T>(call.beta)};
  const int operands = dy ? 2 : 1;
  const TensorView<const T>& second = dy ? *dy : x;  // in the forward it is not read
  const elementwise::Array arrays[] = {array_of(x), array_of(second)};
  constexpr double kTimesFloat = sizeof(T) == 8 ? 2.5 : 1;
  const double ns = kNsPerElement[static_cast<int>(call.kind)] * kTimesFloat;
  elementwise::run_loops(team, operands, arrays, y, run_row<T>, ns, &settings);
}

}  // namespace

template <class T>
void ActivationForward<T>::run(const Team& team, void*) const {
  const auto function = activation_kernels<T>().forward[static_cast<int>(kind)];
  run_rows<T>(team, *this, function, x, /*dy=*/nullptr, y);
}

template <class T>
void ActivationBackward<T>::run(const Team& team, void*) const {
  const auto function = activation_kernels<T>().backward[static_cast<int>(kind)];
  run_rows(team, *this, function, saved, &dy, dx);
}

RANVIER_INSTANTIATE(ActivationForward);
RANVIER_INSTANTIATE(ActivationBackward);

}  // namespace ranvier
