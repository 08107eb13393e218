// The plan of one matmul: which way computes it (choice.cpp), the size of tiles (tile_size.cpp), what is
// packed, and how the threads share the tiles (plan.cpp). The loops of matmul.cpp follow it.
//
// The words are those of BLIS (Van Zee and van de Geijn, "BLIS: A Framework for Rapidly Instantiating BLAS
// Functionality", 2015). c (m, n) = a (m, k) b (k, n) is computed in tiles of mr x nr elements of c, whose
// sums the micro-kernel holds in registers. A micro-panel of a, here "panel", is the mr rows of a that a tile
// reads, a micro-panel of b the nr columns of b. To pack a panel is to copy it to memory where the
// micro-kernel reads it in order; an operand that is not packed is read in place. kc products along k and nc
// columns of b are worked on at a time. rs_x is the stride from one row of x to the next, cs_x from one
// column to the next, in elements.
//
// Two things differ from BLIS. The kc products are a multiple of the chain length, which alone decides the
// bits (matmul.h). In place of mc, the plan has how many panels of each operand stay in L2.
#pragma once
#include <algorithm>

#include "base/caches.h"
#include "base/integers.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/thresholds.h"
#include "kernels/matmul/tile.h"

namespace ranvier {

constexpr int64_t kLineBytes = 64;  // of a cache's line

// The ways to compute a product: choice.cpp says when each is taken.
enum class MatmulWay {
  small,        // small.h: no plan
  packed_rows,  // tiles of a packed b: no plan
  dots,         // dot.h
  few_rows,     // few_rows.h
  gemv,         // gemv.h
  stack,        // stack.h
  small_batch,  // each product as a small one
  tiles,        // the loops of matmul.cpp
};

// The estimated time of a product c (rows, n) on one thread, in nanoseconds. Few columns take as long as half
// a vector of them, few rows as long as reading b.
template <class T>
double serial_ns(const MatmulKernels<T>& kernels, int64_t rows, int64_t n, int64_t k) {
  constexpr int kLanes = 16;  // kMatmulNsPerProduct holds for vectors of this many lanes
  const int64_t columns = n > 1 ? std::max<int64_t>(n, kernels.lanes / 2) : n;
  int at_once = 1;  // products in the time of one in float32
  if (kernels.pairs) at_once = 2;
  if (kernels.tiles) at_once = 8;
  const double products = static_cast<double>(rows) * columns * k / at_once;
  const double read = static_cast<double>(rows) * k + static_cast<double>(k) * n;
  return std::max(kMatmulNsPerProduct * kLanes / kernels.lanes * products,
                  kMatmulNsPerByte * sizeof(T) * read);
}

// The products in a chain: k divided into even blocks of at most `most` products, whose length is a multiple
// of 16, the side of the widest transposition, or of a larger `step`.
inline int64_t even_chain_length(int64_t k, int64_t most, int step = 1) {
  if (k <= most) return most;
  return round_up(ceil_div(k, ceil_div(k, most)), std::max(step, 16));
}

// The tiles of a product: m is split evenly into panels of at most `most` rows, which have `rows` rows.
struct TileSize {
  bool threes;  // true if tiles have three vectors of columns
  int most, rows, columns;
};

// One 2-D product, as the tiles see it: elements of a are broadcast, rows of b are vectors. It may be the
// transpose of the caller's: c' = b' a'. Where kernels multiply bfloat16, an element may have two factors
// (MatmulKernels::factors in tile.h): k, cs_a and rs_b then count such elements.
template <class T>
struct Operands {
  int64_t m, n, k;
  const T *a, *b;
  T* c;
  int64_t rs_a, cs_a, rs_b, cs_b, rs_c, cs_c;
  MatmulEpilogue<T> after;
  const T* packed;  // b packed before the call (Matmul::packed), or null
  int missing;      // how many factors the last elements along k lack, since k is rounded up
  TileSize tile = {};
};

// The way of a product that needs no plan: small, packed_rows, dots or few_rows; `tiles` for all others.
template <class T>
MatmulWay way_without_plan(const Matmul<T>& call, const MatmulKernels<T>& kernels);

// Sets e to what follows the sums of the first product of a call or, transposed, of c' = b' a'.
template <class T>
inline void set_epilogue(MatmulEpilogue<T>& e, const Matmul<T>& call, bool transposed) {
  // The bias and norm of a column of c are those of a row of c'.
  const int row = transposed ? 2 : 1;
  if (transposed) {
    e.bias_column = call.bias.data;
    e.norm_column = call.norm.data;
  } else {
    e.bias_row = call.bias.data;
    e.norm_row = call.norm.data;
  }
  e.norm_step = call.norm.shape[1];
  e.activation = call.activation;
  e.saved = call.saved.data;
  e.rs_s = call.saved.strides[row];
  e.cs_s = call.saved.strides[3 - row];
}

// The operands of the same product, with k and the strides along k in elements of the kernels.
template <class T>
Operands<T> operands_of(const Matmul<T>& call, const MatmulKernels<T>& kernels, bool transposed);

// Where a thread packs panels of b and of a.
template <class T>
struct MatmulBuffers {
  T *b, *a;
};

// Who packs b, and which tiles a thread takes.
enum class Sharing {
  columns,  // the threads divide the columns of c; each packs the panels of b of its own, some at a time
  own,      // b is small: each thread packs all of it for itself, then takes consecutive tiles
  one,      // the threads pack b together and wait, then take consecutive tiles
};

template <class T>
class MatmulPlan {
 public:
  MatmulPlan(const Matmul<T>& call, int threads);  // threads: how many work on one product of the batch

  MatmulWay way;
  bool transposed;  // c' = b' a' is computed, and a and b below are b' and a'
  bool prepacked;   // b was packed before the call (Matmul::packed)
  bool fetch_b;     // prepacked: the tiles of a block of b prefetch the next one
  bool pack_a, pack_b;
  bool fetch_a;     // tiles prefetch a: it is read in place and comes from beyond L2
  bool fetch_c;     // tiles prefetch their lines of c: see fetches_c()
  bool fused;       // b is packed by the tiles of the first panel of a, not before
  bool ragged_b;    // b is read in place, except a last panel that no tile fits, which is packed
  bool one_by_one;  // all panels of a are multiplied by a panel of b before the next one, which some tiles
                    // prefetch
  bool overlaps;    // a last panel of b of few columns also takes columns of the one before: no masks needed
  Sharing sharing;
  int mr;                  // the most rows of a panel of a
  int64_t panels_a;        // the number of panels of a: m split evenly, so that no thin tile is left over
  int nr;                  // the columns of a panel of b; the last may have fewer
  int64_t least;           // with `overlaps`, the fewest columns of the last panel of b
  int64_t panels_b_in_l2;  // panels of b used at a time, which stay in L2 for all panels of a
  int64_t panels_a_in_l2;  // panels of a used at a time, which stay in L2 for all panels of b
  int64_t chain_length;    // products in one chain: k split evenly
  int64_t kc;              // products along k that are worked on at once: a multiple of chain_length, or all
  int64_t nc;              // columns of b that are worked on at once: kc x nc elements stay in L3
  int64_t part;            // products of a part, see Matmul::parts; or 0

  // The first row of a panel of a. The first panels have mr rows each, the others one row less.
  int64_t row(int64_t panel) const { return panel * (mr - 1) + std::min(panel, m_ - panels_a * (mr - 1)); }

  // The end of the panels of a from `panel` on that have as many rows as this panel, at most `end`.
  int64_t end_alike(int64_t panel, int64_t end) const {
    const int64_t first = m_ - panels_a * (mr - 1);
    return panel < first ? std::min(first, end) : end;
  }

  int64_t panels_b_of(int64_t n) const { return ceil_div(n, nr); }  // the number of panels of b of n columns

  // The columns of the narrowest tile that holds this many: 1, 2, 4 or 8 vectors, or 3 where nr has three.
  int width(int columns) const {
    if (nr == 3 * kernels_.lanes && columns > 2 * kernels_.lanes) return nr;
    return kernels_.width(columns);
  }

  // Sets how tiles fetch the next rows of a.
  void fetch_rows(int64_t rs_a, int64_t k, MatmulFetch<T>& fetch) const;
  size_t workspace_bytes(int threads) const;
  MatmulBuffers<T> buffers(void* workspace, int thread, bool alone, int threads) const;
  // The bias with a stride of 1: call.bias, or a copy of it in the workspace of the thread.
  const T* dense_bias(const Matmul<T>& call, void* workspace, int thread) const;
  // The operands of product `batch`, transposed if the plan is.
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
  int64_t choose_kc(const Operands<T>& o, bool by_columns) const;
  void size_blocks(const Operands<T>& o, bool by_columns);
  bool fetches_b(const Operands<T>& o) const;
  bool fetches_c(const Operands<T>& o) const;
  bool has_few_panels_a(const Operands<T>& o, int64_t panels_of_two) const;
  void set_last_panel_b(const Operands<T>& o, bool few_panels_a);
  void share(const Operands<T>& o, int threads);
  void pass_one_by_one(const Operands<T>& o);
  void even_out(const Operands<T>& o, int64_t all_panels_b, int threads);
  TileSize tile_of(const Operands<T>& o) const;
  int64_t panels_a_in_l2_of(int64_t k) const {
    return std::max<int64_t>(l2_for_panels_a() / (k * mr * kSize), 1);
  }
  // How many bytes of an operand stay in a cache while other operands pass through it. For a b that is not
  // packed, they stay in L2 where a vector is a whole cache line, otherwise in L1, half of which is used:
  // rows that are not packed may fall into the same sets.
  int64_t near_b() const { return has_lines() ? caches.l2 / 5 : caches.l1 / 2; }
  // One panel of a packed b. At AVX2 less, since each panel of a reads it again.
  int64_t l2_for_panel_b() const { return caches.l2 / (has_lines() ? 4 : 16); }
  static int64_t l2_for_panels_b() { return caches.l2 * 3 / 8; }  // all panels of b that are used at a time
  static int64_t l2_for_panels_a() { return caches.l2 / 2; }      // all panels of a that are used at a time

  static constexpr int64_t kSize = sizeof(T);
  const MatmulKernels<T>& kernels_;
  bool plain_;  // nothing follows the sums
  bool adds_;   // the product is added to c
  int64_t batch_, m_;
  int64_t size_a_, size_b_, size_bias_;  // elements of a buffer: the packed a, the packed b, the dense bias
};

}  // namespace ranvier
