// What attention (forward.cpp) and its gradients (backward.cpp) share: the leading dimensions of their arrays
// (AttentionHeads), the division into groups of heads and blocks of queries (AttentionParts, AttentionPart),
// and the matrix products of such a part (AttentionProduct). Arrays are (..., heads, rows, columns) of any
// strides: query (l, e), key (s, e), value (s, d), scores and weights (s, l). The division depends on the
// shapes alone, so the bits do not depend on the threads.
#pragma once
#include <algorithm>
#include <utility>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/precision.h"
#include "kernels/attention/attention.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

// The leading dimensions of arrays (..., rows, columns). `heads` counts the innermost of them through which
// all arrays step evenly, so that a matrix product can take several heads at once. `outer` counts the other
// leading dimensions.
struct AttentionHeads {
  template <class First, class... Others>
  explicit AttentionHeads(const First& x, const Others&... others) : first_inner(x.ndim - 2) {
    while (first_inner > 0) {
      const bool innermost = first_inner == x.ndim - 2;
      const bool all_even = innermost || (is_even(x) && ... && is_even(others));
      if (!all_even) break;
      --first_inner;
      heads *= x.shape[first_inner];
    }
    for (int d = 0; d < first_inner; ++d) outer *= x.shape[d];
  }

  // A view (count, n, columns): rows [begin, begin + n) of the matrices of heads [head, head + count), at
  // index `at` of the outer dimensions.
  template <class T>
  __attribute__((noinline)) TensorView<T> of(const TensorView<T>& x, int64_t at, int64_t head, int64_t count,
                                             int64_t begin, int64_t n) const {
    const int last = x.ndim - 1;
    int64_t offset = begin * x.strides[last - 1];
    for (int d = first_inner - 1; d >= 0; --d) {
      offset += at % x.shape[d] * x.strides[d];
      at /= x.shape[d];
    }
    const int64_t step = last >= 2 ? x.strides[last - 2] : 0;
    return {x.data + offset + head * step,
            3,
            {count, n, x.shape[last]},
            {step, x.strides[last - 1], x.strides[last]}};
  }

  int64_t outer = 1, heads = 1;
  int first_inner;  // the first of the leading dimensions that `heads` counts

 private:
  // True if the dimension before first_inner can be joined with those from first_inner on: stepping through
  // these leads to its next index.
  template <class T>
  bool is_even(const TensorView<T>& x) const {
    const int d = first_inner;
    return !x.data || x.strides[d - 1] == x.strides[d] * x.shape[d];
  }
};

// The division of the work: heads into groups that are computed together, and queries into blocks.
struct AttentionParts {
  // The queries of a block: with up to `keys` keys `rows`, or medium_rows if products are medium, since then
  // keys and values are packed for each block; with more keys rows_of_more. Only the last block may be
  // larger.
  struct Limits {
    int64_t rows, medium_rows, keys, rows_of_more;
  };
  template <class T>
  AttentionParts(const AttentionHeads& lead, const TensorView<const T>& q, const TensorView<const T>& k,
                 int64_t d, const Limits& limits, const AttentionSettings& settings)
      : lead(lead), l(q.shape[q.ndim - 2]), s(k.shape[k.ndim - 2]), e(q.shape[q.ndim - 1]), d(d) {
    medium = settings.medium && has_bfloat16() && sizeof(T) == sizeof(float) && l >= kMediumQueries &&
             l * s * e >= kMediumProducts;
    int64_t most_rows = medium ? limits.medium_rows : limits.rows;
    if (s > limits.keys) most_rows = limits.rows_of_more;
    rows = std::min(l, most_rows);
    blocks = rows ? ceil_div(l, rows) : 0;
    if (blocks > 1 && l - (blocks - 1) * rows <= kGemvRows) --blocks;
    const int64_t by_scores = kGroupScores / std::max<int64_t>(rows * s, 1);
    const int64_t by_elements = kGroupElements / std::max<int64_t>(s * (e + d), 1);
    set_group(std::min(by_scores, by_elements));
  }
  void set_group(int64_t most) {
    group = std::max<int64_t>(1, std::min(lead.heads, most));
    groups = ceil_div(lead.heads, group);
    group = groups ? ceil_div(lead.heads, groups) : group;  // groups of about equal size, for threads
  }
  int64_t row(int64_t block) const { return block == blocks ? l : block * rows; }
  int64_t most_rows() const { return std::max(rows, l - row(blocks - 1)); }

  // Limits of a group: its scores, and the elements of its keys and values.
  static constexpr int64_t kGroupScores = 4096, kGroupElements = 1 << 17;
  // The least queries, and products, of a head for which rounding factors to bfloat16 pays.
  static constexpr int64_t kMediumQueries = 16, kMediumProducts = 1 << 17;
  AttentionHeads lead;
  int64_t l, s;          // queries and keys of a head
  int64_t e, d;          // the width of queries and keys, and that of values
  int64_t rows, blocks;  // queries of a block, and blocks of a head
  bool medium;           // products have medium precision, where Matmul has it
  int64_t group;         // the most heads of a group
  int64_t groups;        // at one index of the outer dimensions
};

// A block of queries of a group of heads. `group` counts the groups of all outer indices.
struct AttentionPart {
  AttentionPart(const AttentionParts& parts, const AttentionSettings& settings, int64_t group, int64_t block)
      : lead(parts.lead), outer(group / parts.groups), head(group % parts.groups * parts.group) {
    heads = std::min(parts.group, lead.heads - head);
    row = parts.row(block);
    rows = parts.row(block + 1) - row;
    keys = settings.is_causal ? std::min(parts.s, settings.first + row + rows) : parts.s;
  }

  // Rows [begin, begin + n) of the group's matrices; of_queries: the rows of the block.
  template <class T>
  TensorView<T> of(const TensorView<T>& x, int64_t begin, int64_t n) const {
    return lead.of(x, outer, head, heads, begin, n);
  }
  template <class T>
  TensorView<T> of_queries(const TensorView<T>& x) const {
    return of(x, row, rows);
  }
  template <class T>
  TensorView<T> weights(const TensorView<T>& x, int64_t begin, int64_t n) const {  // (heads, n, rows)
    TensorView<T> w = of(x, begin, n);
    w.data += row * w.strides[2];
    w.shape[2] = rows;
    return w;
  }

  const AttentionHeads& lead;
  int64_t outer;        // the index of the outer dimensions
  int64_t head, heads;  // heads [head, head + heads)
  int64_t row, rows;    // queries [row, row + rows)
  int64_t keys;         // how many keys any of them sees
};

// The view with its last two dimensions exchanged.
template <class T>
TensorView<T> transposed(TensorView<T> x) {
  std::swap(x.shape[1], x.shape[2]);
  std::swap(x.strides[1], x.strides[2]);
  return x;
}

// y (heads, columns, rows) = x (heads, rows, columns) transposed; rows of y are `step` elements apart.
template <class T>
void pack_transposed(const TensorView<const T>& x, int64_t step, T* y) {
  for (int64_t h = 0; h < x.shape[0]; ++h)
    matmul_kernels<T>().pack(x.shape[2], static_cast<int>(x.shape[1]), static_cast<int>(step),
                             x.data + h * x.strides[0], x.strides[2], x.strides[1], y + h * x.shape[2] * step,
                             /*missing=*/0);
}

// The product c = a b, or with `added` c += a b. Where matmul cannot add (Matmul::can_add), the product goes
// to `room`, which has the elements of c, and is added from there. With `added`, c is one matrix.
template <class T>
struct AttentionProduct {
  __attribute__((noinline)) AttentionProduct(const TensorView<const T>& a, const TensorView<const T>& b,
                                             const TensorView<T>& c, bool medium, bool added = false,
                                             T* room = nullptr) {
    product.a = a;
    product.b = b;
    product.c = c;
    product.added = added;
    if (medium) product.precision = Precision::medium;
    if (!added || product.can_add()) return;
    product.added = false;
    sum = c;
    product.c = {room, 3, {1, c.shape[1], c.shape[2]}, {0, c.shape[2], 1}};
  }
  size_t workspace_bytes(int threads) const { return product.plan_bytes(threads); }
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
