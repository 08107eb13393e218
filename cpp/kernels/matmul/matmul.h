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

#include "base/integers.h"
#include "base/isa.h"
#include "base/precision.h"
#include "base/views.h"
#include "kernels/activation/activation.h"

namespace ranvier {

// The activation that is applied to finished elements of c; none where kind is Activation::none.
struct MatmulActivation {
  Activation kind = Activation::none;
  double alpha = 0, beta = 0;
};

template <class T>
struct MatmulKernels;

constexpr int kDotRows = 4;
constexpr int kGemvRows = 8;  // see gemv.h
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
  size_t workspace_bytes(int threads) const;
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
  bool is_small() const;  // one that needs no plan: b is read where it is, see small_products.h
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

// One tile of the product, rows x (vectors * lanes), in the terms of the micro-kernel: a's rows are
// broadcast, b's rows are vectors. Strides in elements. Where nothing follows the sums, c's rows are dense
// and b is not packed, further tiles of as many rows and columns may come after it.
template <class T>
struct MatmulTile {
  int64_t k, k_block;  // the products of an element, and the most in one chain
  const T* a;          // a[i, p] at a[i * rs_a + p * cs_a]
  int64_t rs_a, cs_a;
  const T* b;  // b[p, j] at b[p * rs_b + j], whole vectors readable
  int64_t rs_b;
  T* pack_to;  // where the tile copies b's rows one after another, or null; packing_columns, packing_rows
  union {
    const T* fetch;  // in tiles of three vectors: the first of k / 2 rows of b that each tile fetches, or
                     // null; in `few`: not null where it fetches the next columns of b
    uint8_t* unfit;  // halves: unfit[i] = 1 where sums of c's row i are no numbers, see amx.h; or null
  };
  int64_t rs_fetch;  // or, with fetch_a, from the end of a row that is fetched to the next one, 0 where all
                     // that is between them is fetched too; else 0
  T* c;              // c[i, j] at c[i * rs_c + j * cs_c]
  int64_t rs_c, cs_c;
  int rows, columns;                     // columns <= vectors * lanes are stored
  int64_t more, step_a, step_b, step_c;  // further tiles, and from one to the next
  bool fetch_c : 1;                      // c is fetched while k runs
  bool odd : 1;                          // gemv of pairs: the last has one product; tiles: c' = b' a'
  bool tree : 1;                         // the chains are added along one, see Matmul::parts
  bool accumulate;                       // to what is in c, else c = a b
  union {
    int16_t ahead;    // panels from this one to the one that is fetched:
    int16_t missing;  // gemv by the order of tiles: factors of the last elements
  };
  int fetch_a;        // elements of its rows of a in each step of k, or 0
  const T* bias_row;  // bias[j], along the vectors, or null; as what follows, none before the last products
  const T* bias_column;                                 // bias[i], along the rows, or null
  const T *norm_row = nullptr, *norm_column = nullptr;  // m likewise, and norm_step further a, then b
  int64_t norm_step = 0;
  MatmulActivation activation;
  const T* saved;  // saved[i, j] at saved[i * rs_s + j * cs_s], or null
  int64_t rs_s, cs_s;
};

// GCC copies a larger struct by `rep movs`, which takes a tenth of the time of a strip of few products.
static_assert(sizeof(MatmulTile<double>) <= 240);

// Products of a stack, one after another: see stack.h.
template <class T>
struct MatmulStack {
  int64_t count, m, n, k;  // n <= 2 vectors, k <= kc
  const T* a;              // a[i, p] at a[i * rs_a + p * cs_a]
  int64_t step_a, rs_a, cs_a;
  const T* b;  // b[p, j] at b[p * rs_b + j]
  int64_t step_b, rs_b;
  T* c;  // c[i, j] at c[i * rs_c + j]
  int64_t step_c, rs_c;
};

constexpr int64_t kSmallSide = 64;    // see small.h: m, n and k at most
constexpr int64_t kSmallLong = 256;   // n and k, where something follows, as a bias: then with any m
constexpr int64_t kSmallRows = 1024;  // between two looks for a signal

template <class T>
struct MatmulKernels {
  bool pairs;                         // elements are pairs of products: see pairs.h
  int mr;                             // the most rows of a tile, as a rule
  int packing_rows, packing_columns;  // a tile that packs: its fewest rows; its columns (0: no tile packs)
  int lanes;                          // elements of a vector
  int rows_of_three;                  // rows of a tile of three vectors, or one less; 0: there is none
  bool many_registers() const { return mr > 8; }  // True if the level has them
  bool narrow;                                    // 2 to kDotRows columns take less time, see narrow.h
  int (*nr)(int rows);                            // the most columns of a tile of this many rows
  int64_t kc;                                     // the most products in one chain
  void (*tile)(const MatmulTile<T>&);
  void (*dots)(const MatmulTile<T>&);  // see dot.h
  void (*few)(const MatmulTile<T>&);   // see few_rows.h
  void (*gemv)(const MatmulTile<T>&);  // see gemv.h
  void (*stack)(const MatmulStack<T>&);
  // See small.h, or null. b[p, j] at b[p * rs_b + j * cs_b]; with cs_b != 1 it is copied to `scratch`, and
  // the tile says so then: a copy of it would wait until what its caller has stored is in L1.
  void (*small)(MatmulTile<T>&, int64_t cs_b, T* scratch);
  int (*gemv_columns)(int rows);  // the most columns that `gemv` takes
  // dst[p * width + j] = src[p * rs + j * cs] for p < k, j < columns; zeros for columns <= j < width. This
  // many factors of the last elements are missing.
  typedef void (*Pack)(int64_t k, int columns, int width, const T* src, int64_t rs, int64_t cs, T* dst,
                       int missing);
  Pack pack;
  Pack pack_rows;  // packs a: with width = columns
  int factors;     // the factors of an element, which are neighbours along k
  int step;        // along k, elements are packed in whole multiples of it
  bool tiles;      // see amx.h

  bool halves() const { return tiles && factors == 1; }
  int64_t elements(int64_t k) const { return round_up(ceil_div(k, factors), step); }
  int missing(int64_t k) const { return static_cast<int>(elements(k) * factors - k); }
};

RANVIER_TABLES(MatmulKernels, matmul_kernels)

}  // namespace ranvier
