// The loops of JetKernels (jet.h) over a line of elements, compiled once for each ISA level.
//
// Each function f is a series: a struct that computes the Taylor coefficients of y = f(x(s)) and of its slope
// g = f'(x(s)), order by order. y follows from g, since y' = g x'. g follows from y and x by an equation of
// its own, such as g = y for exp.
#include "kernels/jet/jet.h"

#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

constexpr int kTerms = kMaxJetOrder + 1;  // coefficients, with that of order 0

template <class T>  // kInverse[k] = 1 / k
static constexpr T kInverse[kTerms] = {0,         T(1),      T(1) / 2,  T(1) / 3, T(1) / 4,  T(1) / 5,
                                       T(1) / 6,  T(1) / 7,  T(1) / 8,  T(1) / 9, T(1) / 10, T(1) / 11,
                                       T(1) / 12, T(1) / 13, T(1) / 14, T(1) / 15};

// A curve x(s) by its Taylor coefficients x[k], with dx[k] = k x[k]; with kUnit the curve x[0] + s, for which
// only x[0] is read. Also the numbers that a series keeps along the curve: those of order 0 that begin()
// computes (start), and coefficients of other functions (a and b).
template <class T, bool kUnit>
struct Path {
  const vec<T>*x, *dx;
  vec<T> start[2], a[kTerms], b[kTerms];
};

// The sum of a[i] b[n - i] over i = 0 ... n. b[n], which is computed last by the caller, is used last.
template <class T>
RANVIER_INLINE vec<T> product(const vec<T>* a, const vec<T>* b, int n) {
  vec<T> sum = a[n] * b[0];
  for (int i = n - 1; i >= 0; --i) sum = fma(a[i], b[n - i], sum);
  return sum;
}
// Coefficients of order k: square() of a^2, integral() of the y with y' = g x', times_x() of x g.
template <class T>
RANVIER_INLINE vec<T> square(const vec<T>* a, int k) {
  vec<T> sum{};
  for (int i = (k - 1) >> 1; i >= 0; --i) sum = fma(a[i], a[k - i], sum);
  sum += sum;
  return k % 2 ? sum : fma(a[k / 2], a[k / 2], sum);
}
template <class T, bool kUnit>
RANVIER_INLINE vec<T> integral(const Path<T, kUnit>& p, const vec<T>* g, int k) {
  if (kUnit) return g[k - 1] * kInverse<T>[k];
  return product<T>(p.dx + 1, g, k - 1) * kInverse<T>[k];
}
template <class T, bool kUnit>
RANVIER_INLINE vec<T> times_x(const Path<T, kUnit>& p, const vec<T>* g, int k) {
  if (!kUnit) return product<T>(p.x, g, k);
  if (k == 0) return p.x[0] * g[0];
  return fma(p.x[0], g[k], g[k - 1]);
}

// The functions of a series. begin() returns y[0] from x, or from f(x) if that is saved; it may limit x, and
// sets `start`. slope() returns the coefficient of order k of the slope, from y[0 ... k] and what it kept for
// lower orders. (softplus, silu and gelu return x, since nothing reads their y[0].)
#define RANVIER_BEGIN \
  template <class T>  \
  RANVIER_INLINE vec<T> begin(vec<T>& x, [[maybe_unused]] vec<T>* start)
#define RANVIER_SLOPE            \
  template <class T, bool kUnit> \
  RANVIER_INLINE vec<T> slope([[maybe_unused]] Path<T, kUnit>& p, [[maybe_unused]] const vec<T>* y, int k)

struct OfSaved {
  RANVIER_BEGIN { return x; }
};
struct ExpSeries : OfSaved {
  RANVIER_SLOPE { return y[k]; }
};
struct SigmoidSeries : OfSaved {
  RANVIER_SLOPE { return y[k] - square<T>(y, k); }
};
struct TanhSeries : OfSaved {
  RANVIER_SLOPE { return T(k == 0) - square<T>(y, k); }
};

struct Oscillation {  // sin and cos: f'' = -f
  RANVIER_SLOPE { return k ? -integral(p, y, k) : p.start[0]; }
};
template <class T>
__attribute__((noinline)) static vec<T> sin_and_cos(const vec<T>& x, vec<T>* cosine) {
  *cosine = cos(x);
  return sin(x);
}
struct SinSeries : Oscillation {
  RANVIER_BEGIN { return sin_and_cos<T>(x, start); }
};
struct CosSeries : Oscillation {
  RANVIER_BEGIN {
    vec<T> cosine;
    *start = -sin_and_cos<T>(x, &cosine);
    return cosine;
  }
};

// f' = s = sigmoid(x), s' = s - s^2. Above 20 softplus is x itself, as in kernels/activation, and its
// slope 1.
struct SoftplusSeries {
  RANVIER_BEGIN {
    *start = select(x > T(20), broadcast(T(1)), sigmoid(x));
    return x;
  }
  RANVIER_SLOPE {
    p.a[k] = k ? integral(p, p.b, k) : p.start[0];
    p.b[k] = p.a[k] - square<T>(p.a, k);
    return p.a[k];
  }
};
struct SiluSeries {  // f' = s + x s'
  RANVIER_BEGIN {
    // Farther out the slope is 0 or 1, but inf * 0 would give NaN.
    x = at_most(at_least(x, T(-1000)), T(1000));
    *start = sigmoid(x);
    return x;
  }
  RANVIER_SLOPE {
    const vec<T> s = SoftplusSeries::slope(p, y, k);
    return s + times_x(p, p.b, k);
  }
};
struct GeluSeries {  // f' = P + x d, where P' = d is the normal density, d' = -x d
  RANVIER_BEGIN {
    x = at_most(at_least(x, T(-50)), T(50));
    start[1] = exp(x * x * T(-0.5)) * T(0.398942280401432677940);
    *start = fma(broadcast(T(0.5)), erf(x * T(0.707106781186547524401)), broadcast(T(0.5)));
    return x;
  }
  RANVIER_SLOPE {
    p.a[k] = k ? -integral(p, p.b, k) : p.start[1];
    p.b[k] = times_x(p, p.a, k);
    const vec<T> cdf = k ? integral(p, p.a, k) : p.start[0];
    return cdf + p.b[k];
  }
};

// begin() as a call that is not inlined: it is longer than the rest of the code.
template <class Series, class T>
__attribute__((noinline)) static vec<T> begin_of(vec<T>& x, vec<T>* start) {
  return Series::template begin<T>(x, start);
}

// Computes y[0 ... order] and the slopes g[0 ... order]. x[0] is x, or f(x) if that is saved.
template <class Series, class T>
RANVIER_INLINE void series(vec<T>* x, const vec<T>* dx, int order, vec<T>* y, vec<T>* g) {
  Path<T, false> p;
  p.x = x;
  p.dx = dx;
  y[0] = begin_of<Series, T>(x[0], p.start);
  for (int k = 0; k <= order; ++k) {
    if (k) y[k] = integral(p, g, k);
    g[k] = Series::slope(p, y, k);
  }
}

// y[0 ... kOrder] along the curve x + s, whose coefficients are f^(k)(x) / k!. unit_terms() is a loop over k,
// unrolled by recursion.
template <class Series, int kOrder, int k = 0, class T>
RANVIER_INLINE void unit_terms(Path<T, true>& p, vec<T>* y, vec<T>* g) {
  if constexpr (k < kOrder) {
    g[k] = Series::slope(p, y, k);
    y[k + 1] = integral(p, g, k + 1);
    unit_terms<Series, kOrder, k + 1, T>(p, y, g);
  }
}
template <class Series, int kOrder, class T>
RANVIER_INLINE void unit_series(vec<T> x, vec<T>* y) {
  vec<T> g[kOrder];
  Path<T, true> p;
  p.x = &x;
  y[0] = sizeof(T) == 4 ? Series::template begin<T>(x, p.start) : begin_of<Series, T>(x, p.start);
  unit_terms<Series, kOrder, 0, T>(p, y, g);
}

// The first n lanes of elements i, i + 1, ... of row k.
template <class T>
RANVIER_INLINE vec<T> get(const JetArray<const T>& x, int64_t i, int k, int n) {
  return load_lanes(x.data + i * x.step + k * x.row, x.step, n);
}
template <class T>
RANVIER_INLINE void put(const JetArray<T>& y, int64_t i, int k, vec<T> v, int n) {
  store_lanes(y.data + i * y.step + k * y.row, y.step, v, n);
}

// Calls f(i, n) for each vector of `size` elements; it begins at element i and has n elements.
template <class T, class F>
RANVIER_INLINE void for_vectors(int64_t size, const F& f) {
  for (int64_t i = 0; i < size; i += lanes<T>) f(i, lanes_used<T>(size - i));
}

// series() and unit_series() as functions that are called through a pointer, so that the loops around them
// are compiled once for all f.
template <class Series, class T>
__attribute__((noinline)) static void any_series(vec<T>* x, const vec<T>* dx, int order, vec<T>* y,
                                                 vec<T>* g) {
  series<Series, T>(x, dx, order, y, g);
}
template <class T>
using SeriesFunction = void (*)(vec<T>*, const vec<T>*, int, vec<T>*, vec<T>*);

template <class Series, class T>
__attribute__((noinline)) static void unit_series_of(const vec<T>* x, vec<T>* y) {
  unit_series<Series, 3, T>(*x, y);
}
template <class T>
using UnitFunction = void (*)(const vec<T>*, vec<T>*);

// The few coefficients that a Laplacian needs: inlined for float, else a call.
template <class Series, int kOrder, class T>
RANVIER_INLINE void few(vec<T> x, vec<T>* y, [[maybe_unused]] UnitFunction<T> function) {
  if constexpr (sizeof(T) == 4) {
    unit_series<Series, kOrder, T>(x, y);
  } else {
    function(&x, y);
  }
}

// The rows of a Laplacian (jet.h); a[k] is the k-th Taylor coefficient of f.
template <class Series, class T>
static void laplacian_forward(const JetLine<T>& l, UnitFunction<T> function) {
  const int d = l.rows - 1;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> a[4], squares{};
    few<Series, 2, T>(get(l.saved, i, 0, n), a, function);
    for (int k = 0; k < d; ++k) {
      const vec<T> t = get(l.t, i, k, n);
      squares = fma(t * l.weights.data[k * l.weights.row], t, squares);
      put(l.y, i, k, a[1] * t, n);
    }
    put(l.y, i, d, fma(a[1], get(l.t, i, d, n), (a[2] + a[2]) * squares), n);
  });
}

// The gradients of these rows by t and by x.
template <class Series, class T>
static void laplacian_backward(const JetLine<T>& l, UnitFunction<T> function) {
  const int d = l.rows - 1;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> a[4], squares{};
    few<Series, 3, T>(get(l.saved, i, 0, n), a, function);
    const vec<T> last = get(l.dy, i, d, n);
    const vec<T> second = a[2] + a[2];
    const vec<T> twice = second * last * T(2);
    vec<T> products = last * get(l.t, i, d, n);
    put(l.y, i, d, a[1] * last, n);
    for (int k = 0; k < d; ++k) {
      const vec<T> t = get(l.t, i, k, n);
      const vec<T> dy = get(l.dy, i, k, n);
      const vec<T> weighted = t * l.weights.data[k * l.weights.row];
      squares = fma(weighted, t, squares);
      products = fma(dy, t, products);
      put(l.y, i, k, fma(a[1], dy, twice * weighted), n);
    }
    put(l.dx, i, 0, fma(second, products, a[3] * T(6) * squares * last), n);
  });
}

// Taylor coefficients of f(x(s)).
template <class T>
__attribute__((noinline)) static void taylor_forward(const JetLine<T>& l, SeriesFunction<T> function) {
  const int order = l.rows;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> x[kTerms], dx[kTerms], y[kTerms], g[kTerms];
    x[0] = get(l.saved, i, 0, n);
    for (int k = 1; k <= order; ++k) {
      x[k] = get(l.t, i, k - 1, n);
      dx[k] = x[k] * T(k);
    }
    function(x, dx, order, y, g);
    for (int k = 1; k <= order; ++k) put(l.y, i, k - 1, y[k], n);
  });
}

// Their gradients: the derivative of y[k] by x[j] is g[k - j].
template <class T>
__attribute__((noinline)) static void taylor_backward(const JetLine<T>& l, SeriesFunction<T> function) {
  const int order = l.rows;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> x[kTerms], dx[kTerms], y[kTerms], g[kTerms], dy[kTerms];
    x[0] = get(l.saved, i, 0, n);
    for (int k = 1; k <= order; ++k) {
      x[k] = get(l.t, i, k - 1, n);
      dx[k] = x[k] * T(k);
      dy[k] = get(l.dy, i, k - 1, n);
    }
    function(x, dx, order, y, g);
    for (int j = 0; j <= order; ++j) {
      vec<T> sum{};
      const int first = j ? j : 1;  // dy has no row of order 0
      for (int k = first; k <= order; ++k) sum = fma(dy[k], g[k - j], sum);
      if (j) {
        put(l.y, i, j - 1, sum, n);
      } else {
        put(l.dx, i, 0, sum, n);
      }
    }
  });
}

// The Series that a loop of Laplacians is compiled for: in double it is compiled once, and calls a function.
template <class Series, class T>
using InlinedSeries = std::conditional_t<sizeof(T) == 4, Series, void>;

template <class Series, class T>
static void forward(const JetLine<T>& l) {
  if (l.weights.data) {
    laplacian_forward<InlinedSeries<Series, T>, T>(l, unit_series_of<Series, T>);
  } else {
    taylor_forward<T>(l, any_series<Series, T>);
  }
}
template <class Series, class T>
static void backward(const JetLine<T>& l) {
  if (l.weights.data) {
    laplacian_backward<InlinedSeries<Series, T>, T>(l, unit_series_of<Series, T>);
  } else {
    taylor_backward<T>(l, any_series<Series, T>);
  }
}

#define RANVIER_X(name, series) forward<series, T>,
#define RANVIER_Y(name, series) backward<series, T>,
template <class T>
static constexpr JetKernels<T> jet_table = {{RANVIER_FOR_EACH_JET(RANVIER_X)},
                                            {RANVIER_FOR_EACH_JET(RANVIER_Y)}};
#undef RANVIER_X
#undef RANVIER_Y

RANVIER_DEFINE_TABLES(JetKernels, jet_kernels, jet_table);

}  // namespace ranvier::RANVIER_ISA
