// Chooses the way to compute a product c (m, n) = a (m, k) b (k, n): the first in this list whose condition
// holds. MatmulWay (plan.h) has the same names.
//
//   way          rows of a   columns of b        when                                         runs in
//   small        any         at most 256         n and k are small, c by rows; m is small or  small.h
//                                                an epilogue follows
//   packed_rows  at most 8   any                 b is packed, at most 131,072 products        microkernel.h
//   dots         any         at most 4           a and b are contiguous along k               dot.h
//   few_rows     at most 4,  any                 a and b are contiguous along k               few_rows.h
//                or 8                            the same, float32, b is larger than L2
//   tiles        any         any                 b is packed, or Matmul::parts > 1            microkernel.h
//   gemv         at most 96  any                 bfloat16: b is rounded where it is read bfloat16.isa.cpp,
//                                                                                             amx.isa.cpp
//   tiles        any         any                 bfloat16                                     the same
//   gemv         at most 8   eight vectors       b is large and stored by rows                gemv.h
//   stack        at most 32  at most 2 vectors   a batch, b and c by rows, no epilogue        stack.h
//                any         any                 the same, and k is 1
//   small_batch  any         at most 256         a batch of products like `small`, each by    small.h
//                                                one thread
//   tiles        any         any                 all others                                   microkernel.h
//
// "bfloat16" means that a and b are rounded to bfloat16 (MatmulKernels::pairs). Then only the ways of the two
// lines with this word are taken, and the tiles of a packed b. `parts` divides k into parts whose sums are
// added in a tree (matmul.h).
//
// Of the ways at one precision only dots changes the bits of c (see matmul.h). tiles (unless b is packed),
// the gemv of gemv.h and stack compute the transposes c' = b' a' where that costs less (`transposed`); "a"
// and "b" in the list are then b' and a'. dots computes the transposes if c has fewer columns than rows.
// run_tile() in matmul.isa.cpp has a second list: which code runs a tile.
#include <algorithm>
#include <cstdlib>

#include "base/precision.h"
#include "kernels/matmul/amx.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/pairs.h"
#include "kernels/matmul/plan.h"

namespace ranvier {

// The kernels that run the call: those of bfloat16 where the precision allows them, the processor has them,
// and n and k are large enough; otherwise those of T at the active ISA level.
template <class T>
const MatmulKernels<T>& Matmul<T>::kernels() const {
  if constexpr (sizeof(T) == sizeof(float))
    if (precision != Precision::highest) {
      const int64_t n = c.shape[2];
      const int64_t k = a.shape[2];
      const Bfloat16 kind = bfloat16();
      const bool medium = precision == Precision::medium;
      if (kind >= Bfloat16::tiles) {
        if (pays_in_tiles(medium, n, k)) return amx_kernels(medium, kind == Bfloat16::emulated);
      } else if (medium && kind == Bfloat16::pairs && pays_in_pairs(n, k)) {
        return medium_kernels();
      }
    }
  return matmul_kernels<T>();
}

// True if the call may have `added`, that is, compute c += a @ b. It requires that each element is one chain:
// one sum by FMAs in the order of k, of at most kMaxChain products (matmul.h). It also requires that tiles
// compute the call at every ISA level and team size, since tiles add the finished chain to c. So the bits are
// the same everywhere.
template <class T>
bool Matmul<T>::can_add() const {
  const int64_t k = a.shape[2];
  return c.shape[0] == 1 && parts == 1 && !kernels().halves() &&
         std::min(c.shape[1], c.shape[2]) > kGemvRows && k > 0 && k <= matmul_kernels<T>().max_chain &&
         !bias.data && !norm.data && !saved.data && activation.kind == Activation::none;
}

namespace {

// True if a and b are contiguous along k, and c has few columns, which become dot products (see matmul.h), or
// few rows.
template <class T>
bool reads_along_k(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  const int64_t m = call.c.shape[1];
  const int64_t n = call.c.shape[2];
  const int64_t k = call.a.shape[2];
  if (k < kernels.lanes || call.a.strides[2] != 1 || call.b.strides[1] != 1) return false;
  const bool far = k * n * int64_t(sizeof(T)) > caches.l2;
  const int64_t few_rows = far ? kernels.far_rows : kDotRows;
  return n <= kDotRows || m <= few_rows;
}

// True if `small` (small.h) can compute the product, whatever kSmallSide and kSmallLong are: its sums are one
// chain, as those of tiles are up to kMaxChain products.
template <class T>
bool has_small(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  if (call.a.shape[2] > kernels.max_chain) return false;
  const auto is_rows = [&](const auto& v) {
    const bool dense = v.strides[1] == v.shape[2] || v.shape[1] == 1;
    return v.strides[2] == 1 && (dense || call.activation.is_in_tiles());
  };
  return kernels.small && !call.added && !call.packed.data && !call.norm.data && call.parts == 1 &&
         (!call.bias.data || call.bias.strides[0] == 1) && is_rows(call.c) &&
         (!call.saved.data || is_rows(call.saved));
}

// True if b has at most kSmallSide^2 elements, so that it fits into L1 beside the sums.
template <class T>
bool has_small_b(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  return call.a.shape[2] * round_up(call.c.shape[2], kernels.lanes) <= kSmallSide * kSmallSide;
}

// The condition of `small`: n and k are small, and m is small, too, unless a bias or an activation follows.
// small.h applies these in registers, which takes less time than the epilogue of tiles.
template <class T>
bool is_small(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  const int64_t m = call.c.shape[1];
  const int64_t longest = std::max(call.c.shape[2], call.a.shape[2]);
  const int64_t longest_small = m <= kSmallSide ? kSmallSide : kSmallLong;
  if (longest > longest_small || call.c.shape[0] != 1) return false;
  const bool plain = !call.bias.data && call.activation.kind == Activation::none;
  if (m > kSmallSide && (plain || !has_small_b(call, kernels))) return false;
  return !reads_along_k(call, kernels) && has_small(call, kernels);
}

// The condition of `small_batch`: each product of a batch is computed as a small one, by one thread. Where
// columns of b are contiguous and the level has many registers (kernels.many_registers()), tiles with a
// packed b take less time for more than a few products along k.
template <class T>
bool is_small_batch(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  const int64_t n = call.c.shape[2];
  const int64_t k = call.a.shape[2];
  const bool rows = call.b.strides[2] == 1 && n % kernels.lanes == 0;
  return call.c.shape[0] > 1 && std::max(n, k) <= kSmallLong && has_small_b(call, kernels) &&
         has_small(call, kernels) && (!kernels.many_registers() || k <= kFewProductsOfBatch || rows);
}

// `dots` or `few_rows`, or `tiles` for all other ways.
template <class T>
MatmulWay way_along_k(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  if (kernels.pairs || call.parts > 1 || call.packed.data || !reads_along_k(call, kernels))
    return MatmulWay::tiles;
  return call.c.shape[2] <= kDotRows ? MatmulWay::dots : MatmulWay::few_rows;
}

// The condition of `packed_rows`: b is packed (MatmulPack), there are few rows, and the product is so short
// that making a plan would take about as long.
template <class T>
bool is_packed_rows(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  const int64_t m = call.c.shape[1];
  const int64_t k = call.a.shape[2];
  return call.packed.data && m <= std::min(kernels.mr, kGemvRows) && k > 0 &&
         m * k * call.c.shape[2] <= kShortPacked && !kernels.pairs;
}

}  // namespace

template <class T>
MatmulWay way_without_plan(const Matmul<T>& call, const MatmulKernels<T>& kernels) {
  if (is_small(call, kernels)) return MatmulWay::small;
  if (call.c.shape[0] > 1 || call.added || (call.bias.data && call.bias.strides[0] != 1))
    return MatmulWay::tiles;
  if (is_packed_rows(call, kernels)) return MatmulWay::packed_rows;
  return way_along_k(call, kernels);
}

template <class T>
bool Matmul<T>::is_small() const {
  return way_without_plan(*this, kernels()) == MatmulWay::small;
}

// The condition of `gemv`: a has few rows, and b is large and stored by rows.
template <class T>
bool MatmulPlan<T>::is_gemv(const Operands<T>& o) const {
  if (o.k == 0 || o.cs_b != 1 || o.n < 8 * kernels_.lanes || o.m > kGemvRows) return false;
  if (o.m == 1 && o.n * kSize > kRowInRegisters) return true;
  const int64_t row = std::abs(o.rs_b) * kSize;
  const int64_t bytes = o.k * row;
  // Where there are many registers, tiles that read b in place take less time. The exception is a b whose
  // rows are so far apart that they share few sets of L1: by a multiple of kAliased bytes, or for four rows
  // of a of kInTheWay bytes (thresholds.h). There gemv takes less time for one group of up to four rows, two
  // whole groups (8 rows), and for float64, whose tiles are narrow.
  if (kernels_.many_registers()) {
    const bool groups = o.m <= 4 || o.m == kGemvRows || kSize > 4;
    const int64_t same_sets = o.m == 4 ? kInTheWay : kAliased;
    const bool in_the_way = groups && row % same_sets == 0;
    const int64_t large = in_the_way ? 2 * caches.l2 : std::max(2 * caches.l2, caches.l3 / 2);
    return bytes >= large;
  }
  // Without many registers, gemv takes less time for one row where b is at least twice L2 (a longer row than
  // kRowInRegisters was decided above), for two to four where it is at least twice L1. For more it does so
  // where b comes from memory (see kGemvRows), or, if tiles cannot pack b, where b is at least twice L2.
  if (o.m > kGemvRows / 2) {
    const int64_t large = kernels_.packing_columns > 0 ? caches.l3 / 2 : 0;
    return bytes >= std::max(2 * caches.l2, large);
  }
  const int64_t cache = o.m > 1 ? caches.l1 : caches.l2;
  return bytes >= 2 * cache;
}

// The condition of `stack`: a batch of products of few rows and columns, or of a column and a row, without an
// epilogue.
template <class T>
bool MatmulPlan<T>::is_stack(const Matmul<T>& call, const Operands<T>& o) const {
  const bool is_small = o.n <= 2 * kernels_.lanes && o.m <= kStackRows && o.k <= kernels_.max_chain;
  return batch_ > 1 && (is_small || o.k == 1) && o.cs_b == 1 && o.cs_c == 1 && !call.bias.data &&
         !call.norm.data && call.activation.kind == Activation::none;
}

// The condition of `gemv` for bfloat16 (pairs.h, amx.h): a has so few rows that rounding b to bfloat16 each
// time it is read takes less time than packing it. An element then has `factors` numbers that are neighbours
// along k, 2 for pairs. The stride from an element to the next along k is in numbers, so it is equal to
// `factors` if b is contiguous along k. Without AMX the limit is kDotRows rows of a for such a b; for a b
// with contiguous rows it is kPassedRows if b takes at most half of L2, else kPassedTwice.
template <class T>
bool MatmulPlan<T>::is_gemv_of_bfloat16(const Operands<T>& o) const {
  if (part > 0 || o.k == 0) return false;
  if (kernels_.tiles) return (o.cs_b == 1 || o.rs_b == kernels_.factors) && o.m <= kAmxFewRows;
  if (o.cs_b != 1) return o.rs_b == 2 && o.m <= kDotRows;
  const bool in_half_of_l2 = 2 * o.k * std::abs(o.rs_b) * kSize <= caches.l2;
  return o.m <= (in_half_of_l2 ? kPassedRows : kPassedTwice);
}

// The number of elements that packing for AMX's tiles transposes: those of an a that is not contiguous along
// k (its stride along k is not `factors` numbers), and of a b whose rows are not contiguous.
template <class T>
int64_t MatmulPlan<T>::elements_turned(const Operands<T>& o) const {
  const int64_t of_a = o.cs_a == kernels_.factors ? 0 : o.m * o.k;
  const int64_t of_b = o.cs_b == 1 ? 0 : o.k * o.n;
  return of_a + of_b;
}

// Sets way, transposed and the tile sizes: the part of the list above that needs a plan. threads: how many
// work on one product of the batch. plain: the operands of c = a b; swapped: those of c' = b' a'.
template <class T>
void MatmulPlan<T>::choose(const Matmul<T>& call, int threads, Operands<T>& plain, Operands<T>& swapped) {
  prepacked = call.packed.data != nullptr;
  way = way_along_k(call, kernels_);
  transposed = way == MatmulWay::dots && plain.n < plain.m;
  if (way != MatmulWay::tiles) return;
  plain.tile = tile_of(plain);
  if (prepacked) return;
  swapped.tile = tile_of(swapped);
  if (kernels_.pairs && is_gemv_of_bfloat16(plain)) {
    way = MatmulWay::gemv;
    return;
  }
  transposed =
      kernels_.tiles ? elements_turned(swapped) < elements_turned(plain) : cost(swapped) < cost(plain);
  if (kernels_.pairs || part > 0) return;
  if (plain.k == 1 && is_stack(call, plain)) {  // whose rows of c are contiguous
    transposed = false;
    way = MatmulWay::stack;
    return;
  }
  const Operands<T>& o = transposed ? swapped : plain;
  if (is_gemv(o))
    way = MatmulWay::gemv;
  else if (is_stack(call, o))
    way = MatmulWay::stack;
  else if (threads == 1 && is_small_batch(call, kernels_))
    way = MatmulWay::small_batch;
}

template void MatmulPlan<float>::choose(const Matmul<float>&, int, Operands<float>&, Operands<float>&);
template void MatmulPlan<double>::choose(const Matmul<double>&, int, Operands<double>&, Operands<double>&);
template MatmulWay way_without_plan(const Matmul<float>&, const MatmulKernels<float>&);
template MatmulWay way_without_plan(const Matmul<double>&, const MatmulKernels<double>&);
template bool Matmul<float>::is_small() const;
template bool Matmul<double>::is_small() const;
template const MatmulKernels<float>& Matmul<float>::kernels() const;
template const MatmulKernels<double>& Matmul<double>::kernels() const;
template bool Matmul<float>::can_add() const;
template bool Matmul<double>::can_add() const;

}  // namespace ranvier
