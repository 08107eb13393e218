// Makes a MatmulPlan (plan.h): from the shapes, the strides and the sizes of the caches it decides what is
// packed, how much is worked on at a time, and how the threads share the work. choice.cpp chooses the way,
// tile_size.cpp the tiles; thresholds.h has the constants. None of it changes the bits of c.
#include "kernels/matmul/plan.h"

#include <algorithm>
#include <cstdlib>

#include "base/integers.h"

namespace ranvier {

// True if it is an outer product (k = 1), which outer() in matmul.isa.cpp computes row by row.
template <class T>
bool MatmulPlan<T>::is_outer(const Operands<T>& o) const {
  return o.k == 1 && !prepacked && plain_ && !adds_ && !kernels_.pairs && o.cs_b == 1 && o.cs_c == 1 &&
         o.n >= 2 * kernels_.lanes && o.n * kSize <= near_b();
}

// True if a is not packed: what a tile reads of it stays in L1, or too few panels of b read it for packing to
// pay.
template <class T>
bool MatmulPlan<T>::reads_a_in_place(const Operands<T>& o) const {
  if (kernels_.pairs) return false;
  const int64_t rows = o.tile.rows;
  const int64_t k = std::min(o.k, kernels_.max_chain);
  if (o.rs_a == 1 && o.cs_a > 0) {  // a column is in one cache line: k lines must fit into L1, on few pages
    const int64_t step = o.cs_a * kSize;
    // The greatest power of two that divides the step: lines fill every (apart / 64)-th set of a cache.
    const int64_t apart = std::max<int64_t>(step & -step, 64);
    if (std::min(k, k * step / kAliased) <= kFewPages && k * apart <= caches.l1 / 2) return true;
  }
  if ((rows * std::abs(o.rs_a) + k * std::abs(o.cs_a)) * kSize <= caches.l1 / 4 * 3) return true;
  if (o.rs_a != 1 && o.cs_a != 1 && o.m != 1) return false;
  const bool aliased = o.cs_a == 1 && o.rs_a * kSize % kAliased == 0;
  const int64_t passes = ceil_div(o.n, o.tile.columns);  // how often a is read
  int64_t few = o.cs_a != 1 ? kFewPasses : kFewPassesOfRows;
  if (aliased) few = 1;
  return passes <= few;
}

// True if b can be packed by the tiles of the first panel of a (`fused`), which then costs hardly anything.
template <class T>
bool MatmulPlan<T>::packs_b_by_tiles(const Operands<T>& o) const {
  return o.cs_b == 1 && o.n >= 2 * kernels_.lanes && o.tile.columns == kernels_.packing_columns &&
         o.tile.rows >= kernels_.packing_rows;
}

// Only where tiles have three vectors (AVX2). True if each panel of a reads all of b in place from L2.
// Otherwise all panels of a are multiplied by one panel of b, which stays in L1, and each panel of a then
// writes a short piece of c on another page. With many rows and products, reading b takes longer than writing
// c.
template <class T>
bool MatmulPlan<T>::is_passed_again(const Operands<T>& o) const {
  const int64_t bytes = o.k * std::abs(o.rs_b) * kSize;
  const int64_t bytes_c = o.m * std::abs(o.rs_c) * kSize;
  return o.tile.threes && packs_b_by_tiles(o) && near_b() < bytes && 2 * bytes <= caches.l2 &&
         ((o.k <= kFewPages && o.m <= kFewPages) || (o.k <= kFewProducts && 2 * bytes_c > caches.l2));
}

// True if b is not packed: it stays in a cache, or too few panels of a read it for packing to pay.
template <class T>
bool MatmulPlan<T>::reads_b_in_place(const Operands<T>& o) const {
  if (o.cs_b != 1 || kernels_.pairs) return false;
  const int64_t row = std::abs(o.rs_b) * kSize;
  const int64_t passes = ceil_div(o.m, o.tile.most);
  if (std::min(o.k, kernels_.max_chain) * row <= near_b()) return true;
  if (!packs_b_by_tiles(o)) return passes <= kFewPasses;
  if (is_passed_again(o)) return true;
  if (!has_lines()) return false;
  // The rows of a panel of b are whole cache lines here, which tiles prefetch early enough.
  return passes == 1 || (passes <= kFewPassesOfLines && row % kInTheWay != 0);
}

// The estimated time of a product, in the unit of one FMA of vectors: the tiles, packing, and storing c.
template <class T>
double MatmulPlan<T>::cost(const Operands<T>& o) const {
  const int64_t tiles = ceil_div(o.m, o.tile.most) * ceil_div(o.n, o.tile.columns);
  const int parts = has_halves(o) ? 2 : 1;  // the parts of a vector that are computed alone
  const double products = static_cast<double>(o.m) * o.k;
  double fmas = kCostOfTile * tiles + products * ceil_div(parts * o.n, kernels_.lanes) / parts;
  if (has_narrow(o)) fmas = products * (o.n + kCostOfTransposes) / kernels_.lanes;
  const double packing_b = o.cs_b == 1 ? kCostOfCopy : kCostOfTransposing;
  const double packing_a = o.rs_a == 1 ? kCostOfCopy : kCostOfTransposing;
  if (!reads_b_in_place(o) && !packs_b_by_tiles(o)) fmas += packing_b * o.k * o.n;
  if (!reads_a_in_place(o)) fmas += packing_a * o.k * o.m;
  if (o.cs_c != 1) fmas += kCostOfScattering * o.m * o.n * ceil_div(o.k, kernels_.max_chain);
  return fmas;
}

template <class T>
MatmulPlan<T>::MatmulPlan(const Matmul<T>& call, int threads)
    : kernels_(call.kernels()),
      plain_(!call.bias.data && !call.norm.data && call.activation.kind == Activation::none),
      adds_(call.added),
      batch_(call.c.shape[0]) {
  Operands<T> plain = operands_of(call, kernels_, /*transposed=*/false);
  Operands<T> swapped = operands_of(call, kernels_, /*transposed=*/true);
  part = call.parts > 1 ? plain.k / call.parts : 0;
  choose(call, threads, plain, swapped);
  const Operands<T>& o = transposed ? swapped : plain;
  size_bias_ = call.bias.data && call.bias.strides[0] != 1 ? round_up(call.bias.shape[0], 64) : 0;
  size_a_ = 0;
  size_b_ = 0;
  chain_length = part > 0 ? o.k : even_chain_length(o.k, kernels_.max_chain, kernels_.step);
  // A small batch has the buffers of tiles, too: a caller of plan_bytes() may give no addresses and strides
  // yet.
  if (way != MatmulWay::tiles && way != MatmulWay::small_batch) return;
  // A block of b, of nc columns and at most max_chain products, takes 3/16 of L3.
  const int64_t columns_in_l3 = caches.l3 * 3 / 16 / (kernels_.max_chain * kSize);
  nc = std::max<int64_t>(columns_in_l3 / kWidest, 1) * kWidest;
  m_ = o.m;
  panels_a = std::max<int64_t>(ceil_div(o.m, o.tile.most), 1);
  mr = o.tile.rows;
  nr = o.tile.columns;
  if (o.n < nr) nr = width(static_cast<int>(o.n));
  pack_a = !reads_a_in_place(o);
  pack_b = !prepacked && !reads_b_in_place(o);
  fused = pack_b && packs_b_by_tiles(o);
  fetch_a = sizeof(T) == sizeof(float) && !pack_a && o.cs_a == 1 &&
            (prepacked || 2 * o.m * std::abs(o.rs_a) * kSize > caches.l2);
  fetch_b = fetches_b(o);
  fetch_c = fetches_c(o);
  share(o, threads);
}

// True if the tiles of the later panels of a prefetch the packed panels of b that follow: these come from
// beyond L2, and with few panels of a the first one, which reads them, takes a large part of the time. At
// AVX2 alone, where it was measured.
template <class T>
bool MatmulPlan<T>::fetches_b(const Operands<T>& o) const {
  if (!prepacked || kernels_.rows_of_three == 0) return false;
  return panels_a > 1 && panels_a <= kFewPanelsOfFetchedB && o.k * o.n * kSize > caches.l2;
}

// True if tiles prefetch their lines of c: c is so large that its lines come from beyond L2; or c and b take
// most of L2; or a vector is as long as a cache line and not aligned, so that each is stored to two lines,
// for which tiles of few products would wait.
template <class T>
bool MatmulPlan<T>::fetches_c(const Operands<T>& o) const {
  const int64_t row = std::abs(o.rs_c) * kSize;
  const int64_t bytes = o.m * row;
  if (2 * bytes > 5 * caches.l2) return true;
  if (!has_lines()) return false;
  const int64_t with_b = o.k * o.n * kSize + bytes;
  if (row >= kLongRow && 8 * bytes > caches.l2 && 4 * with_b > 3 * caches.l2) return true;
  return o.rs_c * kSize % kLineBytes != 0 && bytes > caches.l1 && o.k <= kFewProducts;
}

// The products along k that are worked on at once (`kc`). All of them, where the part of b that they need
// stays in L2: one panel of b, or where the threads do not divide the columns all panels of b. Then c is
// written once, with finished sums. To write c several times would take a larger part of the time of pairs
// (pairs.h), so their b may take twice L2.
template <class T>
int64_t MatmulPlan<T>::choose_kc(const Operands<T>& o, bool by_columns) const {
  if (o.k <= chain_length) return std::max<int64_t>(o.k, 1);
  if (kernels_.tiles) return chain_length;              // a panel of a stays in L1
  const bool together = kernels_.pairs && !by_columns;  // pack_b() packs some rows at a time
  // Each row of a large b is on separate pages: as few rows as possible are used at a time, over all columns.
  // Where b is read in place, L2 must also keep the lines that two panels of b share until the second is
  // read.
  const int64_t twice = pack_b || prepacked ? 4 : 3;  // b may take half of this times L2
  if (!together && o.cs_b == 1 && 2 * o.k * std::abs(o.rs_b) * kSize > twice * caches.l2) return chain_length;
  int64_t most = l2_for_panel_b() / (std::max(nr, mr) * kSize);
  int64_t near = pack_b ? caches.l2 : caches.l2 / 2;  // the bytes that all panels of b may take
  if (together) near = 2 * caches.l2;
  if (!by_columns) most = std::min(most, near / (std::min(o.n, nc) * kSize));
  return std::min(std::max<int64_t>(most / chain_length, 1) * chain_length, o.k);
}

// Sets kc, panels_a_in_l2, panels_b_in_l2 and the sizes of the buffers. by_columns: the threads divide the
// columns, else the panels of a.
template <class T>
void MatmulPlan<T>::size_blocks(const Operands<T>& o, bool by_columns) {
  const int64_t all_panels_b = panels_b_of(o.n);
  kc = choose_kc(o, by_columns);
  panels_a_in_l2 = by_columns ? panels_a : panels_a_in_l2_of(kc);
  panels_b_in_l2 = std::max<int64_t>(l2_for_panels_b() / (kc * nr * kSize), kFewestPanelsB);
  if (kernels_.tiles && by_columns && o.cs_b != 1) panels_b_in_l2 = 1;  // it stays in L1
  int64_t packed = 1;  // the panels of b that are packed at a time; a ragged last one is packed alone
  if (pack_b && by_columns) packed = std::min(panels_b_in_l2, all_panels_b);
  if (pack_b && !by_columns) packed = panels_b_of(std::min(o.n, nc));
  // Each buffer is rounded up to whole cache lines, so that no two threads write to the same line. share()
  // calls this for both ways where a smaller team than expected may choose the other one: the larger size
  // stays.
  if (pack_a) size_a_ = std::max(size_a_, round_up(kc * std::min(o.m, panels_a_in_l2 * mr), 64));
  if (pack_b || ragged_b) size_b_ = std::max(size_b_, round_up(kc * nr * packed, 64));
}

// Decides how the threads share the work: who packs which part of b, and which tiles a thread takes.
template <class T>
void MatmulPlan<T>::share(const Operands<T>& o, int threads) {
  const int64_t all_panels_b = panels_b_of(o.n);
  const int64_t panels_of_two = nr == 3 * kernels_.lanes ? ceil_div(o.n, 2 * kernels_.lanes) : all_panels_b;
  const bool few = has_few_panels_a(o, panels_of_two);
  set_last_panel_b(o, few);
  // With some panels of b and not too many panels of a, the threads may also divide the columns and pack
  // panels of b just before they use them. Two threads then write to some lines of c, at the boundaries of
  // their columns. That must cost less than it costs to read parts of b that another core has packed.
  const bool as_needed = !few && pack_b && panels_of_two >= kSomePanelsB &&
                         panels_a <= panels_a_in_l2_of(choose_kc(o, /*by_columns=*/true));
  const bool by_columns = few || (as_needed && (threads == 1 || o.k * o.n > kLinesOfB * o.m));
  if (as_needed) size_blocks(o, !by_columns);
  size_blocks(o, by_columns);
  const bool one_b = fused || size_b_ > kOwn;
  sharing = one_b ? Sharing::one : Sharing::own;
  if (by_columns) sharing = Sharing::columns;
  if (!by_columns) even_out(o, all_panels_b, threads);
  const bool near = kc * std::abs(o.rs_b) * kSize <= near_b();
  // An a that is read in place across cache lines must not be read again for each panel of b.
  const bool along = pack_a || o.cs_a == 1;
  one_by_one = by_columns && !near && along && o.cs_b == 1 && o.tile.threes && !is_passed_again(o);
  if (one_by_one) pass_one_by_one(o);
}

// True if there are so few panels of a that the threads divide the columns. panels_of_two: the number of
// panels of b, counted as panels of two vectors.
template <class T>
bool MatmulPlan<T>::has_few_panels_a(const Operands<T>& o, int64_t panels_of_two) const {
  if (prepacked) return false;
  if (is_passed_again(o) && o.m <= kFewPages) return true;
  const bool far = has_lines() && std::min(o.k, kernels_.max_chain) * std::abs(o.rs_b) * kSize > near_b();
  int64_t some = far ? kFewPassesOfLines : kFewPanelsAInPlace;
  if (pack_b) some = kFewPanelsA;
  return panels_a <= std::min(some * kernels_.mr / o.tile.most, panels_of_two);
}

// Decides how a last panel of b with fewer columns is read at levels without masked loads (`masks`), since a
// tile must not read beyond its columns: it overlaps the panel before (`overlaps`), or it alone is packed and
// padded (`ragged_b`).
template <class T>
void MatmulPlan<T>::set_last_panel_b(const Operands<T>& o, bool few_panels_a) {
  const int lanes = kernels_.lanes;
  const int last = static_cast<int>(o.n % nr);
  const bool masks = lanes * kSize == 64;
  least = nr == 3 * lanes ? 2 * lanes : lanes;
  overlaps = !prepacked && !masks && o.n >= lanes && (o.n % nc == 0 || o.n % nc >= lanes);
  ragged_b = !pack_b && !prepacked && !overlaps && !masks &&
             ((last != 0 && width(last) != last) || (few_panels_a && nr > lanes * 2));
}

// A panel of b stays in L1 while all panels of a are multiplied by it. It is read in place if its lines fit
// into L1 and do not fall into few sets. Where the lines nearly fill L1, each panel of a evicts some of them;
// for many panels of a packing pays then.
template <class T>
void MatmulPlan<T>::pass_one_by_one(const Operands<T>& o) {
  panels_b_in_l2 = 1;
  const int64_t l1 = panels_a > kManyPanelsA ? caches.l1 * 3 / 4 : caches.l1;
  const bool spread = std::abs(o.rs_b) * kSize % kInTheSameSets != 0;
  const bool fits = kc * kLineBytes * kLinesOfThree <= 2 * l1;
  if (!fused || !overlaps || !spread || !fits) return;
  pack_b = false;
  fused = false;
}

// Makes the number of panels of a a multiple of the threads, with hardly fewer rows each, so that all threads
// have the same number of tiles: where there are few tiles and smaller panels of a do not change the tile's
// columns.
template <class T>
void MatmulPlan<T>::even_out(const Operands<T>& o, int64_t all_panels_b, int threads) {
  constexpr int64_t kManyTiles = 8;
  if (panels_a * all_panels_b % threads == 0 || panels_a * all_panels_b >= kManyTiles * threads) return;
  const int64_t even = round_up(panels_a, threads);
  const int fewer = static_cast<int>(ceil_div(o.m, even));
  if (even <= o.m && (nr == 3 * kernels_.lanes || kernels_.nr(fewer) >= nr) &&
      (!fused || o.m / even >= kernels_.packing_rows)) {
    panels_a = even;
    mr = fewer;
  }
}

// Sets how a tile prefetches the rows of a later panel of a: fetch.a elements further in each step of k, so
// that after k steps all `mr` rows are fetched, with what is between them. Where rows are far apart, it
// fetches one row after another and skips gap_a elements between them; the rows are divided among the chains.
template <class T>
void MatmulPlan<T>::fetch_rows(int64_t rs_a, int64_t k, MatmulFetch<T>& fetch) const {
  fetch.gap_a = 0;
  if (std::abs(rs_a) <= kFarApart * k) {
    fetch.a = static_cast<int>(mr * rs_a / k);
    return;
  }
  const int64_t in_a_chain = ceil_div(int64_t{mr}, ceil_div(k, chain_length));
  const int64_t steps = std::max<int64_t>(std::min(k, chain_length) / in_a_chain, 1);
  fetch.a = static_cast<int>(ceil_div(k, steps));
  fetch.gap_a = rs_a - round_up(k, fetch.a);
}

template <class T>
size_t MatmulPlan<T>::workspace_bytes(int threads) const {
  const int64_t own = size_a_ + size_bias_;
  const int64_t packed_b = sharing == Sharing::one ? std::min<int64_t>(batch_, threads) : threads;
  return sizeof(T) * (own * threads + size_b_ * packed_b);
}

// The layout of the workspace: [bias and a of each thread][b of each thread, or one b for all].
template <class T>
MatmulBuffers<T> MatmulPlan<T>::buffers(void* workspace, int thread, bool alone, int threads) const {
  T* base = static_cast<T*>(workspace);
  const int b = sharing != Sharing::one || alone ? thread : 0;
  const int64_t own = size_bias_ + size_a_;
  return {base + threads * own + b * size_b_, base + thread * own + size_bias_};
}

template <class T>
const T* MatmulPlan<T>::dense_bias(const Matmul<T>& call, void* workspace, int thread) const {
  if (size_bias_ == 0) return call.bias.data;
  T* copy = static_cast<T*>(workspace) + thread * (size_bias_ + size_a_);
  for (int64_t j = 0; j < call.bias.shape[0]; ++j) copy[j] = call.bias.data[j * call.bias.strides[0]];
  return copy;
}

template <class T>
Operands<T> operands_of(const Matmul<T>& call, const MatmulKernels<T>& kernels, bool transposed) {
  Operands<T> o{};
  o.m = call.c.shape[1];
  o.n = call.c.shape[2];
  o.k = call.a.shape[2];
  o.a = call.a.data;
  o.rs_a = call.a.strides[1];
  o.cs_a = call.a.strides[2];
  o.b = call.b.data;
  o.rs_b = call.b.strides[1];
  o.cs_b = call.b.strides[2];
  o.c = call.c.data;
  o.rs_c = call.c.strides[1];
  o.cs_c = call.c.strides[2];
  o.packed = call.packed.data;
  set_epilogue(o.after, call, transposed);
  o.missing = kernels.missing(o.k);
  o.k = kernels.elements(o.k);
  o.cs_a *= kernels.factors;
  o.rs_b *= kernels.factors;
  if (!transposed) return o;
  std::swap(o.m, o.n);
  std::swap(o.a, o.b);
  std::swap(o.rs_a, o.cs_b);
  std::swap(o.cs_a, o.rs_b);
  std::swap(o.rs_c, o.cs_c);
  return o;
}

template <class T>
Operands<T> MatmulPlan<T>::operands(const Matmul<T>& call, int64_t batch, const T* dense_bias) const {
  Operands<T> o = operands_of(call, kernels_, transposed);
  const int64_t step_a = batch * call.a.strides[0];
  const int64_t step_b = batch * call.b.strides[0];
  o.a += transposed ? step_b : step_a;
  o.b += transposed ? step_a : step_b;
  o.c += batch * call.c.strides[0];
  if (o.after.saved) o.after.saved += batch * call.saved.strides[0];
  if (transposed) {
    o.after.bias_column = dense_bias;
  } else {
    o.after.bias_row = dense_bias;
  }
  return o;
}

template class MatmulPlan<float>;
template class MatmulPlan<double>;

}  // namespace ranvier
