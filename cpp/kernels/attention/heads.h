// The leading dimensions of attention's arrays, and the matrices of some heads.
#pragma once
#include <algorithm>
#include <utility>

#include "base/parallel.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

// `heads`: the innermost leading dimensions that step evenly in all arrays; `outer`: the others.
struct AttentionHeads {
  template <class First, class... Others>
  explicit AttentionHeads(const First& x, const Others&... others) : first_inner(x.ndim - 2) {
    while (first_inner > 0 && (first_inner == x.ndim - 2 || (is_even(x) && ... && is_even(others))))
      heads *= x.shape[--first_inner];
    for (int d = 0; d < first_inner; ++d) outer *= x.shape[d];
  }

  // Rows [begin, begin + n) of the matrices of `count` heads from `head` on.
  template <class T>
  __attribute__((noinline)) TensorView<T> of(const TensorView<T>& x, int64_t at, int64_t head, int64_t count,
                                             int64_t begin, int64_t n) const {
    const int last = x.ndim - 1;
    int64_t offset = begin * x.strides[last - 1];
    for (int d = first_inner - 1; d >= 0; at /= x.shape[d], --d) offset += at % x.shape[d] * x.strides[d];
    const int64_t step = last >= 2 ? x.strides[last - 2] : 0;
    return {x.data + offset + head * step,
            3,
            {count, n, x.shape[last]},
            {step, x.strides[last - 1], x.strides[last]}};
  }

  int64_t outer = 1, heads = 1;
  int first_inner;  // of the leading dimensions that `heads` counts

 private:
  // Whether steps along the innermost so far lead on to the next of the dimension before it.
  template <class T>
  bool is_even(const TensorView<T>& x) const {
    const int d = first_inner;
    return !x.data || x.strides[d - 1] == x.strides[d] * x.shape[d];
  }
};

template <class T>
TensorView<T> transposed(TensorView<T> x) {
  std::swap(x.shape[1], x.shape[2]), std::swap(x.strides[1], x.strides[2]);
  return x;
}

// c = a b, or c += a b: by way of `room` where matmul cannot add.
template <class T>
struct AttentionProduct {
  __attribute__((noinline)) AttentionProduct(const TensorView<const T>& a, const TensorView<const T>& b,
                                             const TensorView<T>& c, bool added, T* room) {
    product.a = a, product.b = b, product.c = c, product.added = added;
    if (!added || product.can_add()) return;
    product.added = false, sum = c;
    product.c = {room, 3, {1, c.shape[1], c.shape[2]}, {0, c.shape[2], 1}};
  }
  size_t workspace_bytes(int threads) const { return product.workspace_bytes(threads); }
  void run(const OpenTeam& team, void* workspace) const {
    product.run(team, workspace);
    team.barrier();
    if (!sum.data) return;
    Elementwise<T>{ElementwiseOp::add, 2, {as_const(sum), as_const(product.c)}, {}, sum}.run(team, nullptr);
    team.barrier();
  }

  Matmul<T> product{};
  TensorView<T> sum;
};

}  // namespace ranvier
