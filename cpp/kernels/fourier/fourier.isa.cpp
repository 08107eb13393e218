// FourierKernels::run (fourier.h): transforms a vector of rows, one in each lane; compiled once for each ISA
// level.
//
// Buffers have the layout (point, re or im, lane): point t of all rows is a pair of vectors. An fft is
// load_rows(), which transposes rows into a buffer, passes() and store_rows(). An rfft of even n takes the
// real row as n/2 complex numbers; after the passes untangle() computes the spectrum. An irfft does the same
// in the opposite order, with tangle() first.
#include "kernels/fourier/fourier.h"

#include "simd/strided.h"
#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

// A complex number in each lane. times() multiplies all lanes by one root of unity.
template <class T>
struct Complex {
  vec<T> re, im;
};
template <class T>
RANVIER_INLINE Complex<T> operator+(Complex<T> a, Complex<T> b) {
  return {a.re + b.re, a.im + b.im};
}
template <class T>
RANVIER_INLINE Complex<T> operator-(Complex<T> a, Complex<T> b) {
  return {a.re - b.re, a.im - b.im};
}
template <class T>
RANVIER_INLINE Complex<T> conj(Complex<T> a) {
  return {a.re, -a.im};
}
template <class T>
RANVIER_INLINE Complex<T> times_i(Complex<T> a) {
  return {-a.im, a.re};
}
template <class T>
RANVIER_INLINE Complex<T> times(Complex<T> a, const T* root) {
  const vec<T> re = factor<T>(root[0]);
  const vec<T> im = factor<T>(root[1]);
  return {fma(a.re, re, -(a.im * im)), fma(a.re, im, a.im * re)};
}
// Loads and stores point `at` of a buffer. If `swapped` is 1, re and im are exchanged: the fft of a row with
// exchanged parts, whose parts are exchanged again, is the inverse transform.
template <class T>
RANVIER_INLINE Complex<T> get(const T* p, int64_t at, int swapped = 0) {
  p += 2 * at * lanes<T>;
  return {load(p + swapped * lanes<T>), load(p + (1 - swapped) * lanes<T>)};
}
template <class T>
RANVIER_INLINE void put(T* p, int64_t at, Complex<T> a, int swapped = 0) {
  p += 2 * at * lanes<T>;
  store(p + swapped * lanes<T>, a.re);
  store(p + (1 - swapped) * lanes<T>, a.im);
}

// cos (part 0) or sin (part 1) of 2 pi q / r, for r = 3, 5, 7 and 0 < q < r. The table has those with q < r /
// 2, for r = 3, then 5, then 7; the others are their complex conjugates.
RANVIER_INLINE constexpr double root_part(int r, int q, int part) {
  constexpr double parts[6][2] = {
      {-0.5, 0.86602540378443864676},
      {0.30901699437494742410, 0.95105651629515357212},
      {-0.80901699437494742410, 0.58778525229247312917},
      {0.62348980185873353053, 0.78183148246802980871},
      {-0.22252093395631440429, 0.97492791218182360702},
      {-0.90096886790241912624, 0.43388373911755812048},
  };
  int before_first = -1;  // the row of the table before that of q = 1
  if (r == 5) before_first = 0;
  if (r == 7) before_first = 2;
  if (2 * q < r) return parts[before_first + q][part];
  const double of_conjugate = parts[before_first + r - q][part];
  return part ? -of_conjugate : of_conjugate;
}

// The Fourier transform of r points, in place.
template <class T, int r>
RANVIER_INLINE void butterfly(Complex<T> (&a)[r]) {
  if constexpr (r == 2) {
    const Complex<T> b = a[0] - a[1];
    a[0] = a[0] + a[1];
    a[1] = b;
  } else if constexpr (r == 4) {
    const Complex<T> b = a[0] + a[2];
    const Complex<T> c = a[0] - a[2];
    const Complex<T> d = a[1] + a[3];
    const Complex<T> e = times_i<T>(a[1] - a[3]);
    a[0] = b + d;
    a[2] = b - d;
    a[1] = c - e;
    a[3] = c + e;
  } else {
    constexpr int half = r / 2;
    Complex<T> sum[half], difference[half];
    const Complex<T> start = a[0];
    RANVIER_UNROLL
    for (int j = 0; j < half; ++j) {
      sum[j] = a[j + 1] + a[r - 1 - j];
      difference[j] = a[j + 1] - a[r - 1 - j];
      a[0] = a[0] + sum[j];
    }
    RANVIER_UNROLL
    for (int k = 1; k <= half; ++k) {
      Complex<T> even = start;
      Complex<T> odd = {};
      RANVIER_UNROLL
      for (int j = 0; j < half; ++j) {
        const int q = (j + 1) * k % r;
        const vec<T> c = broadcast(T(root_part(r, q, 0)));
        const vec<T> s = broadcast(T(root_part(r, q, 1)));
        even = {fma(sum[j].re, c, even.re), fma(sum[j].im, c, even.im)};
        odd = {fma(difference[j].re, s, odd.re), fma(difference[j].im, s, odd.im)};
      }
      odd = times_i<T>(odd);
      a[k] = even - odd;
      a[r - k] = even + odd;
    }
  }
}

// One pass of Stockham's algorithm with radix r. done: the product of the radices of the earlier passes;
// left: that of the later passes. So the row has done * r * left points.
//
//   y[j, k, i] = root^(j * done * i) * (transform over j of x[k, j, i]),  k < done, j < r, i < left
//
// where the point (k, j, i) of x is at i + left * (j + r * k), and (j, k, i) of y at i + left * (k + done *
// j). roots[s * step] = exp(-2 pi i s / (done * r * left)).
template <class T, int r>
static void pass(const T* x, T* y, int64_t done, int64_t left, const T* roots, int64_t step, int swapped) {
  for (int64_t i = 0; i < left; ++i) {
    for (int64_t k = 0; k < done; ++k) {
      Complex<T> a[r];
      RANVIER_UNROLL
      for (int j = 0; j < r; ++j) a[j] = get(x, i + left * (j + r * k), swapped);
      butterfly<T, r>(a);
      put(y, i + left * k, a[0], swapped);
      RANVIER_UNROLL
      for (int j = 1; j < r; ++j) {
        Complex<T> turned = a[j];
        if (i) turned = times<T>(a[j], roots + 2 * j * done * i * step);
        put(y, i + left * (k + done * j), turned, swapped);
      }
    }
  }
}

// The radix of the next pass over a row that has `left` points left: m has no prime factor above 7.
static inline int next_radix(int64_t left) {
  for (const int r : {4, 2, 3, 5})
    if (left % r == 0) return r;
  return 7;
}
template <class T>
using Pass = void (*)(const T* x, T* y, int64_t done, int64_t left, const T* roots, int64_t step,
                      int swapped);
template <class T>
static Pass<T> pass_of(int r) {
  if (r == 4) return pass<T, 4>;
  if (r == 2) return pass<T, 2>;
  if (r == 3) return pass<T, 3>;
  if (r == 5) return pass<T, 5>;
  return pass<T, 7>;
}

// The transform of m points of x, with y as a second buffer. At the end x points to the buffer with the
// result. step: the distance in `roots` of two neighbouring m-th roots of unity.
template <class T>
static void passes(T*& x, T*& y, int64_t m, const T* roots, int64_t step, int swapped) {
  int64_t done = 1;
  int64_t left = m;
  while (left > 1) {
    const int r = next_radix(left);
    left /= r;
    pass_of<T>(r)(x, y, done, left, roots, step, swapped);
    done *= r;
    T* const z = x;
    x = y;
    y = z;
  }
}

// Every second lane of a and then of b, from lane `first` on.
template <int first, class V, int... lane>
RANVIER_INLINE V halves(V a, V b, std::integer_sequence<int, lane...>) {
  return __builtin_shufflevector(a, b, (2 * lane + first)...);
}

// Loads the first `count` elements of each row to buffer a, where the points of a row are l.step elements
// apart in memory. If l.adjacent, the same point of all rows is contiguous.
template <class T>
static void load_columns(const FourierRows<T>& l, int64_t count, T* a) {
  using Lanes = std::make_integer_sequence<int, lanes<T>>;
  const int width = l.kind == FourierKind::rfft ? 1 : 2;
  int64_t at = 0;  // of the point in its row
  for (int64_t t = 0; t < count; t += width) {
    T* const to = a + t * lanes<T>;
    const T* const from = l.rows[0] + at;
    if (!l.adjacent) {
      for (int i = 0; i < lanes<T>; ++i)
        for (int j = 0; j < width; ++j) to[j * lanes<T> + i] = l.rows[i][at + j];
    } else if (width == 2) {
      const vec<T> v = load(from);
      const vec<T> w = load(from + lanes<T>);
      put<T>(to, 0, {halves<0>(v, w, Lanes{}), halves<1>(v, w, Lanes{})});
    } else {
      store(to, load(from));
    }
    if (l.kind == FourierKind::rfft && l.window) store(to, load(to) * factor<T>(l.window[t]));
    at += l.step;
  }
}

// Loads element t of each row to vector t of a, for t < count, and zeros up to vector n. A complex number is
// two elements.
template <class T>
static void load_rows(const FourierRows<T>& l, int64_t count, int64_t n, T* a) {
  const T* window = l.kind == FourierKind::rfft ? l.window : nullptr;
  if (l.columns) load_columns(l, count, a);
  for (int64_t t = 0; t < count && !l.columns; t += lanes<T>) {
    const int width = lanes_used<T>(count - t);
    vec<T> v[lanes<T>];
    RANVIER_UNROLL
    for (int i = 0; i < lanes<T>; ++i) v[i] = load_lanes(l.rows[i] + t, width);
    if (window) {
      const vec<T> w = load_lanes(window + t, width);
      RANVIER_UNROLL
      for (int i = 0; i < lanes<T>; ++i) v[i] *= w;
    }
    transpose(v);
    RANVIER_UNROLL
    for (int i = 0; i < lanes<T>; ++i) store(a + (t + i) * lanes<T>, v[i]);
  }
  for (int64_t t = count; t < n; ++t) store(a + t * lanes<T>, vec<T>{});
}

// Stores vector t of a, times scale and window, to element t of each row of y, for t < n.
template <class T>
static void store_rows(const FourierRows<T>& l, int64_t n, const T* a) {
  const vec<T> scale = broadcast(l.scale);
  const T* window = l.kind == FourierKind::irfft ? l.window : nullptr;
  for (int64_t t = 0; t < n; t += lanes<T>) {
    const int width = lanes_used<T>(n - t);
    const vec<T> w = window ? scale * load_lanes(window + t, width) : scale;
    vec<T> v[lanes<T>];
    RANVIER_UNROLL
    for (int i = 0; i < lanes<T>; ++i) v[i] = load(a + (t + i) * lanes<T>);
    transpose(v);
    RANVIER_UNROLL
    for (int i = 0; i < lanes<T>; ++i)
      if (i < l.count) store_lanes(l.y + i * n + t, v[i] * w, width);
  }
}

// Multiplies the frequencies 0 and, if n is even, n / 2 by `edge`.
template <class T>
static void scale_edges(const FourierRows<T>& l, T* a) {
  const vec<T> edge = broadcast(l.edge);
  const auto scale = [&](int64_t at) {
    const Complex<T> z = get(a, at);
    put<T>(a, at, {z.re * edge, z.im * edge});
  };
  scale(0);
  if (l.n % 2 == 0) scale(l.n / 2);
}

// A real row u of n = 2 m elements is transformed as the complex row u[2 t] + i u[2 t + 1] of m points, whose
// spectrum is z. untangle() computes the spectrum x[0 ... m] of u from z, and tangle() computes 2 z from x.
// The spectra of the even and of the odd elements of u are (z[k] + conj z[m - k]) / 2 and (z[k] - conj z[m -
// k]) / 2i.
template <class T>
static void untangle(const FourierRows<T>& l, const T* z, T* x) {
  const int64_t m = l.n / 2;
  const vec<T> half = broadcast(T(0.5));
  const Complex<T> first = get(z, 0);
  put<T>(x, 0, {first.re + first.im, vec<T>{}});
  put<T>(x, m, {first.re - first.im, vec<T>{}});
  for (int64_t k = 1; k <= m / 2; ++k) {
    const Complex<T> a = get(z, k);
    const Complex<T> b = conj<T>(get(z, m - k));
    const Complex<T> sum = a + b;
    const Complex<T> d = a - b;
    const Complex<T> odd = times<T>({d.im * half, -d.re * half}, l.roots + 2 * k);
    const Complex<T> even = {sum.re * half, sum.im * half};
    put(x, m - k, conj<T>(even - odd));
    put(x, k, even + odd);
  }
}
template <class T>
static void tangle(const FourierRows<T>& l, const T* x, T* z) {
  const int64_t m = l.n / 2;
  const vec<T> first = get(x, 0).re;
  const vec<T> last = get(x, m).re;
  put<T>(z, 0, {first + last, first - last});
  for (int64_t k = 1; k <= m / 2; ++k) {
    const Complex<T> a = get(x, k);
    const Complex<T> b = conj<T>(get(x, m - k));
    const Complex<T> even = a + b;
    const Complex<T> odd = times_i<T>(conj<T>(times<T>(conj<T>(a - b), l.roots + 2 * k)));
    put(z, m - k, conj<T>(even - odd));
    put(z, k, even + odd);
  }
}

// FourierKernels::run. m: the points of the passes for a real row.
template <class T>
static void transform(const FourierRows<T>& l) {
  const int64_t n = l.n;
  const int64_t half = n / 2 + 1;
  const int64_t m = n % 2 ? n : n / 2;
  const auto less = [](int64_t a, int64_t b) { return a < b ? a : b; };
  T* a = l.a;
  T* b = l.b;
  if (l.kind == FourierKind::rfft) {
    load_rows(l, less(l.length, n), n, a);
    if (n % 2) {
      for (int64_t t = 0; t < n; ++t) put<T>(b, t, {load(a + t * lanes<T>), vec<T>{}});
      passes(b, a, n, l.roots, 1, 0);
    } else {
      passes(a, b, m, l.roots, 2, 0);
      untangle(l, a, b);
    }
    scale_edges(l, b);
    store_rows(l, 2 * half, b);
  } else if (l.kind == FourierKind::irfft) {
    load_rows(l, 2 * less(l.length, half), 2 * half, a);
    scale_edges(l, a);
    if (n % 2) {
      store(a + lanes<T>, vec<T>{});
      for (int64_t k = 1; k < half; ++k) put(a, n - k, conj<T>(get(a, k)));
      passes(a, b, n, l.roots, 1, 1);
      for (int64_t t = 0; t < n; ++t) store(b + t * lanes<T>, get(a, t).re);
    } else {
      tangle(l, a, b);
      passes(b, a, m, l.roots, 2, 1);
    }
    store_rows(l, n, b);
  } else {
    load_rows(l, 2 * less(l.length, n), 2 * n, a);
    passes(a, b, n, l.roots, 1, l.kind == FourierKind::ifft);
    store_rows(l, 2 * n, a);
  }
}

template <class T>
static constexpr FourierKernels<T> fourier_table = {lanes<T>, transform<T>};

RANVIER_DEFINE_TABLES(FourierKernels, fourier_kernels, fourier_table);

}  // namespace ranvier::RANVIER_ISA
