// The inner loops of elementwise, compiled once for each ISA level.
#include "kernels/elementwise/elementwise.h"

#include "kernels/elementwise/functions.h"
#include "simd/bytes.h"
#include "simd/vector_loop.h"

namespace ranvier::RANVIER_ISA {

template <class T, class Op>
static void op_loop(const Vectors& v) {
  // Absent operands repeat the last one; the op does not look at them.
  constexpr int last = Op::operands - 1, b = last < 1 ? last : 1, c = last < 2 ? last : 2, d = last;
  for_each_vector<Op::operands, sizeof(vec<T>)>(v, [](char* y, const char* const* x) RANVIER_INLINED {
    const vec<T> result =
        Op::call(vector_at<T>(x[0]), vector_at<T>(x[b]), vector_at<T>(x[c]), vector_at<T>(x[d]));
    store(reinterpret_cast<T*>(y), result);
  });
}
template <class T, class Op>
static void op_row(const ElementRow& r) {
  run_row<T, T, T, T>(r, Op::operands, op_loop<T, Op>);
}

// One byte for each lane.
template <class T, class Op>
static void compare_loop(const Vectors& v) {
  for_each_vector<2, lanes<T>>(v, [](char* y, const char* const* x) RANVIER_INLINED {
    const auto result = narrow_to_bytes(Op::call(vector_at<T>(x[0]), vector_at<T>(x[1])) & 1);
    __builtin_memcpy(y, &result, lanes<T>);
  });
}
template <class T, class Op>
static void compare_row(const ElementRow& r) {
  run_row<T, T, T, bool>(r, 2, compare_loop<T, Op>);
}

template <class T>
static void where_loop(const Vectors& v) {
  for_each_vector<3, sizeof(vec<T>)>(v, [](char* y, const char* const* x) RANVIER_INLINED {
    const ivec<T> condition = widen_bytes(reinterpret_cast<const uint8_t*>(x[0]), T{});
    store(reinterpret_cast<T*>(y), select(condition != 0, vector_at<T>(x[1]), vector_at<T>(x[2])));
  });
}
template <class T>
static void where_row(const ElementRow& r) {
  run_row<T, bool, T, T>(r, 3, where_loop<T>);
}

#define RANVIER_X(name, operands) op_row<T, name##_op<T>>,
#define RANVIER_KERNELS                                                                           \
  {{RANVIER_ELEMENTWISE_OPS(RANVIER_X)},                                                          \
   {compare_row<T, eq_compare<T>>, compare_row<T, ne_compare<T>>, compare_row<T, lt_compare<T>>,  \
    compare_row<T, le_compare<T>>, compare_row<T, gt_compare<T>>, compare_row<T, ge_compare<T>>}, \
   where_row<T>}

template <class T>
struct Tables {
  static constexpr ElementwiseKernels<T> kernels = RANVIER_KERNELS;
};
extern const ElementwiseKernels<float> elementwise_kernels_float = Tables<float>::kernels;
extern const ElementwiseKernels<double> elementwise_kernels_double = Tables<double>::kernels;

#undef RANVIER_X
#undef RANVIER_KERNELS

}  // namespace ranvier::RANVIER_ISA
