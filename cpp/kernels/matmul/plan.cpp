// The choices of plan.h, from the shapes, the strides and the caches.
#include "kernels/matmul/plan.h"

#include <algorithm>
#include <cstdlib>

#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/matmul/amx.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

namespace {

constexpr int64_t kRowInRegisters = 512;   // bytes of a row of c that is one tile
constexpr int64_t kStackRows = 32;         // the most rows of a product of a stack
constexpr int64_t kFewPasses = 3;          // an operand that is read so few times is not worth packing
constexpr int64_t kFewPassesOfRows = 16;   // a's rows, unless they are in each other's way:
constexpr int64_t kFewPassesOfLines = 16;  // b's rows, of which vectors are whole lines, unless they are so
constexpr int64_t kAliased = 4096;   // bytes; rows so far apart share the sets of L1, which hold few lines
constexpr int64_t kLongRow = 1024;   // bytes of a row of c
constexpr int64_t kInTheWay = 1024;  // bytes; the same for a few rows
// Rows of a that read b in place where it becomes pairs, by whether it stays in L2 for the next ones.
constexpr int64_t kPassedRows = 96, kPassedTwice = 24;
constexpr int64_t kFewPages = 64;  // pages of memory
constexpr int64_t kLinesOfB = 80;  // elements of b read from another core in the time of a shared line
constexpr int64_t kFewPanels = 6;  // so few panels of a let threads split the columns of b, if each gets some
// With this many strips of b, counted as of two vectors where they have three, threads split the columns also
// for more panels.
constexpr int64_t kSomeStrips = 4;
constexpr int64_t kFewPanelsInPlace = 3;  // the same if b is not packed: more panels share it better
constexpr int64_t kFewProducts = 12;      // up to this many in a tile its stores take most of the time
constexpr int64_t kLine = 64, kInTheSameSets = 256;  // bytes
constexpr int64_t kManyPanels = 8;                   // for more panels, packing b pays from 3/4 of L1 on
constexpr int64_t kLinesOfThree = 5;  // twice the lines of a row of three vectors that is not aligned

constexpr int64_t kFarApart = 2;  // times the products of rows: what is between them is not fetched

constexpr int64_t kWidest = 512;    // a multiple of the columns of any tile
constexpr int kGroup = 3;           // strips that a thread packs at once at least
constexpr int64_t kOwn = 32 << 10;  // elements: packed as soon as half of them are got from another thread

}  // namespace

// True if it is an outer product (k = 1), whose rows are stored one after the other: see outer() in
// matmul.isa.cpp.
template <class T>
bool MatmulPlan<T>::is_outer(const Operands<T>& o) const {
  return o.k == 1 && !prepacked && plain_ && !adds_ && !kernels_.pairs && o.cs_b == 1 && o.cs_c == 1 &&
         o.n >= 2 * kernels_.lanes && o.n * kSize <= near_b();
}

template <class T>
bool MatmulPlan<T>::is_contiguous(const Operands<T>& o) const {
  return o.k >= kernels_.lanes && o.cs_a == 1 && o.rs_b == 1;
}

template <class T>
bool MatmulPlan<T>::is_gemv(const Operands<T>& o) const {
  if (o.k == 0 || o.cs_b != 1 || o.n < 8 * kernels_.lanes || o.m > kGemvRows) return false;
  if (o.m == 1 && o.n * kSize > kRowInRegisters) return true;
  const int64_t row = std::abs(o.rs_b) * kSize, bytes = o.k * row;
  // Where the registers hold many sums, tiles that read b in place take less time, unless its rows are in
  // each other's way: then `gemv`, whose groups of four rows are whole, or float64, whose tiles are narrow.
  if (kernels_.many_registers() && !kernels_.pairs) {
    const bool groups = o.m <= 4 || o.m == kGemvRows || kSize > 4;
    const bool in_the_way = groups && row % (o.m == 4 ? kInTheWay : kAliased) == 0;
    return bytes >= std::max(2 * caches.l2, in_the_way ? int64_t{0} : caches.l3 / 2);
  }
  const bool two_panels = o.m > kernels_.mr && kernels_.mr > kGemvRows / 2;
  const bool few = 1 < o.m && (o.m <= kGemvRows / 2 || two_panels) && !kernels_.many_registers();
  return bytes >= 2 * (few ? caches.l1 : caches.l2);  // faster in whole rows
}

template <class T>
bool MatmulPlan<T>::is_stack(const Matmul<T>& call, const Operands<T>& o) const {
  return batch_ > 1 && o.n <= 2 * kernels_.lanes && o.m <= kStackRows && o.k <= kernels_.kc && o.cs_b == 1 &&
         o.cs_c == 1 && !call.bias.data && !call.norm.data && call.activation.kind == Activation::none;
}

template <class T>
bool MatmulPlan<T>::reads_a_in_place(const Operands<T>& o) const {
  if (kernels_.pairs) return false;
  const int64_t rows = o.tile.rows, k = std::min(o.k, kernels_.kc);
  if (o.rs_a == 1 && o.cs_a > 0) {  // a line for each product: as few as stay in L1, and on few pages
    const int64_t step = o.cs_a * kSize, apart = std::max<int64_t>(step & -step, 64);
    if (std::min(k, k * step / kAliased) <= kFewPages && k * apart <= caches.l1 / 2) return true;
  }
  if ((rows * std::abs(o.rs_a) + k * std::abs(o.cs_a)) * kSize <= caches.l1 / 4 * 3) return true;
  if (o.rs_a != 1 && o.cs_a != 1 && o.m != 1) return false;
  const bool aliased = o.cs_a == 1 && o.rs_a * kSize % kAliased == 0;
  const int64_t passes = ceil_div(o.n, o.tile.columns);
  return passes <= (aliased ? 1 : o.cs_a != 1 ? kFewPasses : kFewPassesOfRows);
}

// The tiles of one panel pack b at no cost: for a second one, or to fetch far ahead, that pays.
template <class T>
bool MatmulPlan<T>::packs_b_by_tiles(const Operands<T>& o) const {
  return o.cs_b == 1 && o.n >= 2 * kernels_.lanes && o.tile.columns == kernels_.packing_columns &&
         o.tile.rows >= kernels_.packing_rows;
}

// At AVX2: whether each panel of a reads all of a b in L2, where it is. Else the panels pass a strip of b in
// L1, and each writes a short piece of c on another page. With more rows and products, b takes longer than c.
template <class T>
bool MatmulPlan<T>::is_passed_again(const Operands<T>& o) const {
  const int64_t bytes = o.k * std::abs(o.rs_b) * kSize, bytes_c = o.m * std::abs(o.rs_c) * kSize;
  return o.tile.threes && packs_b_by_tiles(o) && near_b() < bytes && 2 * bytes <= caches.l2 &&
         ((o.k <= kFewPages && o.m <= kFewPages) || (o.k <= kFewProducts && 2 * bytes_c > caches.l2));
}

template <class T>
bool MatmulPlan<T>::reads_b_in_place(const Operands<T>& o) const {
  if (o.cs_b != 1 || kernels_.pairs) return false;
  const int64_t row = std::abs(o.rs_b) * kSize, passes = ceil_div(o.m, o.tile.most);
  if (std::min(o.k, kernels_.kc) * row <= near_b()) return true;
  if (!packs_b_by_tiles(o)) return passes <= kFewPasses;
  if (is_passed_again(o)) return true;
  if (!has_lines()) return false;
  // A tile's rows are whole cache lines, and fetched ahead in time.
  return passes == 1 || (passes <= kFewPassesOfLines && row % kInTheWay != 0);
}

// The tiles, and what is moved to feed them, in FMAs of vectors; fitted to 90 random shapes at v3 and v4.
template <class T>
double MatmulPlan<T>::cost(const Operands<T>& o) const {
  constexpr double kTile = 80, kTransposes = 3;  // for each product of a vector of rows, see narrow.h
  constexpr double kCopied = 0.15, kTransposed = 0.45, kScattered = 2;  // an element
  const int64_t tiles = ceil_div(o.m, o.tile.most) * ceil_div(o.n, o.tile.columns);
  const int parts = has_halves(o) ? 2 : 1;  // parts of a vector
  const double products = static_cast<double>(o.m) * o.k;
  double fmas = kTile * tiles + products * ceil_div(parts * o.n, kernels_.lanes) / parts;
  if (has_narrow(o)) fmas = products * (o.n + kTransposes) / kernels_.lanes;
  if (!reads_b_in_place(o) && !packs_b_by_tiles(o)) fmas += (o.cs_b == 1 ? kCopied : kTransposed) * o.k * o.n;
  if (!reads_a_in_place(o)) fmas += (o.rs_a == 1 ? kCopied : kTransposed) * o.k * o.m;
  if (o.cs_c != 1) fmas += kScattered * o.m * o.n * ceil_div(o.k, kernels_.kc);
  return fmas;
}

template <class T>
void MatmulPlan<T>::choose(const Matmul<T>& call, Operands<T>& plain, Operands<T>& swapped) {
  prepacked = call.packed.data != nullptr;
  plain.tile = tile_of(plain);
  if (prepacked) {
    dots = few = gemv = stack = transposed = false;
    return;
  }
  swapped.tile = tile_of(swapped);
  if (kernels_.pairs || part > 0) {
    dots = few = stack = false;
    const bool near = 2 * plain.k * std::abs(plain.rs_b) * kSize <= caches.l2;
    const int64_t in_place = near ? kPassedRows : kPassedTwice;
    int64_t most = plain.cs_b == 1 ? in_place : plain.rs_b == 2 ? kDotRows : 0;
    if (kernels_.tiles) most = plain.cs_b == 1 || plain.rs_b == kernels_.factors ? kAmxFewRows : 0;
    gemv = part == 0 && plain.k > 0 && plain.m <= most;
    // Tiles: what needs no transposition, rows of a along k and rows of b.
    const auto turned = [&](const Operands<T>& o) {
      return (o.cs_a == kernels_.factors ? 0 : o.m * o.k) + (o.cs_b == 1 ? 0 : o.k * o.n);
    };
    transposed = !gemv && (kernels_.tiles ? turned(swapped) < turned(plain) : cost(swapped) < cost(plain));
    return;
  }
  dots = plain.n <= kDotRows && is_contiguous(plain);
  few = !dots && plain.m <= kDotRows && is_contiguous(plain);
  transposed = dots ? plain.n < plain.m : !few && cost(swapped) < cost(plain);
  const Operands<T>& o = transposed ? swapped : plain;
  gemv = !dots && !few && is_gemv(o);
  stack = !dots && !few && !gemv && is_stack(call, o);
}

template <class T>
MatmulPlan<T>::MatmulPlan(const Matmul<T>& call, int threads)
    : kernels_(call.kernels()),
      plain_(!call.bias.data && !call.norm.data && call.activation.kind == Activation::none),
      adds_(call.added),
      batch_(call.c.shape[0]) {
  Operands<T> plain = orient(call, false), swapped = orient(call, true);
  part = call.parts > 1 ? plain.k / call.parts : 0;
  choose(call, plain, swapped);
  const Operands<T>& o = transposed ? swapped : plain;
  size_bias_ = call.bias.data && call.bias.strides[0] != 1 ? round_up(call.bias.shape[0], 64) : 0;
  size_a_ = size_b_ = 0;
  k_block = part > 0 ? o.k : k_block_of(o.k, kernels_.kc, kernels_.step);
  nc = std::max<int64_t>(caches.l3 * 3 / 16 / (kernels_.kc * kSize) / kWidest, 1) * kWidest;
  if (dots || few || gemv || stack) return;
  m_ = o.m, panels = std::max<int64_t>(ceil_div(o.m, o.tile.most), 1);
  rows = o.tile.rows;
  nr = o.tile.columns;
  if (o.n < nr) nr = width(static_cast<int>(o.n));
  pack_a = !reads_a_in_place(o);
  fetch_a = sizeof(T) == sizeof(float) && !pack_a && o.cs_a == 1 &&
            (prepacked || 2 * o.m * std::abs(o.rs_a) * kSize > caches.l2);
  const int64_t bytes_c = o.m * std::abs(o.rs_c) * kSize;
  // A vector of a whole line that is not aligned is stored to two: tiles of few products wait for both.
  const bool splits = has_lines() && o.rs_c * kSize % kLine != 0;
  const bool large = std::abs(o.rs_c) * kSize >= kLongRow && 8 * bytes_c > caches.l2 &&
                     4 * (o.k * o.n * kSize + bytes_c) > 3 * caches.l2;
  fetch_c = 2 * bytes_c > 5 * caches.l2 || (has_lines() && large) ||
            (splits && bytes_c > caches.l1 && o.k <= kFewProducts);
  pack_b = !prepacked && !reads_b_in_place(o);
  fused = pack_b && packs_b_by_tiles(o);
  share(o, threads);
}

// The products that are worked on at once: all, where what is read of the packed b for one panel of a, or all
// of it, stays near. Then no sum is written to c before it is finished. That would take a larger part of the
// time of pairs: b may take twice L2.
template <class T>
int64_t MatmulPlan<T>::chunk_of(const Operands<T>& o, bool by_columns) const {
  if (o.k <= k_block) return std::max<int64_t>(o.k, 1);
  if (kernels_.tiles) return k_block;                   // a panel of a stays in L1
  const bool together = kernels_.pairs && !by_columns;  // packed some rows at a time
  // Rows of a b in memory are separate pages: as few as possible at a time, each over all its columns.
  // Where b stays there, L2 then has the lines that two strips share for the second.
  const int64_t twice = pack_b || prepacked ? 4 : 3;  // what L2 holds
  if (!together && o.cs_b == 1 && 2 * o.k * std::abs(o.rs_b) * kSize > twice * caches.l2) return k_block;
  int64_t most = near_strip() / (std::max(nr, rows) * kSize);
  const int64_t near = together ? 2 * caches.l2 : pack_b ? caches.l2 : caches.l2 / 2;
  if (!by_columns) most = std::min(most, near / (std::min(o.n, nc) * kSize));
  return std::min(std::max<int64_t>(most / k_block, 1) * k_block, o.k);
}

// Sets the blocks that are worked on at once where the threads split the columns or panels, and their
// buffers.
template <class T>
void MatmulPlan<T>::size_blocks(const Operands<T>& o, bool by_columns, bool few) {
  const int64_t all_strips = strips_of(o.n);
  chunk = chunk_of(o, by_columns);
  run = by_columns ? panels : panels_near(chunk);
  const bool groups = few && by_columns && !is_passed_again(o);
  const int64_t near = !groups ? near_strips() : has_lines() && !pack_b ? near_group() : 0;
  strips = std::max<int64_t>(near / (chunk * nr * kSize), kGroup);
  if (kernels_.tiles && by_columns && o.cs_b != 1) strips = 1;  // it stays in L1
  const int64_t packed = !pack_b      ? 1
                         : by_columns ? std::min(strips, all_strips)
                                      : strips_of(std::min(o.n, nc));
  // Each buffer is rounded up to whole cache lines, so that no two threads write to the same one. A team may
  // be smaller than the one that the buffers were made for: they fit both ways.
  if (pack_a) size_a_ = std::max(size_a_, round_up(chunk * std::min(o.m, run * rows), 64));
  if (pack_b || ragged_b) size_b_ = std::max(size_b_, round_up(chunk * nr * packed, 64));
}

template <class T>
void MatmulPlan<T>::share(const Operands<T>& o, int threads) {
  const int64_t all_strips = strips_of(o.n);
  const int last = static_cast<int>(o.n % nr);
  const bool far = has_lines() && std::min(o.k, kernels_.kc) * std::abs(o.rs_b) * kSize > near_b();
  const int64_t in_place = far ? kFewPassesOfLines : kFewPanelsInPlace;
  const int64_t few_panels = (pack_b ? kFewPanels : in_place) * kernels_.mr / o.tile.most;
  const int64_t some = nr == 3 * kernels_.lanes ? ceil_div(o.n, 2 * kernels_.lanes) : all_strips;
  const bool again = is_passed_again(o);
  const bool few = !prepacked && ((again && o.m <= kFewPages) || panels <= std::min(few_panels, some));
  one_by_one = false;
  least = (nr == 3 * kernels_.lanes ? 2 : 1) * kernels_.lanes;
  // Strips are packed as they are needed, by threads that split the columns: unless more of c's lines, which
  // two threads then share, than lines of b are got from another core.
  const bool as_needed = !few && pack_b && some >= kSomeStrips && panels <= panels_near(chunk_of(o, true));
  const bool masks = kernels_.lanes * kSize == 64;
  overlaps = !prepacked && !masks && o.n >= kernels_.lanes && (o.n % nc == 0 || o.n % nc >= kernels_.lanes);
  ragged_b = !pack_b && !prepacked && !overlaps && !masks &&
             ((last != 0 && width(last) != last) || (few && nr > kernels_.lanes * 2));
  const bool by_columns = few || (as_needed && (threads == 1 || o.k * o.n > kLinesOfB * o.m));
  if (as_needed) size_blocks(o, !by_columns, few);
  size_blocks(o, by_columns, few);
  sharing = by_columns ? Sharing::columns : fused || size_b_ > kOwn ? Sharing::one : Sharing::own;
  if (!by_columns) even_out(o, all_strips, threads);
  const bool near = chunk * std::abs(o.rs_b) * kSize <= near_b();
  // Rows of a that are read across lines are not read again for each strip.
  const bool along = pack_a || o.cs_a == 1;
  if (by_columns && !near && along && o.cs_b == 1 && o.tile.threes && !again) pass_one_by_one(o);
}

// A strip of b stays in L1 while all panels pass: as it is, if its lines fit, and are not all in the same
// sets. Where lines nearly fill L1, each panel drives some of them out, which is worth packing for many.
template <class T>
void MatmulPlan<T>::pass_one_by_one(const Operands<T>& o) {
  one_by_one = true, strips = 1;
  const int64_t l1 = panels > kManyPanels ? caches.l1 * 3 / 4 : caches.l1;
  const bool spread = std::abs(o.rs_b) * kSize % kInTheSameSets != 0;
  if (fused && overlaps && spread && chunk * kLine * kLinesOfThree <= 2 * l1) pack_b = fused = false;
}

// The same number of tiles for each thread, if a few more panels with hardly fewer rows give that.
template <class T>
void MatmulPlan<T>::even_out(const Operands<T>& o, int64_t all_strips, int threads) {
  constexpr int64_t kManyTiles = 8;
  if (panels * all_strips % threads == 0 || panels * all_strips >= kManyTiles * threads) return;
  const int64_t even = round_up(panels, threads);
  const int fewer = static_cast<int>(ceil_div(o.m, even));
  if (even <= o.m && (nr == 3 * kernels_.lanes || kernels_.nr(fewer) >= nr) &&
      (!fused || o.m / even >= kernels_.packing_rows))
    panels = even, rows = fewer;
}

// As many elements in each step of k as pass by until the rows are used. Where they are far apart, one row
// after the other in parts of k, of which each chain has its share.
template <class T>
void MatmulPlan<T>::fetch_rows(int64_t rs_a, MatmulTile<T>& t) const {
  if (std::abs(rs_a) <= kFarApart * t.k) {
    t.fetch_a = static_cast<int>(rows * rs_a / t.k);
    return;
  }
  const int64_t in_a_chain = ceil_div(int64_t{rows}, ceil_div(t.k, k_block));
  const int64_t steps = std::max<int64_t>(std::min(t.k, k_block) / in_a_chain, 1);
  t.fetch_a = static_cast<int>(ceil_div(t.k, steps));
  t.rs_fetch = rs_a - round_up(t.k, t.fetch_a);
}

template <class T>
size_t MatmulPlan<T>::workspace_bytes(int threads) const {
  const int64_t own = size_a_ + size_bias_;
  return sizeof(T) *
         (own * threads + size_b_ * (sharing == Sharing::one ? std::min<int64_t>(batch_, threads) : threads));
}

// [bias and a of each thread][b of each thread, or one for all].
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

// The operands of the call or, transposed, of c^T = b^T a^T, with k and its strides in elements of the
// kernels.
template <class T>
Operands<T> MatmulPlan<T>::orient(const Matmul<T>& call, bool transpose) const {
  Operands<T> o{};
  o.m = call.c.shape[1], o.n = call.c.shape[2], o.k = call.a.shape[2];
  o.a = call.a.data, o.rs_a = call.a.strides[1], o.cs_a = call.a.strides[2];
  o.b = call.b.data, o.rs_b = call.b.strides[1], o.cs_b = call.b.strides[2];
  o.c = call.c.data, o.rs_c = call.c.strides[1], o.cs_c = call.c.strides[2];
  o.packed = call.packed.data;
  o.saved = call.saved.data, o.rs_s = call.saved.strides[1], o.cs_s = call.saved.strides[2];
  o.missing = kernels_.missing(o.k);
  o.k = kernels_.elements(o.k), o.cs_a *= kernels_.factors, o.rs_b *= kernels_.factors;
  if (!transpose) return o;
  std::swap(o.m, o.n);
  std::swap(o.a, o.b);
  std::swap(o.rs_a, o.cs_b), std::swap(o.cs_a, o.rs_b);
  std::swap(o.rs_c, o.cs_c), std::swap(o.rs_s, o.cs_s);
  return o;
}

template <class T>
Operands<T> MatmulPlan<T>::operands(const Matmul<T>& call, int64_t batch, const T* dense_bias) const {
  Operands<T> o = orient(call, transposed);
  (transposed ? o.b : o.a) += batch * call.a.strides[0];
  (transposed ? o.a : o.b) += batch * call.b.strides[0];
  o.c += batch * call.c.strides[0];
  if (o.saved) o.saved += batch * call.saved.strides[0];
  (transposed ? o.bias_column : o.bias_row) = dense_bias;
  (transposed ? o.norm_column : o.norm_row) = call.norm.data;
  o.norm_step = call.norm.shape[1];
  return o;
}

template class MatmulPlan<float>;
template class MatmulPlan<double>;

}  // namespace ranvier
