// elementwise's loops, blind to the ISA: the loop nest is shared out, and each run of elements is handed to
// the inner loop, by way of a small block where an operand is strided.
#include "kernels/elementwise/elementwise.h"

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr int kArrays = kElementwiseOperands + 1;  // y, then the operands
constexpr int64_t kBlock = 256;                    // elements of a block: all of them stay in L1
constexpr double kNsPerByte = 0.03;

struct Array {
  const char* data;
  int item;  // bytes of an element
  int64_t strides[kMaxDims];
};

template <class T>
Array array_of(const TensorView<T>& v) {
  Array a{reinterpret_cast<const char*>(v.data), sizeof(T), {}};
  for (int d = 0; d < v.ndim; ++d) a.strides[d] = v.strides[d];
  return a;
}
template <class T>
Array array_of(const TensorView<const T>& v, const T* scalar) {
  return v.data ? array_of(v) : Array{reinterpret_cast<const char*>(scalar), sizeof(T), {}};
}

template <class U>
void copy_strided(int64_t n, const void* src, int64_t src_step, void* dst, int64_t dst_step) {
  const U* s = static_cast<const U*>(src);
  U* d = static_cast<U*>(dst);
  for (int64_t i = 0; i < n; ++i) d[i * dst_step] = s[i * src_step];
}
void copy_strided(int item, int64_t n, const void* src, int64_t src_step, void* dst, int64_t dst_step) {
  if (item == 1) return copy_strided<int8_t>(n, src, src_step, dst, dst_step);
  if (item == 4) return copy_strided<int32_t>(n, src, src_step, dst, dst_step);
  copy_strided<int64_t>(n, src, src_step, dst, dst_step);
}

struct Loops {
  LoopNest<kArrays> nest;
  Array arrays[kArrays];
  int count;  // y and the operands that the op has
  ElementwiseFunction function;

  template <class T>
  Loops(const TensorView<T>& y, int operands, const Array* x, ElementwiseFunction f)
      : count(operands + 1), function(f) {
    arrays[0] = array_of(y);
    for (int k = 0; k < kArrays - 1; ++k) arrays[k + 1] = x[k < operands ? k : 0];
    for (int d = 0; d < y.ndim; ++d) {
      int64_t steps[kArrays];
      for (int k = 0; k < kArrays; ++k) steps[k] = arrays[k].strides[d];
      nest.add_dimension(y.shape[d], steps);
    }
    nest.finish();
  }

  // Whether the inner loop takes array k as it lies.
  bool direct(int k) const {
    const int64_t step = nest.strides[k][nest.ndim - 1];
    return step == 1 || (step == 0 && k > 0) || nest.shape[nest.ndim - 1] == 1;
  }

  void rows(int64_t begin, int64_t end) const {
    ElementwiseRow r;
    for (int k = 1; k < count; ++k) r.step[k - 1] = nest.strides[k][nest.ndim - 1] == 1;
    for_each_row(nest, begin, end, [&](int64_t n, const int64_t(&offsets)[kArrays]) {
      r.n = n;
      r.y = const_cast<char*>(arrays[0].data) + offsets[0] * arrays[0].item;
      for (int k = 1; k < count; ++k) r.x[k - 1] = arrays[k].data + offsets[k] * arrays[k].item;
      function(r);
    });
  }

  // Blocks of kBlock elements: strided arrays are gathered, and y scattered. An array that is dense over the
  // whole nest is used where it lies.
  void blocks(int64_t begin, int64_t end) const {
    alignas(64) char block[kArrays][kBlock * sizeof(double)];
    const int inner = nest.ndim - 1;
    bool dense[kArrays];
    for (int k = 0; k < count; ++k) dense[k] = nest.is_dense(k);
    ElementwiseRow r;
    for (int64_t at = begin; at < end; at += r.n) {
      r.n = end - at < kBlock ? end - at : kBlock;
      int64_t filled = 0;
      for_each_row(nest, at, at + r.n, [&](int64_t n, const int64_t(&offsets)[kArrays]) {
        for (int k = 1; k < count; ++k)
          if (!dense[k])
            copy_strided(arrays[k].item, n, arrays[k].data + offsets[k] * arrays[k].item,
                         nest.strides[k][inner], block[k] + filled * arrays[k].item, 1);
        filled += n;
      });
      for (int k = 1; k < count; ++k) {
        r.step[k - 1] = 1;
        r.x[k - 1] = dense[k] ? arrays[k].data + at * arrays[k].item : block[k];
      }
      char* y = const_cast<char*>(arrays[0].data);
      r.y = dense[0] ? y + at * arrays[0].item : block[0];
      function(r);
      if (dense[0]) continue;
      filled = 0;
      for_each_row(nest, at, at + r.n, [&](int64_t n, const int64_t(&offsets)[kArrays]) {
        copy_strided(arrays[0].item, n, block[0] + filled * arrays[0].item, 1,
                     y + offsets[0] * arrays[0].item, nest.strides[0][inner]);
        filled += n;
      });
    }
  }

  void run(double ns_per_element) const {
    const int64_t size = nest.size();
    if (size == 0) return;
    bool all_direct = true;
    for (int k = 0; k < count; ++k) {
      all_direct = all_direct && direct(k);
      ns_per_element += kNsPerByte * arrays[k].item;
    }
    parallel_for(size, ns_per_element * size,
                 [&](int64_t begin, int64_t end) { all_direct ? rows(begin, end) : blocks(begin, end); });
  }
};

template <class T>
const ElementwiseKernels<T>& kernels();
template <>
const ElementwiseKernels<float>& kernels<float>() {
  return RANVIER_SELECT(elementwise_kernels_float);
}
template <>
const ElementwiseKernels<double>& kernels<double>() {
  return RANVIER_SELECT(elementwise_kernels_double);
}

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
      return 0.2;
    default:
      return 0.02;
  }
}

}  // namespace

template <class T>
void Elementwise<T>::run(void*) const {
  Array arrays[kElementwiseOperands];
  for (int k = 0; k < operands; ++k) arrays[k] = array_of(x[k], &scalar[k]);
  Loops(y, operands, arrays, kernels<T>().op[static_cast<int>(op)])
      .run(arithmetic_ns(op) * (sizeof(T) / sizeof(float)));
}

template <class T>
void Compare<T>::run(void*) const {
  const Array arrays[] = {array_of(x[0], &scalar[0]), array_of(x[1], &scalar[1])};
  Loops(y, 2, arrays, kernels<T>().compare[static_cast<int>(op)]).run(0.02);
}

template <class T>
void Where<T>::run(void*) const {
  const Array arrays[] = {array_of(condition), array_of(x[0], &scalar[0]), array_of(x[1], &scalar[1])};
  Loops(y, 3, arrays, kernels<T>().where).run(0.05);
}

template struct Elementwise<float>;
template struct Elementwise<double>;
template struct Compare<float>;
template struct Compare<double>;
template struct Where<float>;
template struct Where<double>;

}  // namespace ranvier
