// Helpers of recurrent.cpp: the rows of each time step, and the matrix product with the state inside the loop
// over time.
#pragma once
#include <algorithm>

#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"
#include "kernels/recurrent/recurrent.h"

namespace ranvier {

// Calls f(first, count) for each step, in the order of time, or with from_end in the opposite order. The step
// has `count` rows, from row `first` on in arrays of all rows.
template <class Call, class F>
void for_each_step(const Call& call, bool from_end, const F& f) {
  const int64_t rows = call.y.shape[0];
  const int64_t last = call.steps - 1;
  // sizes is an argument, and a replay may pass other values. The limits keep each step within the arrays.
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

// Sets elements [begin, end) of a state to those of `initial`, or to zeros if it has no data.
template <class T>
void start(T* state, const TensorView<const T>& initial, int64_t begin, int64_t end) {
  if (initial.data)
    std::copy(initial.data + begin, initial.data + end, state + begin);
  else
    std::fill(state + begin, state + end, T(0));
}

// A contiguous matrix (rows, columns), and the transpose of such a matrix.
template <class T>
TensorView<T> as_matrix(T* data, int64_t rows, int64_t columns) {
  return as_matrix(data, rows, columns, columns, 1);
}
template <class T>
TensorView<T> transposed(T* data, int64_t rows, int64_t columns) {
  return as_matrix(data, columns, rows, 1, columns);
}

// c = a B, which is computed at every time step with the same B (k, n) and an a of few rows. So B is packed
// once, in strips of as many columns as a tile of kernels/matmul has. All threads pack together; then each
// multiplies its own rows.
template <class T>
class PackedProduct {
 public:
  // b[p, j] is at b[p * rs + j * cs]. rows: the most rows that a has in one product.
  PackedProduct(const T* b, int64_t k, int64_t n, int64_t rs, int64_t cs, int64_t rows)
      : kernels_(matmul_kernels<T>()), b_(b), k_(k), n_(n), rs_(rs), cs_(cs) {
    width_ = kernels_.nr(static_cast<int>(std::clamp<int64_t>(rows, 1, kernels_.mr)));
    while (width_ > kernels_.lanes && width_ / 2 >= n) width_ /= 2;
    strips_ = ceil_div(n, width_);
  }

  int64_t elements() const { return strips_ * width_ * k_; }  // elements of `packed`: (strips, k, width)

  // Packs the strips of thread `index` of `size`.
  void pack(T* packed, int index, int size) const {
    const int64_t end = strips_ * (index + 1) / size;
    for (int64_t j = strips_ * index / size; j < end; ++j) {
      const T* from = b_ + j * width_ * cs_;
      T* to = packed + j * width_ * k_;
      kernels_.pack(k_, columns(j), width_, from, rs_, cs_, to, /*missing=*/0);
    }
  }

  // c (rows, n) = a (rows, k) B
  void run(const T* packed, int64_t rows, const T* a, T* c) const {
    const int64_t panels = ceil_div(rows, kernels_.mr);
    MatmulTile<T> t{};
    t.k = k_;
    t.chain_length = kernels_.max_chain;
    t.rs_a = k_;
    t.cs_a = 1;
    t.rs_b = width_;
    t.rs_c = n_;
    t.cs_c = 1;
    for (int64_t j = 0; j < strips_; ++j) {  // columns(j) columns of c
      t.b = packed + j * width_ * k_;
      t.columns = columns(j);
      for (int64_t i = 0; i < panels; ++i) {  // at most mr rows of a and c
        const int64_t row = rows * i / panels;
        t.rows = static_cast<int>(rows * (i + 1) / panels - row);
        t.a = a + row * k_;
        t.c = c + row * n_ + j * width_;
        kernels_.micro_kernel(t);
      }
    }
  }

 private:
  // The columns of strip j: the last one may be narrower.
  int columns(int64_t j) const { return static_cast<int>(std::min<int64_t>(width_, n_ - j * width_)); }

  const MatmulKernels<T>& kernels_;
  const T* b_;
  int64_t k_, n_, rs_, cs_, strips_;
  int width_;
};

}  // namespace ranvier
