// The inner loops of reduce (ReduceKernels in reduce.h), compiled once for each ISA level; reduce.cpp calls
// them. ops.h has the arithmetic of each op: step() adds a vector of elements to a total, join() adds two
// totals, across() adds the lanes of one. Elements are reduced along memory (runs, lines, beside) or across
// rows (columns):
//
//   chunk         at most kReduceChunk contiguous elements: several totals of vectors, then joined
//   runs, lines   any number of elements: totals of chunks, joined as a binary tree
//   beside        the same for several lines at once, so that memory is read in order
//   columns       rows of x, one total for each column
//   arg_line, arg_columns   the place of the greatest or least element
//
// So an error grows with the logarithm of the number of elements, and the bits do not depend on threads.
#include "kernels/reduce/ops.h"
#include "kernels/reduce/pairwise.h"
#include "simd/halves.h"
#include "simd/mask_bits.h"
#include "simd/tile.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

constexpr int kRowBlock = 8;  // rows read side by side: as many streams as the prefetcher follows

// How elements of type E (float, double, Float16 or BFloat16) are stored, and loads of a vector of them as T.
template <class E>
using Bits = std::conditional_t<sizeof(E) == 2, uint16_t, E>;
template <class E>
RANVIER_INLINE auto load_as(const Bits<E>* x) {
  if constexpr (sizeof(E) == 2)
    return load_halves(reinterpret_cast<const E*>(x));
  else
    return load(x);
}
template <class E>
RANVIER_INLINE auto load_as(const Bits<E>* x, int n) {
  if constexpr (sizeof(E) == 2)
    return load_halves(reinterpret_cast<const E*>(x), n);
  else
    return load_n(x, n);
}

// Adds four vectors to four totals by plain_step. Returns the lanes without a NaN. The vectors are loaded
// once: GCC would read them again for the comparisons, and a load that crosses cache lines counts twice.
template <class T, class Op, class E>
RANVIER_INLINE ivec<T> plain_row(const Bits<E>* x, vec<T> (&total)[4]) {
  constexpr int L = lanes<T>;
  const vec<T> a = in_register(load_as<E>(x));
  const vec<T> b = in_register(load_as<E>(x + L));
  const vec<T> c = in_register(load_as<E>(x + 2 * L));
  const vec<T> d = in_register(load_as<E>(x + 3 * L));
  total[0] = Op::plain_step(total[0], a);
  total[1] = Op::plain_step(total[1], b);
  total[2] = Op::plain_step(total[2], c);
  total[3] = Op::plain_step(total[3], d);
  return are_ordered(a, b) & are_ordered(c, d);
}

// Deviations of floats are squared and added up in double, as a chain in float loses digits where the values
// are multiples of one number: that is so for floats whose mean is far from 0.
template <class T, class Op>
static constexpr bool in_double = sizeof(T) == 4 && std::is_same_v<Op, Deviations<T>>;

// low and high += the squares of d.
RANVIER_INLINE void add_squares(vec<float> d, vec<double>& low, vec<double>& high) {
  const vec<double> first = widen<0>(d);
  const vec<double> second = widen<1>(d);
  low = fma(first, first, low);
  high = fma(second, second, high);
}

// The sum of squares of x[0, n) - c, in lane 0.
static vec<float> chunk_in_double(const float* x, int64_t n, vec<float> c) {
  constexpr int L = lanes<float>;
  vec<double> total[4]{};
  int64_t i = 0;
  for (; i + 2 * L <= n; i += 2 * L) {
    add_squares(load(x + i) - c, total[0], total[1]);
    add_squares(load(x + i + L) - c, total[2], total[3]);
  }
  for (; i + L <= n; i += L) add_squares(load(x + i) - c, total[0], total[1]);
  if (const int rest = static_cast<int>(n - i)) {
    const ivec<float> inside = iota<float>() < broadcast<float>(float(rest));
    add_squares(select(inside, load_n(x + i, rest) - c, vec<float>{}), total[2], total[3]);
  }
  vec<float> sum{};
  sum[0] = static_cast<float>(reduce_add((total[0] + total[1]) + (total[2] + total[3])));
  return sum;
}

// A chunk of doubles is added up in blocks of so many steps, whose totals are added.
constexpr int kBlockSteps = 16;
template <class T, class Op>
static constexpr bool in_blocks = sizeof(T) == 8 && !is_extreme<T, Op>;

// The op over x[0, n), n <= kReduceChunk, lane by lane; Op::across() of the result is the total. c: what
// Op::center() returned.
template <class T, class Op, class E = T>
RANVIER_INLINE vec<T> chunk_lanes(const Bits<E>* x, int64_t n, typename VecOf<T>::type c) {
  if constexpr (in_double<T, Op>) return chunk_in_double(x, n, c);
  constexpr int L = lanes<T>, kTotals = Op::vectors;
  vec<T> total[kTotals];
  for (int v = 0; v < kTotals; ++v) total[v] = Op::identity();
  int64_t i = 0;
  if constexpr (has_plain_step<T, Op>) {
    ivec<T> ordered = ~ivec<T>{};
    for (; i + kTotals * L <= n; i += kTotals * L) ordered &= plain_row<T, Op, E>(x + i, total);
    if (any(~ordered)) {  // a NaN: start again with step()
      for (int v = 0; v < kTotals; ++v) total[v] = Op::identity();
      i = 0;
    }
  }
  const auto step = [&]() RANVIER_INLINED {
    for (int v = 0; v < kTotals; ++v) total[v] = Op::step(total[v], load_as<E>(x + i + v * L), c);
    i += kTotals * L;
  };
  if constexpr (in_blocks<T, Op>)
    if (n >= 2 * kBlockSteps * kTotals * L) {
      vec<T> before[kTotals];
      for (int v = 0; v < kTotals; ++v) before[v] = Op::identity();
      while (i + kBlockSteps * kTotals * L <= n) {
        for (int k = 0; k < kBlockSteps; ++k) step();
        for (int v = 0; v < kTotals; ++v) {
          before[v] = Op::join(before[v], total[v]);
          total[v] = Op::identity();
        }
      }
      for (int v = 0; v < kTotals; ++v) total[v] = before[v];
    }
  while (i + kTotals * L <= n) step();
#pragma GCC unroll 1
  for (; kTotals > 1 && i + L <= n; i += L) total[0] = Op::step(total[0], load_as<E>(x + i), c);
  if (const int rest = static_cast<int>(n - i)) {
    const ivec<T> inside = iota<T>() < broadcast<T>(T(rest));
    constexpr int last = kTotals > 1;
    total[last] = Op::step(total[last], select(inside, load_as<E>(x + i, rest), Op::pad(c)), c);
  }
  return join_all<Op>(total);
}
template <class T, class Op, class E = T>
__attribute__((noinline)) static vec<T> chunk(const Bits<E>* x, int64_t n, typename VecOf<T>::type c) {
  return chunk_lanes<T, Op, E>(x, n, c);
}

// The op over `count` runs: the vectors of their chunks are joined in pairs by a binary counter, as in
// pairwise.h. All ops with the same Join share this code.
template <class T, class Join, class E>
__attribute__((noinline)) static T join_chunks(decltype(&chunk<T, Join, E>) chunk_of, const E* x, int64_t n,
                                               int64_t count, int64_t stride, typename VecOf<T>::type c) {
  vec<T> totals[kPairwiseLevels];
  int used = 0;
  uint64_t pushed = 0;
  const auto join_last = [&]() __attribute__((always_inline)) {
    --used;
    totals[used - 1] = Join::join(totals[used - 1], totals[used]);
  };
  for (int64_t run = 0; run < count; ++run) {
    int64_t i = 0;
    do {
      const int64_t size = n - i < kReduceChunk ? n - i : kReduceChunk;
      totals[used] = chunk_of(x + run * stride + i, size, c);
      ++used;
      for (uint64_t k = pushed; k & 1; k >>= 1) join_last();
      ++pushed;
      i += kReduceChunk;
    } while (i < n);
  }
  while (used > 1) join_last();
  return Join::across(totals[0]);
}

template <class T, class Op, class E = T>
static T runs(const Bits<E>* x, int64_t n, int64_t count, int64_t stride, T center) {
  const vec<T> c = Op::center(broadcast<T>(center));
  if (count == 1 && n <= kReduceChunk) return Op::across(chunk<T, Op, E>(x, n, c));
  return join_chunks<T, typename Op::Join, Bits<E>>(chunk<T, Op, E>, x, n, count, stride, c);
}

// The same for several lines at once, whose runs are one chunk each: run 0 of all lines, then run 1, and so
// on, so that memory is read in order.
template <class T, class Join>
__attribute__((noinline)) static void join_beside(decltype(&chunk<T, Join>) chunk_of, const T* x, int64_t n,
                                                  int64_t count, int64_t stride, int lines, int64_t line,
                                                  const typename VecOf<T>::type* c, T* y) {
  constexpr int kLevels = 10;  // enough for kReduceBlock / kReduceRun runs
  static_assert(kReduceBlock / kReduceRun < 1 << (kLevels - 1), "");
  vec<T> totals[kLevels][kReduceTogether];
  int used = 0;
  const auto join_last = [&]() __attribute__((always_inline)) {
    --used;
#pragma GCC unroll 1
    for (int i = 0; i < lines; ++i) totals[used - 1][i] = Join::join(totals[used - 1][i], totals[used][i]);
  };
  for (int64_t run = 0; run < count; ++run) {
#pragma GCC unroll 1
    for (int i = 0; i < lines; ++i) totals[used][i] = chunk_of(x + run * stride + i * line, n, c[i]);
    ++used;
    for (int64_t k = run; k & 1; k >>= 1) join_last();
  }
  while (used > 1) join_last();
#pragma GCC unroll 1
  for (int i = 0; i < lines; ++i) y[i] = Join::across(totals[0][i]);
}

template <class T, class Op>
static void runs_beside(const T* x, int64_t n, int64_t count, int64_t stride, int lines, int64_t line,
                        const T* center, int64_t center_step, T* y) {
  vec<T> c[kReduceTogether];
#pragma GCC unroll 1
  for (int i = 0; i < lines; ++i) {
    const T of_line = center ? center[i * center_step] : T(0);
    c[i] = Op::center(broadcast<T>(of_line));
  }
  join_beside<T, typename Op::Join>(chunk<T, Op>, x, n, count, stride, lines, line, c, y);
}
template <class T, class Op>
static constexpr auto beside_of() {
  constexpr bool adds_squares = std::is_same_v<Op, Squares<T>> || std::is_same_v<Op, Deviations<T>>;
  if constexpr (is_common<T, Op> || (is_common<T, Sum<T>> && adds_squares))
    return &runs_beside<T, Op>;
  else
    return nullptr;
}
template <class T, class Op>
static constexpr auto beside = beside_of<T, Op>();

// ReduceLoops::lines. For common ops a vector of lines is summed, and their totals are computed together.
template <class T, class Op, class E = T>
static void lines(const Bits<E>* x, int64_t n, int64_t count, int64_t stride, const T* center,
                  int64_t center_step, T* y) {
  int64_t i = 0;
  if constexpr (is_common<T, Op>)
    for (constexpr int L = lanes<T>; n <= kReduceChunk && i + L <= count; i += L) {
      vec<T> totals[L];
#pragma GCC unroll 1
      for (int k = 0; k < L; ++k) totals[k] = chunk_lanes<T, Op, E>(x + (i + k) * stride, n, vec<T>{});
      const auto join = [](vec<T> a, vec<T> b) RANVIER_INLINED { return Op::join(a, b); };
      store(y + i, join_lanes<L / 2, T>(totals, join));
    }
  for (; i < count; ++i) {
    const T of_line = center ? center[i * center_step] : T(0);
    y[i] = runs<T, Op, E>(x + i * stride, n, /*count=*/1, /*stride=*/0, of_line);
  }
}

// Adds rows [0, rows) to the totals in y; with `first` the totals begin with these rows.
template <class T, class Op, class E = T>
static void row_block(const Bits<E>* x, int64_t stride, int rows, int64_t width, const T* center, T* y,
                      bool first) {
  constexpr int L = lanes<T>, kTotals = Op::vectors;
  // The totals of an extreme begin with row 0 itself.
  const int begin = is_extreme<T, Op> && first && rows > 0;
  int64_t j = 0;
  for (; kTotals > 1 && j + kTotals * L <= width; j += kTotals * L) {
    vec<T> total[kTotals], c[kTotals];
    for (int v = 0; v < kTotals; ++v) {
      if (!first)
        total[v] = load(y + j + v * L);
      else if (begin)
        total[v] = load_as<E>(x + j + v * L);
      else
        total[v] = Op::identity();
      c[v] = center ? Op::center(load(center + j + v * L)) : vec<T>{};
    }
    for (int i = begin; i < rows; ++i)
      for (int v = 0; v < kTotals; ++v)
        total[v] = Op::step(total[v], load_as<E>(x + i * stride + j + v * L), c[v]);
    for (int v = 0; v < kTotals; ++v) store(y + j + v * L, total[v]);
  }
  for (; j < width; j += L) {  // one vector, whose rows go to several totals in turn
    const int n = lanes_used<T>(width - j);
    const vec<T> c = center ? Op::center(load_n(center + j, n)) : vec<T>{};
    vec<T> total[kTotals];
    for (int v = 0; v < kTotals; ++v) total[v] = Op::identity();
    const auto take = [&](int v, int i) __attribute__((always_inline)) {
      total[v] = Op::step(total[v], load_as<E>(x + i * stride + j, n), c);
    };
    int i = 0;
    for (; i + kTotals <= rows; i += kTotals)
      for (int v = 0; v < kTotals; ++v) take(v, i + v);
    for (; kTotals > 1 && i < rows; ++i) take(0, i);
    // The rows of a block are added up by themselves: one chain over all blocks would have as many steps as
    // rows.
    vec<T> block = join_all<Op>(total);
    if (!first) block = Op::join(load_n(y + j, n), block);
    store_n(y + j, block, n);
  }
}

template <class T, class Op>
static void join(int64_t n, T* a, const T* b) {
  constexpr int L = lanes<T>;
  int64_t i = 0;
  for (; i + L <= n; i += L) store(a + i, Op::join(load(a + i), load(b + i)));
  if (const int rest = static_cast<int>(n - i))
    store_n(a + i, Op::join(load_n(a + i, rest), load_n(b + i, rest)), rest);
}

// Dense rows of few columns, read as one run of memory. kTotals vectors hold a whole number of rows, so each
// lane always has the same column. Returns how many rows it has reduced, which may be fewer than all.
template <class T, class Op, int kTotals>
static int64_t narrow(const T* x, int64_t rows, int64_t width, const T* center, T* y) {
  constexpr int64_t size = kTotals * lanes<T>;
  const int64_t at_once = size / width;
  if (rows < 2 * at_once) return 0;
  alignas(64) T buffer[size] = {};
  for (int64_t i = 0; center && i < size; ++i) buffer[i] = center[i % width];
  vec<T> total[kTotals], c[kTotals];
  RANVIER_UNROLL
  for (int v = 0; v < kTotals; ++v) {
    total[v] = Op::identity();
    c[v] = Op::center(load(buffer + v * lanes<T>));
  }
  int64_t i = 0;
  for (; i + at_once <= rows; i += at_once, x += size) {
    RANVIER_UNROLL
    for (int v = 0; v < kTotals; ++v) total[v] = Op::step(total[v], load(x + v * lanes<T>), c[v]);
  }
  RANVIER_UNROLL
  for (int v = 0; v < kTotals; ++v) store(buffer + v * lanes<T>, total[v]);
  __builtin_memcpy(y, buffer, width * sizeof(T));
  for (int64_t k = width; k < size; k += width) join<T, Op>(width, y, buffer + k);
  return i;
}

// The columns whose totals are kept at once in double.
constexpr int64_t kWideColumns = 1024;

// totals[j] += the squares of x[i * stride + j] - center[j] over i < rows, for j < width <= kWideColumns.
// Whole vectors of totals are written.
static void add_square_rows(const float* x, int64_t stride, int64_t rows, int64_t width, const float* center,
                            double* totals) {
  constexpr int L = lanes<float>;
  for (int64_t first = 0; first < rows; first += kRowBlock) {
    const int64_t end = rows - first < kRowBlock ? rows : first + kRowBlock;
    for (int64_t j = 0; j < width; j += L) {
      const int n = lanes_used<float>(width - j);
      const vec<float> c = load_n(center + j, n);
      vec<double> low = load(totals + j);
      vec<double> high = load(totals + j + L / 2);
      for (int64_t i = first; i < end; ++i) add_squares(load_n(x + i * stride + j, n) - c, low, high);
      store(totals + j, low);
      store(totals + j + L / 2, high);
    }
  }
}

// Dense rows of few columns: several rows are read as one, of so many elements that vectors are full. Adds
// their totals to those of the columns, and returns how many rows it has taken.
static int64_t add_narrow_rows(const float* x, int64_t rows, int64_t width, const float* center,
                               double* totals) {
  constexpr int64_t kElements = 4 * lanes<float>;
  const int64_t at_once = (kElements + width - 1) / width;
  const int64_t wide = at_once * width;
  if (rows < 2 * at_once) return 0;
  alignas(64) double of_wide[2 * kElements] = {};
  alignas(64) float centers[2 * kElements];
  for (int64_t i = 0; i < wide; i += width)
    for (int64_t j = 0; j < width; ++j) centers[i + j] = center[j];
  add_square_rows(x, wide, rows / at_once, wide, centers, of_wide);
  for (int64_t i = 0; i < wide; i += width)
    for (int64_t j = 0; j < width; ++j) totals[j] += of_wide[i + j];
  return rows / at_once * at_once;
}

// ReduceLoops::columns of squares and deviations of floats: memory is read as fast as in float.
static void columns_in_double(const float* x, int64_t stride, int64_t rows, int64_t width,
                              const float* center, float* y) {
  alignas(64) double totals[kWideColumns + lanes<float>];
  alignas(64) float zeros[kWideColumns];
  const int64_t most = width < kWideColumns ? width : kWideColumns;
  if (!center) __builtin_memset(zeros, 0, most * sizeof(float));
  for (int64_t first = 0; first < width; first += kWideColumns) {
    const int64_t columns = width - first < most ? width - first : most;
    const float* const c = center ? center + first : zeros;
    __builtin_memset(totals, 0, (columns + lanes<float>)*sizeof(double));
    int64_t done = 0;
    if (stride == width && width <= 2 * lanes<float>) done = add_narrow_rows(x, rows, width, c, totals);
    add_square_rows(x + done * stride + first, stride, rows - done, columns, c, totals);
    for (int64_t j = 0; j < columns; ++j) y[first + j] = static_cast<float>(totals[j]);
  }
}

// Many rows of at most kReduceNarrow columns: the totals of blocks of kReduceRows rows are joined in pairs by
// a binary counter, so that the error does not grow with the number of rows.
template <class T, class Op, class E>
__attribute__((noinline)) static void columns_in_pairs(const Bits<E>* x, int64_t stride, int64_t rows,
                                                       int64_t width, const T* center, T* y) {
  constexpr int kLevels = 8;  // enough for kReduceChunk / 2 rows, the most of a block of two columns
  static_assert(kReduceChunk / 2 / kReduceRows < 1 << (kLevels - 1), "");
  alignas(64) T totals[kLevels][kReduceNarrow];
  int used = 0;
  const auto join_last = [&]() __attribute__((always_inline)) {
    --used;
    join<T, Op>(width, totals[used - 1], totals[used]);
  };
  for (int64_t block = 0; block * kReduceRows < rows; ++block) {
    const int64_t i = block * kReduceRows;
    const int64_t left = rows - i;
    const int n = static_cast<int>(left < kReduceRows ? left : kReduceRows);
    row_block<T, Op, E>(x + i * stride, stride, n, width, center, totals[used], /*first=*/true);
    ++used;
    for (int64_t k = block; k & 1; k >>= 1) join_last();
  }
  while (used > 1) join_last();
  __builtin_memcpy(y, totals[0], width * sizeof(T));
}

// ReduceLoops::columns, block by block of rows.
template <class T, class Op, class E = T>
static void columns(const Bits<E>* x, int64_t stride, int64_t rows, int64_t width, const T* center, T* y) {
  constexpr bool adds_squares = std::is_same_v<Op, Squares<T>> || std::is_same_v<Op, Deviations<T>>;
  if constexpr (sizeof(T) == sizeof(float) && adds_squares)
    return columns_in_double(x, stride, rows, width, center, y);
  // A narrow block is one stream.
  const int64_t block = width <= kVectors * lanes<T> ? kReduceRows : kRowBlock;
  int64_t i = 0;
  if constexpr (is_common<T, Op> && sizeof(E) == sizeof(T))
    if (stride == width && width <= kReduceNarrow &&
        (width % lanes<T> || (rows > kReduceRows && !has_plain_step<T, Op>))) {
      if (3 * lanes<T> % width == 0)
        i = narrow<T, Op, 3>(x, rows, width, center, y);
      else if (4 * lanes<T> % width == 0)
        i = narrow<T, Op, 4>(x, rows, width, center, y);
      else if (5 * lanes<T> % width == 0)
        i = narrow<T, Op, 5>(x, rows, width, center, y);
    }
  if (!is_extreme<T, Op> && i == 0 && rows > kReduceRows && width <= kReduceNarrow)
    return columns_in_pairs<T, Op, E>(x, stride, rows, width, center, y);
  while (i < rows || i == 0) {
    const int64_t left = rows - i;
    const int n = static_cast<int>(left < block ? left : block);
    row_block<T, Op, E>(x + i * stride, stride, n, width, center, y, /*first=*/i == 0);
    i += block;
  }
}

// The greatest lane of v, in all lanes; no lane is NaN.
template <class V>
RANVIER_INLINE V greatest_lane(V v) {
  constexpr int L = lanes<element_of<V>>;
  if constexpr (L > 8) v = maximum(v, swap_lanes<8>(v));
  if constexpr (L > 4) v = maximum(v, swap_lanes<4>(v));
  if constexpr (L > 2) v = maximum(v, swap_lanes<2>(v));
  return maximum(v, swap_lanes<1>(v));
}

// ReduceKernels::arg_line. Each lane keeps its greatest element and the first block (of 4 vectors) that has
// it; then the first place of the greatest element is searched in its block. For the least element all sign
// bits are flipped. No branch depends on the elements, except for a NaN, so that the CPU can begin the next
// line before this one ends.
template <class T>
static int64_t arg_line(const T* x, int64_t n, bool is_max) {
  using V = vec<T>;
  constexpr int L = lanes<T>, kBlock = 4 * L, kBits = lanes<float>;
  int64_t at = 0;
  if (n < kBlock) {
    for (int64_t i = 1; i < n && x[at] == x[at]; ++i) {
      const bool better = is_max ? x[i] > x[at] : x[i] < x[at];
      if (x[i] != x[i] || better) at = i;
    }
    return at;
  }
  const ivec<T> flip = is_max ? ivec<T>{} : sign_bit(broadcast(T(-1)));
  const auto vector_at = [&](int64_t i) RANVIER_INLINED { return from_bits(bits(load(x + i)) ^ flip); };
  V top = vector_at(0);
  V before{};  // before: minus the number of elements before the block, by lane
  ivec<T> ordered = ~ivec<T>{};
  const auto take = [&](int64_t i, V minus_i) RANVIER_INLINED {
    const V a = vector_at(i);
    const V b = vector_at(i + L);
    const V c = vector_at(i + 2 * L);
    const V d = vector_at(i + 3 * L);
    const V best = maximum(maximum(a, b), maximum(c, d));
    ordered &= are_ordered(a, b) & are_ordered(c, d);
    before = select(best > top, minus_i, before);
    top = maximum(top, best);
  };
  V minus_i{};
  for (int64_t i = 0; i + kBlock <= n; i += kBlock, minus_i -= T(kBlock)) take(i, minus_i);
  // The last block overlaps the one before it, which is taken first.
  take(n - kBlock, broadcast(T(kBlock - n)));
  if (any(~ordered)) {
    while (x[at] == x[at]) ++at;
    return at;
  }
  const V best = greatest_lane(top);
  at = -static_cast<int64_t>(greatest_lane(select(top == best, before, broadcast(T(-n))))[0]);
  at = at < n - kBlock ? at : n - kBlock;
  // A mask of the elements of the block that are the greatest: kBits bits for each vector, so for double two
  // for each lane. Its lowest bit is the first of them.
  const auto bits_at = [&](int v) RANVIER_INLINED {
    return uint64_t{mask_bits((ivec<float>)(vector_at(at + v * L) == best))} << (v * kBits);
  };
  const uint64_t found = (bits_at(0) | bits_at(1)) | (bits_at(2) | bits_at(3));
  return at + __builtin_ctzll(found) / (kBits / L);
}

// ReduceKernels::arg for some vectors of columns, or for one vector of `width` columns.
template <int vectors, bool maximum, class T>
static void arg_block(const T* x, int64_t stride, int rows, int width, T* best, ArgIndex<T>* where) {
  constexpr int L = lanes<T>;
  const auto row = [&](int v, int i) __attribute__((always_inline)) {
    return vectors > 1 ? load(x + i * stride + v * L) : load_n(x + i * stride, width);
  };
  vec<T> top[vectors];
  ivec<T> at[vectors] = {};
  for (int v = 0; v < vectors; ++v) top[v] = row(v, 0);
  for (int i = 1; i < rows; ++i)
    for (int v = 0; v < vectors; ++v) {
      const vec<T> here = row(v, i);
      const ivec<T> no_better = maximum ? here <= top[v] : here >= top[v];
      const ivec<T> keep = no_better | (top[v] != top[v]);  // a NaN stays
      top[v] = select(keep, top[v], here);
      at[v] = select(keep, at[v], ibroadcast<T>(i));
    }
  for (int v = 0; v < vectors; ++v) {
    store(best + v * L, top[v]);
    __builtin_memcpy(where + v * L, &at[v], sizeof at[v]);
  }
}

template <bool maximum, class T>
static void arg_columns(const T* x, int64_t stride, int rows, int64_t width, T* best, ArgIndex<T>* where) {
  constexpr int L = lanes<T>;
  int64_t j = 0;
  for (; j + kVectors * L <= width; j += kVectors * L)
    arg_block<kVectors, maximum>(x + j, stride, rows, kVectors * L, best + j, where + j);
  for (; j < width; j += L)
    arg_block<1, maximum>(x + j, stride, rows, lanes_used<T>(width - j), best + j, where + j);
}

template <class T>
static void transpose_lines(T* tile, const T* x, int64_t line, int count, int64_t n) {
  load_tile(*reinterpret_cast<Tile<T>*>(tile), x, line, 1, count, n);
}

// The loops that read halves directly, where that takes less time than converting blocks to floats: a sum in
// all loops, an extreme in `runs`.
#define RANVIER_LOOPS_OF(E)                                                               \
  {                                                                                       \
    {runs<float, Sum<float>, E>, runs<float, Max<float>, E>, runs<float, Min<float>, E>}, \
        {lines<float, Sum<float>, E>}, {                                                  \
      columns<float, Sum<float>, E>                                                       \
    }                                                                                     \
  }
template <class T>
struct HalfLoops {
  static constexpr ReduceLoops<T, uint16_t> of_float16{}, of_bfloat16{};
};
template <>
struct HalfLoops<float> {
  static constexpr ReduceLoops<float, uint16_t> of_float16 = RANVIER_LOOPS_OF(Float16),
                                                of_bfloat16 = RANVIER_LOOPS_OF(BFloat16);
};

// The tables below have one function for each ReduceOp (reduce.h), in its order.
#define RANVIER_OPS(f, T)                                                                    \
  {f<T, Sum<T>>,     f<T, Max<T>>,      f<T, Min<T>>,  f<T, Squares<T>>,    f<T, Equals<T>>, \
   f<T, Product<T>>, f<T, Absolute<T>>, f<T, Exps<T>>, f<T, Deviations<T>>, f<T, Numbers<T>>}
#define RANVIER_KERNELS(T)                                                 \
  {{RANVIER_OPS(runs, T), RANVIER_OPS(lines, T), RANVIER_OPS(columns, T)}, \
   {HalfLoops<T>::of_float16, HalfLoops<T>::of_bfloat16},                  \
   RANVIER_OPS(beside, T),                                                 \
   RANVIER_JOINS(T),                                                       \
   arg_line<T>,                                                            \
   {arg_columns<false, T>, arg_columns<true, T>},                          \
   lanes<T>,                                                               \
   transpose_lines<T>}
#define RANVIER_JOINS(T)                                                                    \
  {join<T, Sum<T>>,     join<T, Max<T>>, join<T, Min<T>>, join<T, Sum<T>>, join<T, Sum<T>>, \
   join<T, Product<T>>, join<T, Sum<T>>, join<T, Sum<T>>, join<T, Sum<T>>, join<T, Sum<T>>}

extern const ReduceKernels<float> reduce_kernels_float = RANVIER_KERNELS(float);
extern const ReduceKernels<double> reduce_kernels_double = RANVIER_KERNELS(double);

#undef RANVIER_KERNELS
#undef RANVIER_JOINS
#undef RANVIER_OPS
#undef RANVIER_LOOPS_OF

}  // namespace ranvier::RANVIER_ISA
