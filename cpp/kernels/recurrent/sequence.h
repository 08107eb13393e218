// The rows of each step of a sequence, and the product with the state inside the loop over time.
#pragma once
#include <algorithm>

#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"
#include "kernels/recurrent/recurrent.h"

namespace ranvier {

// f(first, count) for the rows of each step, in the order of time, or from_end: `first` is the step's first
// row in an array of all steps' rows.
template <class Call, class F>
void for_each_step(const Call& call, bool from_end, const F& f) {
  const int64_t rows = call.y.shape[0], last = call.steps - 1;
  // Sizes are arguments that a replay reads again, so a step never passes the arrays' ends.
  const auto size = [&](int64_t t, int64_t most) {
    const int64_t n = call.sizes.data ? call.sizes.data[t * call.sizes.strides[0]] : call.batch;
    return std::clamp<int64_t>(n, 0, std::min(most, call.batch));
  };
  int64_t first = from_end ? rows : 0;
  for (int64_t i = 0; i <= last; ++i) {
    const int64_t n = from_end ? size(last - i, first) : size(i, rows - first);
    if (from_end) first -= n;
    f(first, n);
    if (!from_end) first += n;
  }
}

// Elements [begin, end) of a state: those given, or zeros.
template <class T>
void start(T* state, const TensorView<const T>& given, int64_t begin, int64_t end) {
  if (given.data)
    std::copy(given.data + begin, given.data + end, state + begin);
  else
    std::fill(state + begin, state + end, T(0));
}

template <class T>
TensorView<T> as_matrix(T* data, int64_t rows, int64_t columns, int64_t row, int64_t column) {
  TensorView<T> v;
  v.data = data, v.ndim = 3;
  v.shape[0] = 1, v.shape[1] = rows, v.shape[2] = columns;
  v.strides[1] = row, v.strides[2] = column;
  return v;
}
// (rows, columns), contiguous; or its transpose.
template <class T>
TensorView<T> as_matrix(T* data, int64_t rows, int64_t columns) {
  return as_matrix(data, rows, columns, columns, 1);
}
template <class T>
TensorView<T> transposed(T* data, int64_t rows, int64_t columns) {
  return as_matrix(data, columns, rows, 1, columns);
}

// a B for a few rows of a, many times: B (k, n) is packed once, in strips of columns as wide as a tile.
// All threads pack; each multiplies alone.
template <class T>
class PackedProduct {
 public:
  // rows: the most of one product
  PackedProduct(const T* b, int64_t k, int64_t n, int64_t rs, int64_t cs, int64_t rows)
      : kernels_(matmul_kernels<T>()), b_(b), k_(k), n_(n), rs_(rs), cs_(cs) {
    width_ = kernels_.nr(static_cast<int>(std::clamp<int64_t>(rows, 1, kernels_.mr)));
    while (width_ > kernels_.lanes && width_ / 2 >= n) width_ /= 2;
    strips_ = ceil_div(n, width_);
  }

  int64_t elements() const { return strips_ * width_ * k_; }

  // This thread's share of the strips.
  void pack(T* packed, int index, int size) const {
    for (int64_t j = strips_ * index / size; j < strips_ * (index + 1) / size; ++j)
      kernels_.pack(k_, columns(j), width_, b_ + j * width_ * cs_, rs_, cs_, packed + j * width_ * k_);
  }

  // c (rows, n) = a (rows, k) B
  void run(const T* packed, int64_t rows, const T* a, T* c) const {
    const int64_t panels = ceil_div(rows, kernels_.mr);
    MatmulTile<T> t{};
    t.k = k_, t.k_block = kernels_.kc;
    t.rs_a = k_, t.cs_a = 1, t.rs_b = width_, t.rs_c = n_, t.cs_c = 1;
    for (int64_t j = 0; j < strips_; ++j) {
      t.b = packed + j * width_ * k_, t.columns = columns(j);
      for (int64_t i = 0; i < panels; ++i) {
        const int64_t row = rows * i / panels;
        t.rows = static_cast<int>(rows * (i + 1) / panels - row);
        t.a = a + row * k_, t.c = c + row * n_ + j * width_;
        kernels_.tile(t);
      }
    }
  }

 private:
  int columns(int64_t j) const { return static_cast<int>(std::min<int64_t>(width_, n_ - j * width_)); }

  const MatmulKernels<T>& kernels_;
  const T* b_;
  int64_t k_, n_, rs_, cs_, strips_;
  int width_;
};

}  // namespace ranvier
