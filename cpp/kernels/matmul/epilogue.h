// The work after the sums of a tile (MatmulEpilogue in tile.h): bias, norm, activation or the derivative of
// an activation, and the store to c of any strides. The tile first stores its sums to an array `acc`, rows of
// `width` elements, whole vectors; so the same loops serve tiles of all sizes. store_general() is the entry.
// Included by files that are compiled for each ISA level.
#pragma once
#include "base/integers.h"
#include "base/unroll.h"
#include "kernels/activation/functions.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/packing.h"
#include "kernels/matmul/tile.h"
#include "kernels/norm/channel_line.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// n elements that are `stride` apart, n <= lanes; zeros in the other lanes.
template <class T>
static __attribute__((noinline)) vec<T> gather(const T* p, int64_t stride, int n) {
  T x[lanes<T>] = {};
#pragma GCC unroll 1
  for (int l = 0; l < n; ++l) x[l] = p[l * stride];
  return load(x);
}
template <class T>
static __attribute__((noinline)) void scatter(T* p, int64_t stride, vec<T> v, int n) {
  T x[lanes<T>];
  store(x, v);
#pragma GCC unroll 1
  for (int l = 0; l < n; ++l) p[l * stride] = x[l];
}

// Loads or stores n elements, 0 < n <= lanes, that are `stride` apart.
template <class T>
RANVIER_INLINE vec<T> load_strided(const T* p, int64_t stride, int n) {
  if (stride != 1) return gather<T>(p, stride, n);
  return n == lanes<T> ? load(p) : load_n(p, n);
}
template <class T>
RANVIER_INLINE void store_strided(T* p, int64_t stride, vec<T> x, int n) {
  if (stride != 1)
    scatter<T>(p, stride, x, n);
  else if (n == lanes<T>)
    store(p, x);
  else
    store_n(p, x, n);
}

// Calls f(i, j, n) for each vector of a tile: row i, first column j, n elements. n is a constant for whole
// vectors, so that f is compiled for them without masks.
template <class T, class F>
RANVIER_INLINE void for_each_part(int rows, int columns, const F& f) {
  constexpr int L = lanes<T>;
  for (int i = 0; i < rows; ++i) {
    int j = 0;
    for (; j + L <= columns; j += L) f(i, j, L);
    if (j < columns) f(i, j, columns - j);
  }
}

// acc = c + acc.
template <class T>
static __attribute__((noinline)) void add_rows(const MatmulResult<T>& part, T* acc, int width) {
  const T* c = part.c;
  const int64_t rs = part.rs_c;
  const int64_t cs = part.cs_c;
  for_each_part<T>(part.rows, part.columns, [&](int i, int j, int n) RANVIER_INLINED {
    T* sum = acc + i * width + j;
    const int64_t step = opaque(cs);  // else GCC makes a loop for each case of the stride
    store(sum, load_strided(c + i * rs + j * step, step, n) + load(sum));
  });
}

template <class T>
RANVIER_INLINE const ActivationKernels<T>& activation_functions() {
  if constexpr (sizeof(T) == sizeof(float))
    return activation_kernels_float;
  else
    return activation_kernels_double;
}

// acc = f(acc), or acc f'(saved). All rows are one line for the activation's loop, which also computes the
// unused elements between the columns and `width`.
template <class T>
static __attribute__((noinline)) void activate_tile(const MatmulResult<T>& t, T* acc, int width) {
  alignas(64) T dense[kGemvBytes / sizeof(T)];  // the sums of no tile and no gemv are larger
  const T* saved = t.after.saved;
  const int64_t rs = t.after.rs_s;
  const int64_t cs = t.after.cs_s;
  const int64_t n = t.rows * int64_t(width);
  if (saved)
    for_each_part<T>(t.rows, t.columns, [&](int i, int j, int part) RANVIER_INLINED {
      store(dense + i * width + j, load_strided(saved + i * rs + j * cs, cs, part));
    });
  const int kind = static_cast<int>(t.after.activation.kind);
  const auto& functions = activation_functions<T>();
  const T alpha = static_cast<T>(t.after.activation.alpha);
  const T beta = static_cast<T>(t.after.activation.beta);
  if (saved)
    functions.backward[kind]({n, dense, acc, acc, 1, 1, 1, alpha, beta});
  else
    functions.forward[kind]({n, acc, nullptr, acc, 1, 0, 1, alpha, beta});
}

// Copies acc to contiguous rows of c. The last vector of a row may overlap the one before.
template <class T>
RANVIER_INLINE void copy_rows(int rows, int64_t columns, const T* acc, int width, T* c, int64_t rs_c) {
  constexpr int L = lanes<T>;
  for (; rows > 0; --rows, acc += width, c += rs_c) {
    for (int64_t j = 0; j + L < columns; j += L) store(c + j, load(acc + j));
    if (columns >= L)
      store(c + columns - L, load(acc + columns - L));
    else
      copy_first<T>(c, acc, static_cast<int>(columns));
  }
}

// Adds the bias to acc, applies the norm and ReLU or its derivative, and stores to c. ReLU is not left to
// activate_tile(), since that takes as long as a small tile. kDense: rows of c and saved are contiguous.
template <class T, bool kDense>
static void finish_rows(const MatmulResult<T>& t, const T* acc, int width) {
  constexpr int L = lanes<T>;
  // The steps of the epilogue, as bits of `all`: bias and norm along a row or a column of c, ReLU, or its
  // derivative (kSlope).
  enum { kBiasRow = 1, kBiasColumn = 2, kRelu = 4, kSlope = 8, kNormRow = 16, kNormColumn = 32 };
  const int64_t columns = t.columns;
  const int64_t cs_c = kDense ? 1 : t.cs_c;
  const int64_t cs_s = kDense ? 1 : t.after.cs_s;
  const int64_t rs_c = t.rs_c;
  const int64_t rs_s = t.after.rs_s;
  const bool relu = t.after.activation.kind == Activation::relu;
  const T* bias_row = t.after.bias_row;
  const T* bias_column = t.after.bias_column;
  const T* saved = t.after.saved;
  const T* norm_row = t.after.norm_row;
  const T* norm_column = t.after.norm_column;
  const int64_t norm_step = t.after.norm_step;
  int all = 0;
  if (bias_row) all |= kBiasRow;
  if (bias_column) all |= kBiasColumn;
  if (norm_row) all |= kNormRow;
  if (norm_column) all |= kNormColumn;
  if (relu && saved) all |= kSlope;
  if (relu && !saved) all |= kRelu;
  T* c = t.c;
  if (kDense && all == 0) return copy_rows<T>(t.rows, t.columns, acc, width, c, rs_c);
  for (int i = t.rows; i > 0; --i) {
    const auto part = [=](int64_t j, int n) RANVIER_INLINED {
      const int steps = opaque(all);  // else GCC makes a loop for each combination
      vec<T> x = load(acc + j);
      if (steps & kBiasRow) x = x + load_strided(bias_row + j, 1, n);
      if (steps & kBiasColumn) x = x + broadcast<T>(*bias_column);
      if (steps & kNormRow) x = normalized(x, channel_line(norm_row + j, norm_step, n));
      if (steps & kNormColumn) x = normalized(x, same_line(norm_column, norm_step));
      if (steps & kSlope)
        x = Relu::backward(x, load_strided(saved + j * cs_s, cs_s, n), ActivationAttributes<T>{});
      if (steps & kRelu) x = Relu::forward(x, ActivationAttributes<T>{});
      store_strided(c + j * cs_c, cs_c, x, n);
    };
    int64_t j = 0;
    for (; j + L <= columns; j += L) part(j, L);
    if (j < columns && columns >= L && c != acc)
      part(columns - L, L);  // overlaps the vector before; not in place, where it would be changed twice
    else if (j < columns)
      part(j, static_cast<int>(columns - j));
    c = opaque(c + rs_c);
    acc = opaque(acc + width);
    if (all & kSlope) saved = opaque(saved + rs_s);
    if (all & kBiasColumn) ++bias_column;
    if (all & kNormColumn) ++norm_column;
  }
}

// The same as finish_rows() for contiguous rows of a vector or more, without a norm and not in place (c is
// not acc). It takes one column of vectors after another, whose bias stays in a register. Where there is no
// bias, -0 is added, which does not change the bits of any number.
template <class T>
static void finish_columns(const MatmulResult<T>& t, const T* acc, int width) {
  constexpr int L = lanes<T>;
  const T nothing = -T(0);
  const int64_t rs_c = t.rs_c;
  const int64_t rs_s = t.after.rs_s;
  const int64_t step = t.after.bias_column ? 1 : 0;
  const int64_t end = t.columns - L;
  const bool relu = t.after.activation.kind == Activation::relu;
  for (int64_t j = 0;;) {
    const vec<T> line = t.after.bias_row ? load(t.after.bias_row + j) : broadcast(nothing);
    const auto rows = [&](const T* s, int64_t rs_s, const auto& f) RANVIER_INLINED {
      const T* x = acc + j;
      const T* bias = t.after.bias_column ? t.after.bias_column : &nothing;
      T* c = t.c + j;
      for (int i = t.rows; i > 0; --i, x += width, s += rs_s, bias += step, c += rs_c)
        store(c, f(load(x) + line + broadcast(*bias), s));
    };
    const ActivationAttributes<T> none{};
    if (relu && t.after.saved)
      rows(t.after.saved + j, rs_s,
           [=](vec<T> x, const T* s) RANVIER_INLINED { return Relu::backward(x, load(s), none); });
    else if (relu)
      rows(acc, 0, [=](vec<T> x, const T*) RANVIER_INLINED { return Relu::forward(x, none); });
    else
      rows(acc, 0, [](vec<T> x, const T*) RANVIER_INLINED { return x; });
    if (j == end) break;
    j = j + L < end ? j + L : end;  // the last vector overlaps the one before
  }
}

// Applies all of the epilogue except activations other than ReLU, and stores to c.
template <class T>
static __attribute__((noinline)) void finish(const MatmulResult<T>& t, const T* acc, int width) {
  if constexpr (RANVIER_HAS_FMA && sizeof(T) == sizeof(float))
    if (t.cs_c == 1 && t.columns >= lanes<T> && !t.after.norm_row && !t.after.norm_column &&
        (!t.after.saved || t.after.cs_s == 1) && t.c != acc)
      return finish_columns(t, acc, width);
  if (t.cs_c == 1 && (!t.after.saved || t.after.cs_s == 1))
    finish_rows<T, true>(t, acc, width);
  else
    finish_rows<T, false>(t, acc, width);
}

// Applies the epilogue to acc, and stores to c, vectors along the rows of c. Activations other than ReLU are
// applied to acc as a whole, between the bias and the store.
template <class T>
static __attribute__((noinline)) void store_rows(const MatmulResult<T>& t, T* acc, int width) {
  const Activation kind = t.after.activation.kind;
  if (kind == Activation::none || kind == Activation::relu) return finish(t, acc, width);
  MatmulResult<T> s = t;  // bias and norm in acc; then the activation; then the store
  s.after.activation.kind = Activation::none;
  s.c = acc;
  s.rs_c = width;
  s.cs_c = 1;
  finish(s, acc, width);
  activate_tile(t, acc, width);
  s.after = {};
  s.c = t.c;
  s.rs_c = t.rs_c;
  s.cs_c = t.cs_c;
  finish(s, acc, width);
}

// c[i + j * cs_c] = acc[i * width + j] for up to four rows, transposed in squares of four.
template <class T>
static __attribute__((noinline)) void store_squares(int rows, int columns, const T* acc, int width, T* c,
                                                    int64_t cs_c) {
  constexpr int L = lanes<T>;
  for (int j = 0; j < columns; j += L) {
    vec<T> row[4];
    RANVIER_UNROLL
    for (int i = 0; i < 4; ++i) {
      const int r = i < rows ? i : 0;  // a row that does not exist repeats the first one
      row[i] = load(acc + r * width + j);
    }
    transpose_fours(row, std::make_integer_sequence<int, L>());
    alignas(64) T square[4][L];
    RANVIER_UNROLL
    for (int i = 0; i < 4; ++i) store(square[i], row[i]);
    const int n = columns - j < L ? columns - j : L;
    for (int l = 0; l < n; ++l, c += cs_c) {
      // In each group of four lanes, row r of the square has the column r of that group.
      const T* column = &square[l % 4][l / 4 * 4];
      if (rows == 4) {
        void(__builtin_memcpy(c, column, 4 * sizeof(T)));
      } else {
        copy_first<T>(c, column, rows);
      }
    }
  }
}

// Applies the epilogue to acc, and stores to c of any strides. Where columns of c are contiguous, as in
// c' = b' a', acc is transposed first, and its columns are stored as rows.
template <class T>
static __attribute__((noinline)) void store_general(const MatmulResult<T>& t, T* acc, int width) {
  constexpr int L = lanes<T>;
  // The elements of the largest transposed tile: a tile of 1 to 8 vectors of columns by at most L rows, or,
  // where a vector has two elements, by more rows than that.
  constexpr int kMost = L > 2 ? 8 * L * L : L * (kAccumulators + 8 * (L - 1));
  static_assert(kMost * sizeof(T) <= kGemvBytes);
  if (t.rs_c != 1 || t.cs_c == 1 || t.rows == 1) return store_rows(t, acc, width);
  if constexpr (RANVIER_HAS_FMA && sizeof(T) == sizeof(float))
    if (t.rows <= 4 && t.after.is_empty())
      return store_squares<T>(t.rows, t.columns, acc, width, t.c, t.cs_c);
  alignas(64) T transposed[kMost];
  const int transposed_width = static_cast<int>(round_up(t.rows, L));
  for (int i = 0; i < t.rows; i += L) {
    const int rows = t.rows - i < L ? t.rows - i : L;
    for (int j = 0; j < t.columns; j += L) {
      vec<T> square[L];
      RANVIER_UNROLL
      for (int r = 0; r < L; ++r) square[r] = r < rows ? load(acc + (i + r) * width + j) : vec<T>{};
      transpose(square);
      RANVIER_UNROLL
      for (int l = 0; l < L; ++l) store(transposed + (j + l) * transposed_width + i, square[l]);
    }
  }
  MatmulResult<T> s = t;
  s.rows = t.columns;
  s.columns = t.rows;
  s.rs_c = t.cs_c;
  s.cs_c = 1;
  s.after.rs_s = t.after.cs_s;
  s.after.cs_s = t.after.rs_s;
  s.after.bias_row = t.after.bias_column;
  s.after.bias_column = t.after.bias_row;
  s.after.norm_row = t.after.norm_column;
  s.after.norm_column = t.after.norm_row;
  store_rows(s, transposed, transposed_width);
}

// Runs tiles of bfloat16 (bfloat16.isa.cpp, amx.isa.cpp), t and the t.more tiles after it. sum(t, p, k, to)
// stores the chain over k elements from p on as rows of `width`; the chains of a tile are added up in
// `total`, with `more` as memory for one chain. see(t, total) is called with the finished sums, before the
// epilogue.
template <class Sum, class See>
RANVIER_INLINE void run_tiles_of_pairs(MatmulTile<float> t, int width, float* total, float* more,
                                       const Sum& sum, const See& see) {
  const bool finishes = !t.after.is_empty();
  for (int tiles = t.more; tiles >= 0; --tiles, t.a += t.step_a, t.b += t.step_b, t.c += t.step_c) {
    if (t.cs_c == 1 && (t.accumulate || t.fetch.c))
      for (int i = 0; i < t.rows; ++i)
        for (int j = 0; j < width; j += lanes<float>) __builtin_prefetch(t.c + i * t.rs_c + j, 0, 3);
    float* sums = total;
    for (int64_t p = 0; p < t.k || p == 0; p += t.chain_length, sums = more) {
      const int64_t k = t.k - p < t.chain_length ? t.k - p : t.chain_length;
      sum(t, p, k, sums);
      if (p == 0 && t.accumulate) add_rows<float>(t, total, width);
      if (p == 0) continue;
      for (int i = 0; i < t.rows * width; i += lanes<float>)
        store(total + i, load(total + i) + load(more + i));
    }
    see(t, total);
    if (finishes || t.cs_c != 1)
      store_general<float>(t, total, width);
    else
      copy_rows<float>(t.rows, t.columns, total, width, t.c, t.rs_c);
  }
}

}  // namespace ranvier::RANVIER_ISA
