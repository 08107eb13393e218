// elementwise: which arrays, which inner loop, how costly.
#include "kernels/elementwise/loops.h"

namespace ranvier {
namespace {

using elementwise::Array;
using elementwise::array_of;
using elementwise::Loops;

// Nanoseconds of arithmetic for one float32, beyond moving it.
double arithmetic_ns(ElementwiseOp op) {
  switch (op) {
    case ElementwiseOp::pow:
    case ElementwiseOp::pow_backward:
      return 1.0;
    case ElementwiseOp::exp:
    case ElementwiseOp::expm1:
    case ElementwiseOp::log:
    case ElementwiseOp::log1p:
    case ElementwiseOp::sin:
    case ElementwiseOp::cos:
    case ElementwiseOp::sin_backward:
    case ElementwiseOp::cos_backward:
    case ElementwiseOp::exponent_backward:
    case ElementwiseOp::glu:
    case ElementwiseOp::glu_backward:
      return 0.2;
    default:
      return 0.02;
  }
}

}  // namespace

template <class T>
void Elementwise<T>::run(void*) const {
  Array arrays[kElementOperands];
  for (int k = 0; k < operands; ++k) arrays[k] = array_of(x[k], &scalar[k]);
  Loops(operands, arrays, y, elementwise_kernels<T>().op[static_cast<int>(op)])
      .run(arithmetic_ns(op) * (sizeof(T) / sizeof(float)));
}

template <class T>
void Compare<T>::run(void*) const {
  const Array arrays[] = {array_of(x[0], &scalar[0]), array_of(x[1], &scalar[1])};
  Loops(2, arrays, y, elementwise_kernels<T>().compare[static_cast<int>(op)]).run(0.02);
}

template <class T>
void Where<T>::run(void*) const {
  const Array arrays[] = {array_of(condition), array_of(x[0], &scalar[0]), array_of(x[1], &scalar[1])};
  Loops(3, arrays, y, elementwise_kernels<T>().where).run(0.05);
}

template struct Elementwise<float>;
template struct Elementwise<double>;
template struct Compare<float>;
template struct Compare<double>;
template struct Where<float>;
template struct Where<double>;

}  // namespace ranvier
