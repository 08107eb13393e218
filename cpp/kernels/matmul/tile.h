// The interface between the loops of matmul.cpp and ways.h and the inner loops that are compiled for each ISA
// level: the arguments of the inner loops, and MatmulKernels, the table of them. Elements of a are broadcast,
// rows of b are read as vectors. rs_x is the stride from one row of x to the next, cs_x from one column to
// the next, in elements. "To fetch" is to prefetch.
#pragma once
#include <cstddef>

#include "base/integers.h"
#include "base/isa.h"
#include "kernels/matmul/fetch_order.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

// What follows the sums, in the order of the members. A null pointer: nothing of the kind. Where c' = b' a'
// is computed, the bias and norm of a column of c are those of a row of c'.
template <class T>
struct MatmulEpilogue {
  const T *bias_row, *bias_column;  // one of them is added: bias_row[j] or bias_column[i] to c[i, j]
  // (x - m) a + b, with m[j] of norm_row or m[i] of norm_column; a is norm_step elements after m, b after a.
  const T *norm_row, *norm_column;
  int64_t norm_step;
  MatmulActivation activation;
  // If not null, c[i, j] is multiplied by the activation's derivative at saved[i * rs_s + j * cs_s].
  const T* saved;
  int64_t rs_s, cs_s;

  [[gnu::always_inline]] bool is_empty() const {
    return !bias_row && !bias_column && !norm_row && !norm_column && activation.kind == Activation::none;
  }
  // Makes this the epilogue of the part of c that begins this many rows and columns further.
  [[gnu::always_inline]] void move(int64_t rows, int64_t columns) {
    if (bias_row) bias_row += columns;
    if (bias_column) bias_column += rows;
    if (norm_row) norm_row += columns;
    if (norm_column) norm_column += rows;
    if (saved) saved += rows * rs_s + columns * cs_s;
  }
};

// A part of c that is computed: c[i, j] is at c[i * rs_c + j * cs_c].
template <class T>
struct MatmulResult {
  T* c;
  int64_t rs_c, cs_c;
  int rows, columns;
  MatmulEpilogue<T> after;
  // With Precision::high (amx.h), unfit[i] is set to 1 where sums of row i of c are infinite or NaN; or null.
  uint8_t* unfit;

  [[gnu::always_inline]] void move(int64_t rows, int64_t columns) {
    c += rows * rs_c + columns * cs_c;
    after.move(rows, columns);
  }
};

// What a tile prefetches while its loop over k runs, beside the next rows of b.
template <class T>
struct MatmulFetch {
  // In tiles of three vectors: the first of k / 2 rows of another panel of b, rs_b apart. In others: where
  // the prefetches of a packed b begin, which go `a` elements further in each step of k. Or null.
  const T* b;
  int64_t rs_b;
  int64_t gap_a;   // elements skipped after each row of a that is fetched; 0: what lies between comes, too
  int a;           // how many elements of a, or of b, are fetched in each step of k; 0: none
  int16_t panels;  // how many panels further the fetched rows of a are
  bool c;          // true: the tile's own lines of c
};

// A tile: a part of c of rows x (vectors * lanes) sums. Where nothing follows the sums, rows of c are
// contiguous and the tile does not pack b, one call may run several tiles of the same numbers of rows and
// columns.
template <class T>
struct MatmulTile : MatmulResult<T> {  // columns <= vectors * lanes are stored
  int64_t k, chain_length;             // the products of an element of c, and the most in one chain
  const T* a;                          // a[i, p] at a[i * rs_a + p * cs_a]
  int64_t rs_a, cs_a;
  const T* b;  // b[p, j] at b[p * rs_b + j], whole vectors readable: rows as they are given, or packed
  int64_t rs_b;
  T* pack_to;  // where the tile packs b while it reads it (packing_columns, packing_rows below), or null
  MatmulFetch<T> fetch;
  int more;                        // how many further tiles this call runs
  bool swapped : 1;                // only for AMX: c' = b' a' is computed, see amx.isa.cpp
  bool tree : 1;                   // the chains are added in a binary tree, see Matmul::parts
  bool accumulate;                 // c += a b, else c = a b
  int64_t step_a, step_b, step_c;  // from one tile to the next, in elements
};

// GCC copies a larger struct by `rep movs`; where k is short, that is a tenth of the time of a panel of b.
static_assert(sizeof(MatmulTile<double>) <= 256);

// Some rows of a by some columns of b, computed without tiles: see dot.h, few_rows.h, gemv.h and small.h.
template <class T>
struct MatmulRows : MatmulResult<T> {
  int64_t k, chain_length;
  const T* a;  // a[i, p] at a[i * rs_a + p * cs_a]
  int64_t rs_a, cs_a;
  const T* b;  // b[p, j] at b[p * rs_b + j * cs_b]
  int64_t rs_b, cs_b;
  int missing;             // only gemv of bfloat16: how many factors the last elements along k lack
  bool accumulate;         // only gemv: c += a b, else c = a b
  int beyond;              // only few_rows: 1, b is larger than L1; 2, it is larger than L2; else 0
  FetchOrder fetch_order;  // only few_rows where `beyond` is 2
};

// A batch of small products, computed one after another: see stack.h. step_x is from one matrix to the next.
template <class T>
struct MatmulStack {
  int64_t count, m, n, k;  // n <= 2 vectors unless k is 1, k <= max_chain
  const T* a;              // a[i, p] at a[i * rs_a + p * cs_a]
  int64_t step_a, rs_a, cs_a;
  const T* b;  // b[p, j] at b[p * rs_b + j]
  int64_t step_b, rs_b;
  T* c;  // c[i, j] at c[i * rs_c + j]
  int64_t step_c, rs_c;
  bool streams;  // c is stored past the caches; only where k is 1, and rows of c are whole cache lines
};

// The inner loops of one ISA level, or of bfloat16, and their sizes.
template <class T>
struct MatmulKernels {
  bool pairs = false;       // the kernels multiply bfloat16: see pairs.h and amx.h
  int mr;                   // the most rows of a tile of one or two vectors
  int packing_rows = 0;     // the fewest rows of tiles that can pack b
  int packing_columns = 0;  // the columns of these tiles; 0: none can
  int lanes;                // elements of a vector
  int rows_of_three = 0;    // tiles of three vectors have this many rows or one less; 0: there are none
  bool narrow = false;      // true if narrow.h has loops for 2 to kDotRows columns
  int (*nr)(int rows);      // the most columns of a tile of this many rows
  int64_t max_chain;        // the most products in one chain
  void (*micro_kernel)(const MatmulTile<T>&);
  void (*dots)(const MatmulRows<T>&) = nullptr;      // see dot.h
  void (*few_rows)(const MatmulRows<T>&) = nullptr;  // see few_rows.h
  int far_rows = kDotRows;             // the most rows of few_rows beside a b that is larger than L2
  void (*gemv)(const MatmulRows<T>&);  // see gemv.h
  int (*gemv_columns)(int rows);       // the most columns that `gemv` takes
  void (*stack)(const MatmulStack<T>&) = nullptr;
  // See small.h; or null. If cs_b != 1, b is packed to `scratch`, and b, rs_b and cs_b are changed to
  // describe the packed b. The argument is changed and not copied, since a copy would wait for the caller's
  // stores.
  void (*small)(MatmulRows<T>&, T* scratch) = nullptr;
  // dst[p * width + j] = src[p * rs + j * cs] for p < k, j < columns; zeros for columns <= j < width. The
  // last elements along k lack `missing` factors (see `factors`), which are not read and are packed as zeros.
  typedef void (*Pack)(int64_t k, int columns, int width, const T* src, int64_t rs, int64_t cs, T* dst,
                       int missing);
  Pack pack;
  Pack pack_rows;      // packs a: "columns" are then rows of a, and width = columns
  int factors = 1;     // numbers of a or b in an element: 2 for pairs of bfloat16, neighbours along k; else 1
  int step = 1;        // the elements along k are padded to a multiple of this
  bool tiles = false;  // the processor's tile registers are used: see amx.h

  bool many_registers() const { return mr > 8; }  // true where the level has 32 vector registers
  // True for Precision::high in AMX, where each factor is split in two numbers of bfloat16, its halves.
  bool halves() const { return tiles && factors == 1; }
  // The elements along k of k factors, and how many factors these lack.
  int64_t elements(int64_t k) const { return round_up(ceil_div(k, factors), step); }
  int missing(int64_t k) const { return static_cast<int>(elements(k) * factors - k); }
  // The columns of the narrowest tile that holds this many: 1, 2, 4 or 8 vectors.
  int width(int64_t columns) const {
    int width = lanes;
    while (width < columns) width *= 2;
    return width;
  }
};

RANVIER_TABLES(MatmulKernels, matmul_kernels)

}  // namespace ranvier
