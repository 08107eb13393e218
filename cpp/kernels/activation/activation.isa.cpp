// The loops of ActivationKernels (activation.h) over lines of elements, compiled once for each ISA level. The
// formulas are in functions.h.
#include "kernels/activation/activation.h"

#include "kernels/activation/functions.h"
#include "simd/vector_loop.h"

namespace ranvier::RANVIER_ISA {

// The loops of one activation over whole vectors; run_row() (simd/vector_loop.h) applies them to a row of any
// length.
template <class Op, class T>
static void forward_loop(const Vectors& v) {
  const auto attributes = *static_cast<const ActivationAttributes<T>*>(v.attributes);
  for_each_vector<1, sizeof(vec<T>)>(v, [&](char* y, const char* const* x) RANVIER_INLINED {
    store(reinterpret_cast<T*>(y), Op::forward(vector_at<T>(x[0]), attributes));
  });
}

template <class Op, class T>
static void backward_loop(const Vectors& v) {
  const auto attributes = *static_cast<const ActivationAttributes<T>*>(v.attributes);
  for_each_vector<2, sizeof(vec<T>)>(v, [&](char* dx, const char* const* x) RANVIER_INLINED {
    store(reinterpret_cast<T*>(dx), Op::backward(vector_at<T>(x[1]), vector_at<T>(x[0]), attributes));
  });
}

constexpr int64_t kChunk = 256;  // elements of a line with gaps that are copied at a time

// Runs the loop on a line; x is operand 0, dy operand 1. A line with gaps goes through contiguous copies.
template <class T>
__attribute__((noinline)) static void run_line(const ActivationLine<T>& line, int operands, VectorLoop loop) {
  const ActivationAttributes<T> attributes{line.alpha, line.beta};
  ElementRow row{line.n, {line.x, line.dy}, {1, 1}, line.y, &attributes};
  const T* const operand[] = {line.x, line.dy};
  const int64_t steps[] = {line.stride_x, line.stride_dy};
  if (steps[0] == 1 && line.stride_y == 1 && (operands < 2 || steps[1] == 1))
    return run_row<T, T, T, T>(row, operands, loop);
  alignas(64) T dense[3][kChunk];
  for (int64_t i = 0; i < line.n; i += kChunk) {
    row.n = line.n - i < kChunk ? line.n - i : kChunk;
    for (int k = 0; k < operands; ++k) {
      const T* from = operand[k] + i * steps[k];
      for (int64_t j = 0; j < row.n; ++j) dense[k][j] = from[j * steps[k]];
      row.x[k] = dense[k];
    }
    row.y = dense[2];
    run_row<T, T, T, T>(row, operands, loop);
    for (int64_t j = 0; j < row.n; ++j) line.y[(i + j) * line.stride_y] = dense[2][j];
  }
}

template <class Op, class T>
static void forward(const ActivationLine<T>& line) {
  run_line(line, 1, forward_loop<Op, T>);
}
template <class Op, class T>
static void backward(const ActivationLine<T>& line) {
  run_line(line, 2, backward_loop<Op, T>);
}

// The functions of all activations, in the order of the enum.
#define RANVIER_X(name, op, ...) forward<op, T>,
#define RANVIER_Y(name, op, ...) backward<op, T>,
template <class T>
static constexpr ActivationKernels<T> activation_table = {{RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)},
                                                          {RANVIER_FOR_EACH_ACTIVATION(RANVIER_Y)}};
#undef RANVIER_X
#undef RANVIER_Y

RANVIER_DEFINE_TABLES(ActivationKernels, activation_kernels, activation_table);

}  // namespace ranvier::RANVIER_ISA
