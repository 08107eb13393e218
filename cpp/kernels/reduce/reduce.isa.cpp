// The inner loops of reduce, compiled once for each ISA level.
#include "kernels/reduce/ops.h"
#include "kernels/reduce/pairwise.h"
#include "simd/halves.h"
#include "simd/mask_bits.h"
#include "simd/tile.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

constexpr int kRowBlock = 8;  // rows read side by side: as many streams as the caches follow

// The storage of elements of type E, and a vector of them.
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

// Takes four vectors into four totals; the lanes without NaN.
template <class T, class Op, class E>
RANVIER_INLINE ivec<T> plain_row(const Bits<E>* x, vec<T> (&total)[4]) {
  constexpr int L = lanes<T>;
  const vec<T> a = load_as<E>(x), b = load_as<E>(x + L), c = load_as<E>(x + 2 * L), d = load_as<E>(x + 3 * L);
  total[0] = Op::plain_step(total[0], a), total[1] = Op::plain_step(total[1], b);
  total[2] = Op::plain_step(total[2], c), total[3] = Op::plain_step(total[3], d);
  return are_ordered(a, b) & are_ordered(c, d);
}

// Lane by lane the op over x[0, n), n <= kReduceChunk; c: the center, as it counts.
template <class T, class Op, class E = T>
RANVIER_INLINE vec<T> chunk_lanes(const Bits<E>* x, int64_t n, typename VecOf<T>::type c) {
  constexpr int L = lanes<T>, kTotals = Op::vectors;
  vec<T> total[kTotals];
  for (int v = 0; v < kTotals; ++v) total[v] = Op::identity();
  int64_t i = 0;
  if constexpr (has_plain_step<T, Op>) {
    ivec<T> ordered = ~ivec<T>{};
    for (; i + kTotals * L <= n; i += kTotals * L) ordered &= plain_row<T, Op, E>(x + i, total);
    if (any(~ordered)) {  // once more, with care
      for (int v = 0; v < kTotals; ++v) total[v] = Op::identity();
      i = 0;
    }
  }
  for (; i + kTotals * L <= n; i += kTotals * L)
    for (int v = 0; v < kTotals; ++v) total[v] = Op::step(total[v], load_as<E>(x + i + v * L), c);
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

// Chunks' vectors joined in pairs, by a binary counter as in pairwise.h. The same code for all ops that add.
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
      totals[used++] = chunk_of(x + run * stride + i, n - i < kReduceChunk ? n - i : kReduceChunk, c);
      for (uint64_t k = pushed++; k & 1; k >>= 1) join_last();
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

// join_chunks of several lines at once, a chunk for each run: memory is read in its order.
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
  for (int i = 0; i < lines; ++i) c[i] = Op::center(broadcast<T>(center ? center[i * center_step] : T(0)));
  join_beside<T, typename Op::Join>(chunk<T, Op>, x, n, count, stride, lines, line, c, y);
}
template <class T, class Op>
static constexpr auto beside_of() {
  if constexpr (is_common<T, Op> || (is_common<T, Sum<T>> && std::is_same_v<Op, Squares<T>>))
    return &runs_beside<T, Op>;
  else
    return nullptr;
}
template <class T, class Op>
static constexpr auto beside = beside_of<T, Op>();

template <class T, class Op, class E = T>
static void lines(const Bits<E>* x, int64_t n, int64_t count, int64_t stride, const T* center,
                  int64_t center_step, T* y) {
  int64_t i = 0;
  if constexpr (is_common<T, Op>)
    for (constexpr int L = lanes<T>; n <= kReduceChunk && i + L <= count; i += L) {
      vec<T> totals[L];
#pragma GCC unroll 1
      for (int k = 0; k < L; ++k) totals[k] = chunk_lanes<T, Op, E>(x + (i + k) * stride, n, vec<T>{});
      store(y + i,
            join_lanes<L / 2, T>(totals, [](vec<T> a, vec<T> b) RANVIER_INLINED { return Op::join(a, b); }));
    }
  for (; i < count; ++i)
    y[i] = runs<T, Op, E>(x + i * stride, n, 1, 0, center ? center[i * center_step] : T(0));
}

// Rows [0, rows) taken into y, or where first is set into new totals.
template <class T, class Op, class E = T>
static void row_block(const Bits<E>* x, int64_t stride, int rows, int64_t width, const T* center, T* y,
                      bool first) {
  constexpr int L = lanes<T>, kTotals = Op::vectors;
  // The extreme of one row is the row.
  const int begin = is_extreme<T, Op> && first && rows > 0;
  int64_t j = 0;
  for (; kTotals > 1 && j + kTotals * L <= width; j += kTotals * L) {
    vec<T> total[kTotals], c[kTotals];
    for (int v = 0; v < kTotals; ++v) {
      total[v] = !first ? load(y + j + v * L) : begin ? load_as<E>(x + j + v * L) : Op::identity();
      c[v] = center ? Op::center(load(center + j + v * L)) : vec<T>{};
    }
    for (int i = begin; i < rows; ++i)
      for (int v = 0; v < kTotals; ++v)
        total[v] = Op::step(total[v], load_as<E>(x + i * stride + j + v * L), c[v]);
    for (int v = 0; v < kTotals; ++v) store(y + j + v * L, total[v]);
  }
  for (; j < width; j += L) {  // one vector, whose rows go to several totals in turn
    const int n = width - j < L ? static_cast<int>(width - j) : L;
    const vec<T> c = center ? Op::center(load_n(center + j, n)) : vec<T>{};
    vec<T> total[kTotals];
    for (int v = 0; v < kTotals; ++v) total[v] = Op::identity();
    if (!first) total[0] = load_n(y + j, n);
    const auto take = [&](int v, int i) __attribute__((always_inline)) {
      total[v] = Op::step(total[v], load_as<E>(x + i * stride + j, n), c);
    };
    int i = 0;
    for (; i + kTotals <= rows; i += kTotals)
      for (int v = 0; v < kTotals; ++v) take(v, i + v);
    for (; kTotals > 1 && i < rows; ++i) take(0, i);
    store_n(y + j, join_all<Op>(total), n);
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

// Dense rows of a few elements as one run of memory: kTotals vectors hold a whole number of rows, and lane by
// lane their columns. Returns the rows that are taken.
template <class T, class Op, int kTotals>
static int64_t narrow(const T* x, int64_t rows, int64_t width, const T* center, T* y) {
  constexpr int64_t size = kTotals * lanes<T>;
  const int64_t at_once = size / width;
  if (rows < 2 * at_once) return 0;
  alignas(64) T buffer[size] = {};
  for (int64_t i = 0; center && i < size; ++i) buffer[i] = center[i % width];
  vec<T> total[kTotals], c[kTotals];
  RANVIER_UNROLL
  for (int v = 0; v < kTotals; ++v) total[v] = Op::identity(), c[v] = Op::center(load(buffer + v * lanes<T>));
  int64_t i = 0;
  for (; i + at_once <= rows; i += at_once, x += size) RANVIER_UNROLL
  for (int v = 0; v < kTotals; ++v) total[v] = Op::step(total[v], load(x + v * lanes<T>), c[v]);
  RANVIER_UNROLL
  for (int v = 0; v < kTotals; ++v) store(buffer + v * lanes<T>, total[v]);
  __builtin_memcpy(y, buffer, width * sizeof(T));
  for (int64_t k = width; k < size; k += width) join<T, Op>(width, y, buffer + k);
  return i;
}

template <class T, class Op, class E = T>
static void columns(const Bits<E>* x, int64_t stride, int64_t rows, int64_t width, const T* center, T* y) {
  const int64_t block = width <= kVectors * lanes<T> ? kReduceRows : kRowBlock;  // narrow rows: one stream
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
  while (i < rows || i == 0) {
    const int n = static_cast<int>(rows - i < block ? rows - i : block);
    row_block<T, Op, E>(x + i * stride, stride, n, width, center, y, i == 0);
    i += block;
  }
}

// The greatest of the lanes, in all of them; none is NaN.
template <class V>
RANVIER_INLINE V greatest_lane(V v) {
  constexpr int L = lanes<element_of<V>>;
  if constexpr (L > 8) v = maximum(v, swap_lanes<8>(v));
  if constexpr (L > 4) v = maximum(v, swap_lanes<4>(v));
  if constexpr (L > 2) v = maximum(v, swap_lanes<2>(v));
  return maximum(v, swap_lanes<1>(v));
}

// The place of the greatest (least) of a line of 1 to kReduceChunk elements, the first of equal ones; the
// first NaN before all. Lane by lane the first block with the best is kept; the place is searched in that
// block. The least is the greatest with the sign bits flipped. Without branches that depend on the elements,
// so that the end of a line does not hold up the next.
template <class T>
static int64_t arg_line(const T* x, int64_t n, bool is_max) {
  using V = vec<T>;
  constexpr int L = lanes<T>, kBlock = 4 * L, kBits = lanes<float>;
  int64_t at = 0;
  if (n < kBlock) {
    for (int64_t i = 1; i < n && x[at] == x[at]; ++i)
      if (x[i] != x[i] || (is_max ? x[i] > x[at] : x[i] < x[at])) at = i;
    return at;
  }
  const ivec<T> flip = is_max ? ivec<T>{} : sign_bit(broadcast(T(-1)));
  const auto vector_at = [&](int64_t i) RANVIER_INLINED { return from_bits(bits(load(x + i)) ^ flip); };
  V top = vector_at(0), before{};  // before: minus the elements before the block
  ivec<T> ordered = ~ivec<T>{};
  const auto take = [&](int64_t i, V minus_i) RANVIER_INLINED {
    const V a = vector_at(i), b = vector_at(i + L), c = vector_at(i + 2 * L), d = vector_at(i + 3 * L);
    const V best = maximum(maximum(a, b), maximum(c, d));
    ordered &= are_ordered(a, b) & are_ordered(c, d);
    before = select(best > top, minus_i, before);
    top = maximum(top, best);
  };
  V minus_i{};
  for (int64_t i = 0; i + kBlock <= n; i += kBlock, minus_i -= T(kBlock)) take(i, minus_i);
  take(n - kBlock, broadcast(T(kBlock - n)));  // what it has of the block before is there earlier
  if (any(~ordered)) {
    while (x[at] == x[at]) ++at;
    return at;
  }
  const V best = greatest_lane(top);
  at = -static_cast<int64_t>(greatest_lane(select(top == best, before, broadcast(T(-n))))[0]);
  at = at < n - kBlock ? at : n - kBlock;
  const auto bits_at = [&](int v) RANVIER_INLINED {
    return uint64_t{mask_bits((ivec<float>)(vector_at(at + v * L) == best))} << (v * kBits);
  };
  return at + __builtin_ctzll((bits_at(0) | bits_at(1)) | (bits_at(2) | bits_at(3))) / (kBits / L);
}

// The first place of the greatest (least) among the rows of a few vectors of columns; the first NaN before
// all.
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
      const ivec<T> keep = (maximum ? here <= top[v] : here >= top[v]) | (top[v] != top[v]);
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
    arg_block<1, maximum>(x + j, stride, rows, int(width - j < L ? width - j : L), best + j, where + j);
}

// Short lines as columns of a tile.
template <class T>
static void transpose_lines(T* tile, const T* x, int64_t line, int count, int64_t n) {
  load_tile(*reinterpret_cast<Tile<T>*>(tile), x, line, 1, count, n);
}

// Ops that take less time than to make floats first read halves as they are: a sum everywhere, an extreme in
// long runs.
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

#define RANVIER_OPS(f, T)                                                  \
  {f<T, Sum<T>>,    f<T, Max<T>>,     f<T, Min<T>>,      f<T, Squares<T>>, \
   f<T, Equals<T>>, f<T, Product<T>>, f<T, Absolute<T>>, f<T, Exps<T>>}
#define RANVIER_KERNELS(T)                                                 \
  {{RANVIER_OPS(runs, T), RANVIER_OPS(lines, T), RANVIER_OPS(columns, T)}, \
   {HalfLoops<T>::of_float16, HalfLoops<T>::of_bfloat16},                  \
   RANVIER_OPS(beside, T),                                                 \
   RANVIER_JOINS(T),                                                       \
   arg_line<T>,                                                            \
   {arg_columns<false, T>, arg_columns<true, T>},                          \
   lanes<T>,                                                               \
   transpose_lines<T>}
#define RANVIER_JOINS(T)                                                   \
  {join<T, Sum<T>>, join<T, Max<T>>,     join<T, Min<T>>, join<T, Sum<T>>, \
   join<T, Sum<T>>, join<T, Product<T>>, join<T, Sum<T>>, join<T, Sum<T>>}

extern const ReduceKernels<float> reduce_kernels_float = RANVIER_KERNELS(float);
extern const ReduceKernels<double> reduce_kernels_double = RANVIER_KERNELS(double);

#undef RANVIER_KERNELS
#undef RANVIER_JOINS
#undef RANVIER_OPS
#undef RANVIER_LOOPS_OF

}  // namespace ranvier::RANVIER_ISA
