// matmul: c = f(a @ b + bias), where f is an activation; or for a backward c = (a @ b + bias) f'(saved)
//
//   a (batch, m, k), b (batch, k, n), c (batch, m, n), bias (n) or none, saved (batch, m, n) or none. a, b
//   and saved may have any strides; a stride of 0 is a broadcast operand. The elements of c overlap neither
//   each other nor the inputs. What c contains before the call is not read, except with `added`. k = 0 gives
//   f(bias). With saved, c has the bits that ActivationBackward (kernels/activation/activation.h) makes of
//   dy = a @ b + bias; saved is the output or the input of f, whichever ActivationBackward takes for this f.
//
// Bits. A chain is a sum by FMAs, one product after another in the order of k. k is divided into even blocks
// of at most kMaxChain products (blocking.h); each block is one chain, and the sums of the blocks are
// added in order. So the bits of an element of c depend on k alone, not on m, n, the tiles or the threads.
// There is one exception: where b has at most kDotRows columns, and a and b are contiguous along k in memory,
// an element of c is a dot product, with one chain for each lane of a vector, and then the sum of the lanes.
// m affects no bits: a row of c has the bits that it has without the other rows.
#pragma once
#include <cstddef>

#include "base/precision.h"
#include "base/views.h"
#include "kernels/activation/activation.h"

namespace ranvier {

// The activation that is applied to finished elements of c; none where kind is Activation::none.
struct MatmulActivation {
  Activation kind = Activation::none;
  double alpha = 0, beta = 0;
  // True if the loops that store the sums also apply it; any other is applied to the stored elements.
  bool is_in_tiles() const { return kind == Activation::none || kind == Activation::relu; }
};

template <class T>
struct MatmulKernels;

// The most columns of c that are computed as dot products (dot.h), and the most rows of few_rows.h
// beside a b that is not larger than L2.
constexpr int kDotRows = 4;
constexpr int kMostParts = 64;  // the largest Matmul::parts

// A view (1, rows, columns) of one matrix: a batch of one. Element (i, j) is at data[i * rs + j * cs].
template <class T>
static inline TensorView<T> as_matrix(T* data, int64_t rows, int64_t columns, int64_t rs, int64_t cs) {
  return {data, 3, {1, rows, columns}, {0, rs, cs}};
}

template <class T>
struct Matmul {
  RANVIER_CALL("matmul", a, packed.data ? packed : b, precision == Precision::high ? b : bias, bias, norm,
               saved, in_place(c, added));
  size_t workspace_bytes(int threads) const;  // 0 for a product that needs no plan (plan.h)
  // The bytes that the plan of this product needs, whether or not the product uses a plan. For callers that
  // reserve the workspace before they know the operands' addresses or which of several products will run.
  size_t plan_bytes(int threads) const;
  TensorView<const T> a, b;  // 3-D
  TensorView<const T> bias;  // 1-D, or data null
  TensorView<T> c;           // 3-D
  MatmulActivation activation;
  TensorView<const T> saved;  // 3-D: c is the activation's backward; or data null: its forward
  // 1-D: b as MatmulPack packs it, or data null. b itself is then read only with Precision::high, which
  // computes some rows of c again (unfit.h).
  TensorView<const T> packed;
  // Set by passes of cpp/program: (3, n), C-contiguous: for each column the numbers m, a and b of a batch
  // norm with running statistics, which is applied before the activation: c = f((x - m) a + b), where
  // x = a @ b + bias. Or data null.
  TensorView<const T> norm = {};
  // True: c += a @ b. Allowed only where can_add() holds.
  bool added = false;
  // The precision to which a and b may be rounded, where the processor multiplies bfloat16: see pairs.h and
  // amx.h. It has no effect on double.
  Precision precision = Precision::highest;
  // If more than 1, k is divided into this many equal parts, a power of two, of at most kMaxChain products
  // each. A part is one chain. The sums of parts are added in a binary tree: neighbours, then neighbouring
  // pairs, and so on. It requires that nothing follows the sums (no bias, norm or activation) and the highest
  // precision.
  int parts = 1;
  bool can_add() const;
  const MatmulKernels<T>& kernels() const;
  bool is_small() const;  // True if small.h computes it, which needs no plan and reads b where it is
};

// Packs b (1, k, n) once for several products with the same b, as Matmul::packed. The result has panels of
// `width` columns one after another, each stored row by row, k rows. The last panel is as wide as the
// narrowest tile that holds its columns. Packing does not change the bits of c.
template <class T>
struct MatmulPack {
  RANVIER_CALL("matmul_pack", b, packed);
  TensorView<const T> b;  // 3-D
  TensorView<T> packed;   // 1-D, size() elements
  int width;              // columns of a panel of b: MatmulPlan::nr of the products
  const MatmulKernels<T>* kernels;

  int64_t size() const;
};

}  // namespace ranvier
