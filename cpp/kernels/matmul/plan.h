// The plan of one matmul: which operand is broadcast, what is packed, how the threads share the tiles.
//
// c (m, n) = a (m, k) b (k, n) is computed in tiles. A panel is as many rows of a as a tile has, a strip as
// many columns of b. Packed, a panel or strip is copied to where the micro-kernel reads it in order. rs_x and
// cs_x are the strides of rows and columns of x, in elements.
#pragma once
#include <algorithm>

#include "base/caches.h"
#include "base/integers.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/thresholds.h"
#include "kernels/matmul/tile.h"

namespace ranvier {

// The ways to compute a product: choice.cpp says when each is taken.
enum class MatmulWay {
  small,        // small.h: no plan
  packed_rows,  // tiles of a packed b: no plan
  dots,         // dot.h
  few_rows,     // few_rows.h
  gemv,         // gemv.h
  stack,        // stack.h
  small_batch,  // each product as a small one
  tiles,        // the loops of matmul.cpp: panels, strips and tiles
};

// The time of a product on one thread. Few columns take that of half a vector, few rows that of reading b.
template <class T>
double serial_ns(const MatmulKernels<T>& kernels, int64_t rows, int64_t n, int64_t k) {
  constexpr int kLanes = 16;  // kMatmulNsPerProduct holds for vectors of this many lanes
  const int64_t columns = n > 1 ? std::max<int64_t>(n, kernels.lanes / 2) : n;
  const int at_once = kernels.tiles ? 8 : kernels.pairs ? 2 : 1;
  const double products = static_cast<double>(rows) * columns * k / at_once;
  const double read = static_cast<double>(rows) * k + static_cast<double>(k) * n;
  return std::max(kMatmulNsPerProduct * kLanes / kernels.lanes * products,
                  kMatmulNsPerByte * sizeof(T) * read);
}

// The length of even blocks of k, of at most `most` products; a multiple of the widest transposition (16).
inline int64_t k_block_of(int64_t k, int64_t most, int step = 1) {
  if (k <= most) return most;
  return round_up(ceil_div(k, ceil_div(k, most)), std::max(step, 16));
}

// The tiles of a product: as many rows as panels of at most `most` have when m is split evenly.
struct TileSize {
  bool threes;  // true if tiles have three vectors
  int most, rows, columns;
};

// One 2-D product, as the tiles see it: a's elements are broadcast, b's rows are vectors. It may be the
// transpose of the caller's: c' = b' a'.
template <class T>
struct Operands {
  int64_t m, n, k;
  const T *a, *b;
  T* c;
  int64_t rs_a, cs_a, rs_b, cs_b, rs_c, cs_c;
  MatmulEpilogue<T> after;
  const T* packed;  // b in strips, or null
  int missing;      // factors of the last elements
  TileSize tile = {};
};

// The first way of those that need no plan; else `tiles`.
template <class T>
MatmulWay way_without_plan(const Matmul<T>& call, const MatmulKernels<T>& kernels);

// What follows the sums of the first product of a call or, transposed, of c' = b' a'.
template <class T>
inline void set_epilogue(MatmulEpilogue<T>& e, const Matmul<T>& call, bool transposed) {
  const int row = transposed ? 2 : 1;
  (transposed ? e.bias_column : e.bias_row) = call.bias.data;
  (transposed ? e.norm_column : e.norm_row) = call.norm.data;
  e.norm_step = call.norm.shape[1];
  e.activation = call.activation;
  e.saved = call.saved.data, e.rs_s = call.saved.strides[row], e.cs_s = call.saved.strides[3 - row];
}

// The operands of the same product, with k and its strides in elements of the kernels.
template <class T>
Operands<T> operands_of(const Matmul<T>& call, const MatmulKernels<T>& kernels, bool transposed);

template <class T>
struct MatmulBuffers {
  T *b, *a;
};

// Who packs b, and which tiles a thread takes.
enum class Sharing {
  columns,  // a thread packs the strips of its own columns, some at a time
  own,      // b is small: each thread packs all of it for itself, then takes a run of tiles, panel by panel
  one,      // the threads pack b together and wait, then take a run of tiles
};

template <class T>
class MatmulPlan {
 public:
  MatmulPlan(const Matmul<T>& call, int threads);  // threads: that work on one product

  MatmulWay way;
  bool transposed;  // c' = b' a'
  bool prepacked;   // b comes in strips
  bool pack_a, pack_b;
  bool fetch_a;     // a is read in place, from beyond L2
  bool fetch_c;     // c's lines come from beyond L2, or each vector stored takes two of them
  bool fused;       // b is packed by the tiles of the first panel, not before
  bool ragged_b;    // b is read in place, but for a last strip that no tile fits
  bool one_by_one;  // strips: each passes all panels, of which some fetch the next
  bool overlaps;    // no strip has less than a vector, and no tile needs columns beyond its own
  Sharing sharing;
  int rows;         // the most rows of a tile
  int64_t panels;   // panels of a: m split evenly, so that no thin tile is left over
  int nr;           // columns of a tile, at most
  int64_t least;    // columns of a last strip that overlaps the one before
  int64_t strips;   // strips that stay near while panels pass
  int64_t run;      // panels that stay near while strips pass
  int64_t k_block;  // products in one chain: k split evenly
  int64_t chunk;    // products for which b is packed at once, whole blocks
  int64_t nc;       // columns of b at once: kc x nc stays in L3
  int64_t part;     // products of a part, or 0: see Matmul

  // The first row of a panel. The first panels have `rows` rows each, the others one less.
  int64_t row(int64_t panel) const { return panel * (rows - 1) + std::min(panel, m_ - panels * (rows - 1)); }

  // The end of the panels from `panel` on that have as many rows, at most `end`.
  int64_t end_alike(int64_t panel, int64_t end) const {
    const int64_t first = m_ - panels * (rows - 1);
    return panel < first ? std::min(first, end) : end;
  }

  int64_t strips_of(int64_t n) const { return ceil_div(n, nr); }  // strips of n columns

  // Columns of the narrowest tile, of 1, 2, 3 (see nr), 4 or 8 vectors, that holds this many.
  int width(int columns) const {
    if (nr == 3 * kernels_.lanes && columns > 2 * kernels_.lanes) return nr;
    return kernels_.width(columns);
  }

  void fetch_rows(int64_t rs_a, int64_t k,
                  MatmulFetch<T>& fetch) const;  // how tiles fetch the next rows of a
  size_t workspace_bytes(int threads) const;
  MatmulBuffers<T> buffers(void* workspace, int thread, bool alone, int threads) const;
  const T* dense_bias(const Matmul<T>& call, void* workspace, int thread) const;  // its copy if it is strided
  Operands<T> operands(const Matmul<T>& call, int64_t batch, const T* dense_bias) const;

 private:
  void choose(const Matmul<T>& call, int threads, Operands<T>& plain, Operands<T>& swapped);
  bool is_gemv_of_bfloat16(const Operands<T>& o) const;
  int64_t elements_turned(const Operands<T>& o) const;
  bool is_outer(const Operands<T>& o) const;
  bool is_gemv(const Operands<T>& o) const;
  bool is_stack(const Matmul<T>& call, const Operands<T>& o) const;
  bool reads_a_in_place(const Operands<T>& o) const;
  bool packs_b_by_tiles(const Operands<T>& o) const;
  bool is_passed_again(const Operands<T>& o) const;
  bool reads_b_in_place(const Operands<T>& o) const;
  double cost(const Operands<T>& o) const;
  bool has_halves(const Operands<T>& o) const {  // see half_tile() in microkernel.h
    return plain_ && !kernels_.pairs && kernels_.lanes * kSize == 64 && kSize == 4 && o.cs_c == 1;
  }
  bool has_narrow(const Operands<T>& o) const {  // see narrow.h
    return plain_ && kernels_.narrow && o.n > 1 && o.n <= kDotRows && o.cs_a == 1 && o.cs_c == 1;
  }
  bool has_lines() const { return kernels_.lanes * kSize >= 64; }  // a vector is a cache line
  int64_t chunk_of(const Operands<T>& o, bool by_columns) const;
  void size_blocks(const Operands<T>& o, bool by_columns);
  bool fetches_c(const Operands<T>& o) const;
  bool has_few_panels(const Operands<T>& o, int64_t strips_of_two) const;
  void set_last_strip(const Operands<T>& o, bool few_panels);
  void share(const Operands<T>& o, int threads);
  void pass_one_by_one(const Operands<T>& o);
  void even_out(const Operands<T>& o, int64_t all_strips, int threads);
  TileSize tile_of(const Operands<T>& o) const;
  int64_t panels_near(int64_t k) const { return std::max<int64_t>(near_panels() / (k * rows * kSize), 1); }
  // Bytes that stay in L2 while others pass. A panel of a stays in L1 while strips of b pass from L2.
  // Rows of b that are not packed are in each other's way in L1; wide strips of them pass from L2 all the
  // same.
  int64_t near_b() const { return has_lines() ? caches.l2 / 5 : caches.l1 / 2; }
  // At AVX2 less, since each panel reads the strip again from there.
  int64_t near_strip() const { return caches.l2 / (has_lines() ? 4 : 16); }
  static int64_t near_strips() { return caches.l2 * 3 / 8; }
  static int64_t near_panels() { return caches.l2 / 2; }

  static constexpr int64_t kSize = sizeof(T);
  const MatmulKernels<T>& kernels_;
  bool plain_;  // nothing follows the sums
  bool adds_;   // the product is added to c
  int64_t batch_, m_;
  int64_t size_a_, size_b_, size_bias_;  // elements of one buffer
};

}  // namespace ranvier
