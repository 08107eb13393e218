// What the inner loops of a product get: where their operands are, what they fetch, and what follows the
// sums. a's rows are broadcast, b's rows are vectors. Strides are in elements.
#pragma once
#include <cstddef>

#include "base/integers.h"
#include "base/isa.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

// What follows the sums, in this order. Null pointers: nothing of the kind.
template <class T>
struct MatmulEpilogue {
  const T *bias_row, *bias_column;  // bias[j], along the vectors; bias[i], along the rows
  const T *norm_row, *norm_column;  // the numbers m of a norm likewise, a norm_step further, then b
  int64_t norm_step;
  MatmulActivation activation;
  const T* saved;  // saved[i, j] at saved[i * rs_s + j * cs_s]: the activation's derivative is applied
  int64_t rs_s, cs_s;

  [[gnu::always_inline]] bool is_empty() const {
    return !bias_row && !bias_column && !norm_row && !norm_column && activation.kind == Activation::none;
  }
  // That of the part of c which begins so many rows and columns further.
  [[gnu::always_inline]] void move(int64_t rows, int64_t columns) {
    if (bias_row) bias_row += columns;
    if (bias_column) bias_column += rows;
    if (norm_row) norm_row += columns;
    if (norm_column) norm_column += rows;
    if (saved) saved += rows * rs_s + columns * cs_s;
  }
};

// A part of c: c[i, j] at c[i * rs_c + j * cs_c].
template <class T>
struct MatmulResult {
  T* c;
  int64_t rs_c, cs_c;
  int rows, columns;
  MatmulEpilogue<T> after;
  uint8_t* unfit;  // halves: unfit[i] = 1 where sums of c's row i are no numbers, see amx.h; or null

  [[gnu::always_inline]] void move(int64_t rows, int64_t columns) {
    c += rows * rs_c + columns * cs_c;
    after.move(rows, columns);
  }
};

// What a tile fetches while k runs, beside rows of b that come next.
template <class T>
struct MatmulFetch {
  const T* b;      // in tiles of three vectors: the first of k / 2 rows of another strip, or null
  int64_t rs_b;    // from one of them to the next
  int64_t gap_a;   // from the end of a row of a that is fetched to the next one; 0: all between them, too
  int a;           // elements of rows of a in each step of k, or 0
  int16_t panels;  // from this panel of a to the one that is fetched
  bool c;          // the tile's lines of c
};

// A tile: rows x (vectors * lanes). Where nothing follows the sums, c's rows are dense and b is not packed
// meanwhile, further tiles of as many rows and columns may come after it.
template <class T>
struct MatmulTile : MatmulResult<T> {  // columns <= vectors * lanes are stored
  int64_t k, k_block;                  // the products of an element, and the most in one chain
  const T* a;                          // a[i, p] at a[i * rs_a + p * cs_a]
  int64_t rs_a, cs_a;
  const T* b;  // b[p, j] at b[p * rs_b + j], whole vectors readable: rows as they are given, or packed
  int64_t rs_b;
  T* pack_to;  // where the tile copies b's rows one after another, or null; packing_columns, packing_rows
  MatmulFetch<T> fetch;
  int more;                        // further tiles
  bool swapped : 1;                // c' = b' a', see amx.h
  bool tree : 1;                   // the chains are added along one, see Matmul::parts
  bool accumulate;                 // to what is in c, else c = a b
  int64_t step_a, step_b, step_c;  // from one tile to the next
};

// GCC copies a larger struct by `rep movs`, which takes a tenth of the time of a strip of few products.
static_assert(sizeof(MatmulTile<double>) <= 256);

// Some rows of a by all of some columns of b, without tiles: see dot.h, few_rows.h, gemv.h and small.h.
template <class T>
struct MatmulRows : MatmulResult<T> {
  int64_t k, k_block;
  const T* a;  // a[i, p] at a[i * rs_a + p * cs_a]
  int64_t rs_a, cs_a;
  const T* b;  // b[p, j] at b[p * rs_b + j * cs_b]
  int64_t rs_b, cs_b;
  int missing;      // gemv of bfloat16: factors of the last elements that are not there
  bool accumulate;  // gemv: to what is in c
  int beyond;       // few_rows: the caches that b does not fit in: 1, L1; 2, L2 as well
};

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

template <class T>
struct MatmulKernels {
  bool pairs = false;                         // elements are pairs of products: see pairs.h
  int mr;                                     // the most rows of a tile, as a rule
  int packing_rows = 0, packing_columns = 0;  // a tile that packs: its fewest rows; its columns (0: none)
  int lanes;                                  // elements of a vector
  int rows_of_three = 0;  // rows of a tile of three vectors, or one less; 0: there is none
  bool narrow = false;    // 2 to kDotRows columns take less time, see narrow.h
  int (*nr)(int rows);    // the most columns of a tile of this many rows
  int64_t kc;             // the most products in one chain
  void (*tile)(const MatmulTile<T>&);
  void (*dots)(const MatmulRows<T>&) = nullptr;      // see dot.h
  void (*few_rows)(const MatmulRows<T>&) = nullptr;  // see few_rows.h
  int far_rows = kDotRows;             // the most rows that few_rows.h takes beside a b from beyond L2
  void (*gemv)(const MatmulRows<T>&);  // see gemv.h
  int (*gemv_columns)(int rows);       // the most columns that `gemv` takes
  void (*stack)(const MatmulStack<T>&) = nullptr;
  // See small.h, or null. With cs_b != 1, b is copied to `scratch`, and b, rs_b and cs_b say so afterwards: a
  // copy of them would wait until what the caller has stored is in L1.
  void (*small)(MatmulRows<T>&, T* scratch) = nullptr;
  // dst[p * width + j] = src[p * rs + j * cs] for p < k, j < columns; zeros for columns <= j < width. This
  // many factors of the last elements are missing.
  typedef void (*Pack)(int64_t k, int columns, int width, const T* src, int64_t rs, int64_t cs, T* dst,
                       int missing);
  Pack pack;
  Pack pack_rows;      // packs a: with width = columns
  int factors = 1;     // the factors of an element, which are neighbours along k
  int step = 1;        // along k, elements are packed in whole multiples of it
  bool tiles = false;  // see amx.h

  bool many_registers() const { return mr > 8; }
  bool halves() const { return tiles && factors == 1; }
  int64_t elements(int64_t k) const { return round_up(ceil_div(k, factors), step); }
  int missing(int64_t k) const { return static_cast<int>(elements(k) * factors - k); }
  // Columns of the narrowest tile, of 1, 2, 4 or 8 vectors, that holds this many.
  int width(int64_t columns) const {
    int width = lanes;
    while (width < columns) width *= 2;
    return width;
  }
};

RANVIER_TABLES(MatmulKernels, matmul_kernels)

}  // namespace ranvier
