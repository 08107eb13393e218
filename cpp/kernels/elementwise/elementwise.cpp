// elementwise: chooses for each call its arrays, its inner loop and an estimate of its cost, and gives them
// to run_loops() (loops.h).
#include "kernels/elementwise/loops.h"

namespace ranvier {
namespace {

using elementwise::Array;
using elementwise::array_of;
using elementwise::run_loops;

// The third column of ops.h.
#define RANVIER_X(name, parameters, nanoseconds, ...) nanoseconds,
constexpr double kArithmeticNs[] = {RANVIER_ELEMENTWISE_OPS(RANVIER_X) RANVIER_POWER_OPS(RANVIER_X)};
#undef RANVIER_X

// The op that computes pow(x, exponent) for one number as exponent: a product or a root, if there is one. The
// result may differ in its last bit from pow with an array of exponents.
ElementwiseOp power_of(double exponent) {
  if (exponent == 2) return ElementwiseOp::square;
  if (exponent == 3) return ElementwiseOp::cube;
  if (exponent == 0.5) return ElementwiseOp::pow_half;
  if (exponent == -1) return ElementwiseOp::reciprocal;
  if (exponent == -0.5) return ElementwiseOp::pow_minus_half;
  if (exponent == -2) return ElementwiseOp::pow_minus_2;
  return ElementwiseOp::pow;
}

// The loop for rows of 16-bit floats, if y and all operands are stored alike and the op has one; else null.
ElementwiseFunction row_of_halves(ElementwiseOp op, int operands, const Array* x, const Array& y) {
  if (y.stored == Stored::whole) return nullptr;
  for (int k = 0; k < operands; ++k)
    if (x[k].stored != y.stored) return nullptr;
  const auto& kernels = elementwise_kernels<float>();
  const auto& functions = y.stored == Stored::float16 ? kernels.of_float16 : kernels.of_bfloat16;
  return functions[static_cast<int>(op)];
}

}  // namespace

template <class T>
void Elementwise<T>::run(const Team& team, void*) const {
  Array arrays[kElementOperands];
  for (int k = 0; k < operands; ++k) arrays[k] = array_of(x[k], &scalar[k]);
  ElementwiseOp best = op;
  if (op == ElementwiseOp::pow && !x[1].data) best = power_of(scalar[1]);
  if (op == ElementwiseOp::pow_backward && !x[2].data && scalar[2] == 2)
    best = ElementwiseOp::square_backward;
  const int count = best == op ? operands : operands - 1;  // other ops do not take the exponent
  Array result = array_of(y);
  ElementwiseFunction f = elementwise_kernels<T>().op[static_cast<int>(best)];
  const ElementwiseFunction own = row_of_halves(best, count, arrays, result);
  if (own) {
    // This loop converts the 16-bit floats itself. With `stored` whole, run_loops() passes it the arrays as
    // they are; otherwise it would convert blocks of them to float, for a loop of floats (run_halves in
    // loops.cpp).
    f = own;
    for (Array& a : arrays) a.stored = Stored::whole;
    result.stored = Stored::whole;
  }
  constexpr double kTimesFloat = sizeof(T) / sizeof(float);
  const double ns = kArithmeticNs[static_cast<int>(best)] * kTimesFloat;
  run_loops(team, count, arrays, result, y.ndim, y.shape, f, ns, /*attributes=*/nullptr);
}

template <class T>
void Compare<T>::run(const Team& team, void*) const {
  const Array arrays[] = {array_of(x[0], &scalar[0]), array_of(x[1], &scalar[1])};
  run_loops(team, 2, arrays, y, elementwise_kernels<T>().compare[static_cast<int>(op)], /*ns=*/0.02);
}

template <class T>
void Where<T>::run(const Team& team, void*) const {
  const Array arrays[] = {array_of(condition), array_of(x[0], &scalar[0]), array_of(x[1], &scalar[1])};
  run_loops(team, 3, arrays, y, elementwise_kernels<T>().where, /*ns=*/0.05);
}

RANVIER_INSTANTIATE(Elementwise);
RANVIER_INSTANTIATE(Compare);
RANVIER_INSTANTIATE(Where);

}  // namespace ranvier
