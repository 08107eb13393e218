// elementwise's loops, blind to the ISA: the loop nest is shared out, and each run of elements is handed to
// the inner loop, by way of a small block where an operand is strided.
#include "kernels/elementwise/elementwise.h"

#include <algorithm>

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr int kArrays = kElementwiseOperands + 1;  // the operands, then y
constexpr int kY = kElementwiseOperands;
constexpr int64_t kBlock = 256;  // elements of a block: all of them stay in L1
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
  Array arrays[kArrays];
  LoopNest<kArrays> nest;
  int operands;
  ElementwiseFunction function;

  template <class T>
  Loops(int operands_in, const Array* x, const TensorView<T>& y_view, ElementwiseFunction f)
      : arrays{x[0], x[operands_in > 1 ? 1 : 0], x[operands_in > 2 ? 2 : 0], x[operands_in > 3 ? 3 : 0],
               array_of(y_view)},
        nest(y_view.ndim, y_view.shape,
             {arrays[0].strides, arrays[1].strides, arrays[2].strides, arrays[3].strides, arrays[4].strides}),
        operands(operands_in),
        function(f) {}

  int64_t inner_step(int k) const { return nest.strides[k][nest.ndim - 1]; }
  const char* at(int k, int64_t offset) const { return arrays[k].data + offset * arrays[k].item; }
  char* y_at(int64_t offset) const { return const_cast<char*>(at(kY, offset)); }

  // Whether the inner loop takes all arrays as they lie.
  bool direct() const {
    for (int k = 0; k < operands; ++k)
      if (inner_step(k) != 0 && inner_step(k) != 1) return false;
    return inner_step(kY) == 1;
  }

  void rows(int64_t begin, int64_t end) const {
    ElementwiseRow r;
    for (int k = 0; k < operands; ++k) r.step[k] = inner_step(k) == 1;
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      r.n = n;
      r.y = y_at(offsets[kY]);
      for (int k = 0; k < operands; ++k) r.x[k] = at(k, offsets[k]);
      function(r);
    });
  }

  // Blocks of kBlock elements: strided arrays are gathered, and y scattered. An array that is dense over the
  // whole nest is used where it lies.
  void blocks(int64_t begin, int64_t end) const {
    alignas(64) char block[kArrays][kBlock * sizeof(double)];
    bool dense[kArrays];
    for (int k = 0; k < kArrays; ++k) dense[k] = nest.is_dense(k);
    ElementwiseRow r;
    for (int64_t first = begin; first < end; first += r.n) {
      r.n = std::min(end - first, kBlock);
      gather(first, first + r.n, dense, block);
      for (int k = 0; k < operands; ++k) {
        r.step[k] = 1;
        r.x[k] = dense[k] ? at(k, first) : block[k];
      }
      r.y = dense[kY] ? y_at(first) : block[kY];
      function(r);
      if (!dense[kY]) scatter(first, first + r.n, block[kY]);
    }
  }

  void gather(int64_t begin, int64_t end, const bool* dense, char (*block)[kBlock * sizeof(double)]) const {
    int64_t filled = 0;
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      for (int k = 0; k < operands; ++k)
        if (!dense[k])
          copy_strided(arrays[k].item, n, at(k, offsets[k]), inner_step(k),
                       block[k] + filled * arrays[k].item, 1);
      filled += n;
    });
  }

  void scatter(int64_t begin, int64_t end, const char* block) const {
    int64_t taken = 0;
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      copy_strided(arrays[kY].item, n, block + taken * arrays[kY].item, 1, y_at(offsets[kY]), inner_step(kY));
      taken += n;
    });
  }

  void run(double ns_per_element) const {
    if (nest.size == 0) return;
    ns_per_element += kNsPerByte * arrays[kY].item;
    for (int k = 0; k < operands; ++k) ns_per_element += kNsPerByte * arrays[k].item;
    const bool as_they_lie = direct();
    parallel_for(nest.size, ns_per_element * nest.size,
                 [&](int64_t begin, int64_t end) { as_they_lie ? rows(begin, end) : blocks(begin, end); });
  }
};

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
  Array arrays[kElementwiseOperands];
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
