// matmul: c = f(a @ b + bias), or c = (a @ b + bias) f'(saved), f the activation
//
//   a (batch, m, k), b (batch, k, n), bias (n) or none, c (batch, m, n), saved as c or none. Any strides,
//   also 0 (a broadcast operand) in a, b and saved; c's elements do not overlap each other or the inputs. c
//   is written only, never read from before the call (but for `added`). k = 0 gives f(bias). With saved, c is
//   what ActivationBackward makes of dy = a @ b + bias, bit for bit: saved is f's output or its input, as
//   there.
//
// Every element of c is the sum, in order, of partial sums over even blocks of at most kc products, each one
// chain of FMAs: its bits depend on k alone, not on m, n, tile or threads. Where b has at most kDotRows
// columns, and a and b are contiguous along k in memory, it is a dot product instead: a chain for each lane,
// then the sum of the lanes. m decides about nothing that changes bits: a row of c has those that it has
// without the other rows.
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
  // True if small products and tiles apply it in registers; any other follows them.
  bool is_in_tiles() const { return kind == Activation::none || kind == Activation::relu; }
};

template <class T>
struct MatmulKernels;

constexpr int kDotRows = 4;
constexpr int kMostParts = 64;

// (1, rows, columns), as Matmul takes matrices in batches; element (i, j) is at data[i * rs + j * cs].
template <class T>
static inline TensorView<T> as_matrix(T* data, int64_t rows, int64_t columns, int64_t rs, int64_t cs) {
  return {data, 3, {1, rows, columns}, {0, rs, cs}};
}

template <class T>
struct Matmul {
  RANVIER_CALL("matmul", a, packed.data ? packed : b, precision == Precision::high ? b : bias, bias, norm,
               saved, in_place(c, added));
  size_t workspace_bytes(int threads) const;  // 0 for a product that needs no plan
  // The bytes of the plan, whether or not this product needs one: for operations that ask with some sizes, or
  // without memory, and then run products with other sizes.
  size_t plan_bytes(int threads) const;
  TensorView<const T> a, b;  // 3-D
  TensorView<const T> bias;  // 1-D, or data null
  TensorView<T> c;           // 3-D
  MatmulActivation activation;
  TensorView<const T> saved;   // 3-D: the activation's backward; or data null: its forward
  TensorView<const T> packed;  // 1-D: b in strips, of MatmulPack, which is then not read; or data null
  // In programs: (3, n), C-contiguous, the numbers m, a and b of a batch norm by running statistics,
  // which comes before the activation: f((x - m) a + b), x = a @ b + bias. Or data null.
  TensorView<const T> norm = {};
  // In programs: c += a @ b, where can_add() holds.
  bool added = false;
  // The precision of a and b, where the processor multiplies numbers of bfloat16: see pairs.h and amx.h.
  Precision precision = Precision::highest;
  // This many even blocks of k, a power of two: each is one chain, and they are added along a tree,
  // neighbours, then neighbouring pairs ... At most kc products each; nothing follows the sums, and
  // `precision` is the highest.
  int parts = 1;
  bool can_add() const;
  const MatmulKernels<T>& kernels() const;
  bool is_small() const;  // one that needs no plan: b is read where it is, see small.h
};

// b (1, k, n) as the tiles read it, for products that all have the same b: strips of `width` columns one
// after another, each k rows long; a last one is as wide as the narrowest tile that holds its columns. Bits
// of c stay.
template <class T>
struct MatmulPack {
  RANVIER_CALL("matmul_pack", b, packed);
  TensorView<const T> b;  // 3-D
  TensorView<T> packed;   // 1-D, of size()
  int width;              // columns of a tile
  const MatmulKernels<T>* kernels;

  int64_t size() const;
};

}  // namespace ranvier
