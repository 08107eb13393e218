// jet's loops over a line of elements, compiled once for each ISA level.
#include "kernels/jet/jet.h"

#include "simd/math.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

constexpr int kTerms = kMaxJetOrder + 2;  // backward needs one order more, and there is order 0

template <class T>
static constexpr T kInverse[kTerms] = {0,         T(1),      T(1) / 2,  T(1) / 3,  T(1) / 4,  T(1) / 5,
                                       T(1) / 6,  T(1) / 7,  T(1) / 8,  T(1) / 9,  T(1) / 10, T(1) / 11,
                                       T(1) / 12, T(1) / 13, T(1) / 14, T(1) / 15, T(1) / 16};

// The Taylor coefficients a[0..order] of f at x: series(x, order, a). Where y' is a polynomial of y, those of
// y follow one by one from y' = c0 + c1 y + c2 y^2.
template <class T>
RANVIER_INLINE void riccati(vec<T> y, int c0, int c1, int c2, int order, vec<T>* a) {
  a[0] = y;
  for (int m = 0; m < order; ++m) {
    vec<T> sum{};
    if (c2) {
      for (int i = 0; i <= m; ++i) sum = fma(a[i], a[m - i], sum);
      sum = c2 < 0 ? -sum : sum;
    }
    if (c1) sum += a[m];
    if (c0 && m == 0) sum += T(1);
    a[m + 1] = sum * kInverse<T>[m + 1];
  }
}

#define RANVIER_SERIES \
  template <class T>   \
  RANVIER_INLINE void series(vec<T> x, int order, vec<T>* a)

struct ExpSeries {
  RANVIER_SERIES { riccati<T>(x, 0, 1, 0, order, a); }
};
struct SigmoidSeries {
  RANVIER_SERIES { riccati<T>(x, 0, 1, -1, order, a); }
};
struct TanhSeries {
  RANVIER_SERIES { riccati<T>(x, 1, 0, -1, order, a); }
};

// f'' = -f
template <class T>
RANVIER_INLINE void oscillation(vec<T> value, vec<T> slope, int order, vec<T>* a) {
  a[0] = value, a[1] = slope;
  for (int m = 2; m <= order; ++m) a[m] = a[m - 2] * -(kInverse<T>[m] * kInverse<T>[m - 1]);
}
struct SinSeries {
  RANVIER_SERIES { oscillation<T>(sin(x), cos(x), order, a); }
};
struct CosSeries {
  RANVIER_SERIES { oscillation<T>(cos(x), -sin(x), order, a); }
};

struct SoftplusSeries {  // f' = sigmoid(x); x itself above 20, as in activation
  RANVIER_SERIES {
    vec<T> s[kTerms];
    riccati<T>(select(x > T(20), broadcast(T(1)), sigmoid(x)), 0, 1, -1, order - 1, s);
    a[0] = x;
    for (int m = 1; m <= order; ++m) a[m] = s[m - 1] * kInverse<T>[m];
  }
};

// x g(x) from the coefficients g of g
template <class T>
RANVIER_INLINE void times_x(vec<T> x, const vec<T>* g, int order, vec<T>* a) {
  a[0] = x * g[0];
  for (int m = 1; m <= order; ++m) a[m] = fma(x, g[m], g[m - 1]);
}
struct SiluSeries {
  RANVIER_SERIES {
    vec<T> s[kTerms];
    x = at_most(at_least(x, T(-1000)), T(1000));  // beyond, the slope is 0 or 1; inf * 0 would be NaN
    riccati<T>(sigmoid(x), 0, 1, -1, order, s);
    times_x<T>(x, s, order, a);
  }
};
struct GeluSeries {  // x P(x), P' = p the normal density, p' = -x p
  RANVIER_SERIES {
    vec<T> p[kTerms], s[kTerms];
    x = at_most(at_least(x, T(-50)), T(50));
    p[0] = exp(x * x * T(-0.5)) * T(0.398942280401432677940);
    s[0] = fma(broadcast(T(0.5)), erf(x * T(0.707106781186547524401)), broadcast(T(0.5)));
    for (int m = 0; m < order; ++m) {
      p[m + 1] = -fma(x, p[m], m ? p[m - 1] : vec<T>{}) * kInverse<T>[m + 1];
      s[m + 1] = p[m] * kInverse<T>[m + 1];
    }
    times_x<T>(x, s, order, a);
  }
};

// The first n lanes of row k.
template <class T>
RANVIER_INLINE vec<T> get(const JetArray<const T>& x, int64_t i, int k, int n) {
  return load_lanes(x.data + i * x.step + k * x.row, x.step, n);
}
template <class T>
RANVIER_INLINE void put(const JetArray<T>& y, int64_t i, int k, vec<T> v, int n) {
  store_lanes(y.data + i * y.step + k * y.row, y.step, v, n);
}

template <class T, class F>
RANVIER_INLINE void for_vectors(int64_t size, const F& f) {
  for (int64_t i = 0; i < size; i += lanes<T>) f(i, int(size - i < lanes<T> ? size - i : lanes<T>));
}

// Of any order: a call, so that loops are compiled once for all functions.
template <class Series, class T>
__attribute__((noinline)) static void series_of(const vec<T>* x, int order, vec<T>* a) {
  Series::template series<T>(*x, order, a);
}
template <class T>
using SeriesFunction = void (*)(const vec<T>*, int, vec<T>*);

// The Laplacian's few coefficients: inlined for float.
template <class Series, int kOrder, class T>
RANVIER_INLINE void few(vec<T> x, vec<T>* a, SeriesFunction<T> series) {
  if constexpr (sizeof(T) == 4) return Series::template series<T>(x, kOrder, a);
  a[0] = x;
  series(a, kOrder, a);
}

template <class Series, class T>
static void laplacian_forward(const JetLine<T>& l, [[maybe_unused]] SeriesFunction<T> series) {
  const int d = l.rows - 1;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> a[4], squares{};
    few<Series, 2, T>(get(l.saved, i, 0, n), a, series);
    for (int k = 0; k < d; ++k) {
      const vec<T> t = get(l.t, i, k, n);
      squares = fma(t * l.weights.data[k * l.weights.row], t, squares);
      put(l.y, i, k, a[1] * t, n);
    }
    put(l.y, i, d, fma(a[1], get(l.t, i, d, n), (a[2] + a[2]) * squares), n);
  });
}

template <class Series, class T>
static void laplacian_backward(const JetLine<T>& l, [[maybe_unused]] SeriesFunction<T> series) {
  const int d = l.rows - 1;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> a[4], squares{};
    few<Series, 3, T>(get(l.saved, i, 0, n), a, series);
    const vec<T> last = get(l.dy, i, d, n), second = a[2] + a[2], twice = second * last * T(2);
    vec<T> products = last * get(l.t, i, d, n);
    put(l.y, i, d, a[1] * last, n);
    for (int k = 0; k < d; ++k) {
      const vec<T> t = get(l.t, i, k, n), dy = get(l.dy, i, k, n),
                   weighted = t * l.weights.data[k * l.weights.row];
      squares = fma(weighted, t, squares);
      products = fma(dy, t, products);
      put(l.y, i, k, fma(a[1], dy, twice * weighted), n);
    }
    put(l.dx, i, 0, fma(second, products, a[3] * T(6) * squares * last), n);
  });
}

// g[0..order], the coefficients of f'(x + t[1] s + t[2] s^2 + ...), by Horner's rule from a, those of f at x.
template <class T>
__attribute__((noinline)) static void slopes(int order, const vec<T>* a, const vec<T>* t, vec<T>* g) {
  g[0] = a[order + 1] * T(order + 1);
  for (int m = order - 1; m >= 0; --m) {
    for (int j = order - m; j > 0; --j) {
      vec<T> sum{};
      for (int i = 1; i <= j; ++i) sum = fma(t[i], g[j - i], sum);
      g[j] = sum;
    }
    g[0] = a[m + 1] * T(m + 1);
  }
}

// k y[k] = sum of j t[j] g[k - j]
template <class T>
__attribute__((noinline)) static void taylor_forward(const JetLine<T>& l, SeriesFunction<T> series) {
  const int order = l.rows;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> a[kTerms], t[kTerms], g[kTerms];
    t[0] = get(l.saved, i, 0, n);
    series(t, order, a);
    for (int k = 1; k <= order; ++k) t[k] = get(l.t, i, k - 1, n);
    slopes<T>(order - 1, a, t, g);
    for (int k = 1; k <= order; ++k) {
      vec<T> sum{};
      for (int j = 1; j <= k; ++j) sum = fma(t[j] * T(j), g[k - j], sum);
      put(l.y, i, k - 1, sum * kInverse<T>[k], n);
    }
  });
}

// dy[k] / dt[j] = g[k - j], and t[0] is x
template <class T>
__attribute__((noinline)) static void taylor_backward(const JetLine<T>& l, SeriesFunction<T> series) {
  const int order = l.rows;
  for_vectors<T>(l.n, [&](int64_t i, int n) RANVIER_INLINED {
    vec<T> a[kTerms], t[kTerms], g[kTerms], dy[kTerms];
    t[0] = get(l.saved, i, 0, n);
    series(t, order + 1, a);
    for (int k = 1; k <= order; ++k) t[k] = get(l.t, i, k - 1, n), dy[k] = get(l.dy, i, k - 1, n);
    slopes<T>(order, a, t, g);
    for (int j = 0; j <= order; ++j) {
      vec<T> sum{};
      for (int k = j ? j : 1; k <= order; ++k) sum = fma(dy[k], g[k - j], sum);
      j ? put(l.y, i, j - 1, sum, n) : put(l.dx, i, 0, sum, n);
    }
  });
}

template <class Series, class T>
static void forward(const JetLine<T>& l) {
  l.weights.data
      ? laplacian_forward<std::conditional_t<sizeof(T) == 4, Series, void>, T>(l, series_of<Series, T>)
      : taylor_forward<T>(l, series_of<Series, T>);
}
template <class Series, class T>
static void backward(const JetLine<T>& l) {
  l.weights.data
      ? laplacian_backward<std::conditional_t<sizeof(T) == 4, Series, void>, T>(l, series_of<Series, T>)
      : taylor_backward<T>(l, series_of<Series, T>);
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
