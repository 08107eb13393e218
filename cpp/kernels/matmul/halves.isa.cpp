// The inner loops of halves.h, compiled once for each ISA level: few rows of float32 by a large matrix of
// 16-bit floats, which is converted in registers and takes the time of reading it; and conversions of lines
// between 16 and 32 bits.
#include "kernels/matmul/halves.h"

#include "base/unroll.h"
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/next_lines.h"
#include "simd/halves.h"

namespace ranvier::RANVIER_ISA {

constexpr int L = lanes<float>;
constexpr int kLine = 32;      // 16-bit numbers in a cache line
constexpr int64_t kBytes = 2;  // of such a number

// L numbers as float32, as load_halves() (simd/halves.h) gives them, except for the bits of NaN.
template <class Half>
RANVIER_INLINE vec<float> wide(const Half* p) {
#if defined(__F16C__) && RANVIER_VECTOR_BYTES == 64
  if constexpr (std::is_same_v<Half, Float16>)
    return vec<float>(
        _mm512_maskz_cvtph_ps(~__mmask16(0), _mm256_loadu_si256(reinterpret_cast<const __m256i*>(p))));
#elif defined(__F16C__) && RANVIER_VECTOR_BYTES == 32
  if constexpr (std::is_same_v<Half, Float16>)
    return vec<float>(_mm256_cvtph_ps(_mm_loadu_si128(reinterpret_cast<const __m128i*>(p))));
#endif
  return load_halves(p);
}

// The first n numbers at p, 0 < n < L; zeros in the other lanes.
template <class Half>
RANVIER_INLINE vec<float> wide_n(const Half* p, int n) {
  Half part[L] = {};
  __builtin_memcpy(part, p, sizeof(Half) * size_t(n));
  return wide(part);
}

template <class Half>
static void widen(int64_t n, const void* x, float* y) {
  const Half* p = static_cast<const Half*>(x);
  int64_t i = 0;
  for (; i + L <= n; i += L) store(y + i, wide(p + i));
  if (i < n) store_n(y + i, wide_n(p + i, static_cast<int>(n - i)), static_cast<int>(n - i));
}

template <class Half>
static void round(int64_t n, const float* x, void* y) {
  Half* q = static_cast<Half*>(y);
  int64_t i = 0;
  for (; i + L <= n; i += L) store_halves(q + i, load(x + i));
  if (i == n) return;
  Half part[L];
  store_halves(part, load_n(x + i, static_cast<int>(n - i)));
  __builtin_memcpy(q + i, part, sizeof(Half) * size_t(n - i));
}

static void add(int64_t n, const float* x, float* y) {
  int64_t i = 0;
  for (; i + L <= n; i += L) store(y + i, load(y + i) + load(x + i));
  const int rest = static_cast<int>(n - i);
  if (rest > 0) store_n(y + i, load_n(y + i, rest) + load_n(x + i, rest), rest);
}

// --- HalfKernels::dots: columns of b are contiguous. Lanes are products along k.

// The columns that are computed at once, which hide the latency of FMAs.
template <int kRows>
constexpr int kColumns = kManyRegisters || kRows <= 2 ? 4 : 2;

// The sums of kRows rows from a on and kCount columns from b on, stored from `sums` on.
template <class Half, int kRows, int kCount>
static __attribute__((noinline)) void dot(const LineProduct& t, const float* a, const Half* b, float* sums) {
  const int64_t k = t.k;
  const int64_t rs_a = t.rs_a;
  const int64_t step_b = t.step_b;
  // In the order of memory for one row only: for more, whose products take longer than the reading, that is
  // slower.
  constexpr bool kOne = kRows == 1;
  NextLines<kCount> fetched;
  fetched.begin(reinterpret_cast<const char*>(b), step_b * kBytes, k * kBytes, /*last=*/false,
                kOne ? t.fetch_order : FetchOrder::next_columns, /*stream=*/kOne && step_b == k);
  vec<float> acc[kRows][kCount] = {};
  const auto step = [&](int64_t p, const auto& row_at, const auto& column_at) RANVIER_INLINED {
    vec<float> row[kRows];
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) row[i] = row_at(a + i * rs_a + p);
    RANVIER_UNROLL
    for (int j = 0; j < kCount; ++j) {
      const vec<float> column = column_at(b + j * step_b + p);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) acc[i][j] = fma(row[i], column, acc[i][j]);
    }
  };
  const auto whole = [&](int64_t p) RANVIER_INLINED {
    step(
        p, [](const float* x) RANVIER_INLINED { return load(x); },
        [](const Half* x) RANVIER_INLINED { return wide(x); });
  };
  int64_t p = 0;
  for (; p + kLine <= k; p += kLine) {
    fetched.fetch();
#if RANVIER_VECTOR_BYTES > 16  // with shorter vectors it only makes more code
    RANVIER_UNROLL
#endif
    for (int u = 0; u < kLine; u += L) whole(p + u);
  }
  for (; p + L <= k; p += L) whole(p);
  if (const int n = static_cast<int>(k - p); n > 0)
    step(
        p, [=](const float* x) RANVIER_INLINED { return load_n(x, n); },
        [=](const Half* x) RANVIER_INLINED { return wide_n(x, n); });
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int j = 0; j < kCount; ++j) sums[i * t.width + j] = reduce_add(acc[i][j]);
  }
}

// Calls f(first row, count) for all rows, 4, 2 or 1 at a time; count is a constant of the compiler.
template <class F>
RANVIER_INLINE void some_rows(int rows, const F& f) {
  int i = 0;
  for (; i + 4 <= rows; i += 4) f(i, std::integral_constant<int, 4>());
  if (i + 2 <= rows) {
    f(i, std::integral_constant<int, 2>());
    i += 2;
  }
  if (i < rows) f(i, std::integral_constant<int, 1>());
}

template <class Half>
static void dots(const LineProduct& t) {
  const Half* b = static_cast<const Half*>(t.b);
  constexpr int kMost = kColumns<1>;
  int64_t j = 0;
  for (; j + kMost <= t.columns; j += kMost)
    some_rows(t.rows, [&](int i, auto count) RANVIER_INLINED {
      constexpr int kRows = decltype(count)::value, kCount = kColumns<kRows>;
      for (int l = 0; l < kMost; l += kCount)
        dot<Half, kRows, kCount>(t, t.a + i * t.rs_a, b + (j + l) * t.step_b, t.sums + i * t.width + j + l);
    });
  for (; j < t.columns; ++j)
    for (int i = 0; i < t.rows; ++i)
      dot<Half, 1, 1>(t, t.a + i * t.rs_a, b + j * t.step_b, t.sums + i * t.width + j);
}

// --- HalfKernels::rows: rows of b are contiguous. As in gemv.h, lanes are columns, and some rows of b at a
// time are multiplied and added to the sums.

// sums[i] += the sum over s < kSteps of a[i, s] times row s of b, for kRows rows of a and all columns. first:
// the sums begin with 0.
template <class Half, int kRows, int kSteps>
static void add_rows(const LineProduct& t, const float* a, const Half* b, bool first, float* sums) {
  const int64_t columns = t.columns;
  const int64_t step_b = t.step_b;
  const int64_t width = t.width;
  vec<float> x[kRows][kSteps];
  RANVIER_UNROLL
  for (int i = 0; i < kRows; ++i) {
    RANVIER_UNROLL
    for (int s = 0; s < kSteps; ++s) x[i][s] = broadcast<float>(a[i * t.rs_a + s]);
  }
  const auto vector = [&](int64_t j, const auto& read) RANVIER_INLINED {
    vec<float> sum[kRows];
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) sum[i] = first ? vec<float>{} : load(sums + i * width + j);
    RANVIER_UNROLL
    for (int s = 0; s < kSteps; ++s) {
      const vec<float> row = read(b + s * step_b + j);
      RANVIER_UNROLL
      for (int i = 0; i < kRows; ++i) sum[i] = fma(x[i][s], row, sum[i]);
    }
    RANVIER_UNROLL
    for (int i = 0; i < kRows; ++i) store(sums + i * width + j, sum[i]);
  };
  int64_t j = 0;
  for (; j + L <= columns; j += L) {
    RANVIER_UNROLL
    for (int s = 0; s < kSteps; ++s) __builtin_prefetch(b + (s + kSteps) * step_b + j, 0, 2);
    vector(j, [](const Half* p) RANVIER_INLINED { return wide(p); });
  }
  if (const int n = static_cast<int>(columns - j); n > 0)
    vector(j, [=](const Half* p) RANVIER_INLINED { return wide_n(p, n); });
}

template <class Half>
static void rows(const LineProduct& t) {
  constexpr int kSteps = 4;
  const Half* b = static_cast<const Half*>(t.b);
  const auto steps = [&](int64_t p, auto count) RANVIER_INLINED {
    some_rows(t.rows, [&](int i, auto rows) RANVIER_INLINED {
      add_rows<Half, decltype(rows)::value, decltype(count)::value>(t, t.a + i * t.rs_a + p, b + p * t.step_b,
                                                                    p == 0, t.sums + i * t.width);
    });
  };
  int64_t p = 0;
  for (; p + kSteps <= t.k; p += kSteps) steps(p, std::integral_constant<int, kSteps>());
  for (; p < t.k; ++p) steps(p, std::integral_constant<int, 1>());
}

template <class Half>
static constexpr HalfKernels kernels = {widen<Half>, round<Half>, dots<Half>, rows<Half>};

extern const HalfMatmulKernels half_matmul_kernels_float = {{kernels<Float16>, kernels<BFloat16>}, add};

}  // namespace ranvier::RANVIER_ISA
