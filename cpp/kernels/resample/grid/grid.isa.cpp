// The loops of GridKernels (grid.h) over a part of a grid, at most kGridPoints points of one image, compiled
// once for each ISA level; grid.cpp calls them. First the pixels around each point and their weights are
// found, a vector of points at a time (find()); then channels are summed. A sum is in the order of the taps:
// rows of pixels first, within a row by columns.
#include "kernels/resample/grid/grid.h"

#include "simd/math_base.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

constexpr int kMostTaps = 4;  // along an axis

constexpr int taps_of(GridMode mode) {
  if (mode == GridMode::bicubic) return 4;
  return mode == GridMode::bilinear ? 2 : 1;
}

// For each point, along one axis: the pixels around it (-1: outside the image), their weights, the
// derivatives of the weights by the place in pixels (slope), and the derivative of the place by the
// coordinate of the point (chain).
template <class T>
struct alignas(64) GridAxis {
  int_of<T> pixel[kMostTaps][kGridPoints];
  T weight[kMostTaps][kGridPoints], slope[kMostTaps][kGridPoints], chain[kGridPoints];
};

template <class V>
RANVIER_INLINE V floor_of(V v) {
  const V near = round_even(v);
  return select(near > v, near - element_of<V>(1), near);
}

// Moves the place p, in pixels, into an image of `size` pixels, as the padding says. slope: the derivative of
// the result by p, which is 0 beyond the edges and at them.
template <class T>
RANVIER_INLINE vec<T> limited(const GridSettings& s, T size, vec<T> p, vec<T>& slope) {
  const vec<T> one = vec<T>{} + T(1);
  slope = one;
  if (s.padding == GridPadding::zeros) return p;
  if (s.padding == GridPadding::reflection) {
    const T low = s.align_corners ? T(0) : T(-0.5);
    const T span = s.align_corners ? size - T(1) : size;
    if (span == T(0)) {
      slope = vec<T>{};
      return p * T(0);
    }
    const vec<T> away = abs(p - low);
    const vec<T> turns = floor_of(away / span);
    const vec<T> odd = turns - floor_of(turns * T(0.5)) * T(2);
    const vec<T> back = one - odd * T(2);
    slope = copysign(back, back * (p - low));
    p = (away - turns * span) * back + odd * span + low;
  }
  slope = select((p > T(0)) & (p < size - T(1)), slope, vec<T>{});
  return at_most(at_least(p, T(0)), size - T(1));
}

// The cubic of Keys at a signed distance, and its derivative.
template <class T>
RANVIER_INLINE vec<T> cubic(vec<T> signed_distance, vec<T>& slope) {
  constexpr T a = T(-0.75);
  const vec<T> d = abs(signed_distance);
  const ivec<T> near = d <= T(1);
  const vec<T> steep =
      select(near, (T(3 * (a + 2)) * d - T(2 * (a + 3))) * d, (T(3 * a) * d - T(10 * a)) * d + T(8 * a));
  slope = select(signed_distance < T(0), -steep, steep);
  return select(near, ((a + 2) * d - (a + 3)) * d * d + T(1),
                ((a * d - T(5 * a)) * d + T(8 * a)) * d - T(4 * a));
}

// Fills `axis` for `count` points along an axis of `pixels` pixels. points: the coordinates of this axis are
// every second element, since columns and rows alternate.
template <class T>
__attribute__((noinline)) static void find(const GridSettings& s, int64_t pixels, const T* points, int count,
                                           GridAxis<T>& axis) {
  const T size = static_cast<T>(pixels);
  const T half = static_cast<T>(double(pixels - 1) / 2);
  const T pixels_of_unit = s.align_corners ? half : size * T(0.5);  // by which a coordinate of 1 more moves
  const vec<T> zero = {};
  const vec<T> one = zero + T(1);
  for (int i = 0; i < count; i += lanes<T>) {
    const ivec<T> every = to_int(iota<T>() * T(2));
    const ivec<T> at = select(iota<T>() < static_cast<T>(count - i), every, ibroadcast<T>(-1));
    const vec<T> point = gather(points + 2 * i, at);
    // A coordinate of -1 is the first pixel, and 1 the last one (align_corners), or they are the outer edges
    // of these pixels.
    vec<T> p;
    if (s.in_pixels)
      p = point;
    else if (s.align_corners)
      p = (point + T(1)) * half;
    else
      p = ((point + T(1)) * size - T(1)) * T(0.5);
    vec<T> chain = one;
    if (s.mode != GridMode::bicubic) p = limited(s, size, p, chain);
    const vec<T> scaled_chain = chain * pixels_of_unit;
    store(axis.chain + i, s.in_pixels ? chain : scaled_chain);
    const vec<T> low = s.mode == GridMode::nearest ? round_even(p) : floor_of(p);
    const vec<T> share = p - low;
    for (int k = 0; k < taps_of(s.mode); ++k) {
      vec<T> weight = one + share * T(0);  // NaN where p is infinite or NaN
      vec<T> slope = zero;
      vec<T> pixel = low + T(k);
      vec<T> unused;
      if (s.mode == GridMode::bilinear) {
        weight = k ? share : one - share;
        slope = k ? one : -one;
      } else if (s.mode == GridMode::bicubic) {
        weight = cubic<T>(share - T(k - 1), slope);
        pixel = limited(s, size, low + T(k - 1), unused);
      }
      const ivec<T> inside = (pixel >= T(0)) & (pixel < size);
      // A NaN must reach y, even outside the image.
      const vec<T> must = s.mode == GridMode::bicubic ? weight : p;
      store(axis.weight[k] + i, select(inside | (must != must), weight, zero));
      store(axis.slope[k] + i, select(inside, slope, zero));
      const ivec<T> place = select(inside, to_int(select(inside, pixel, zero)), ibroadcast<T>(-1));
      __builtin_memcpy(axis.pixel[k] + i, &place, sizeof place);
    }
  }
}

// The pixels around each point: their offsets in an image or channel (-1: outside), and their weights.
template <class T>
struct alignas(64) GridTaps {
  GridAxis<T> columns, rows;
  int_of<T> at[kMostTaps * kMostTaps][kGridPoints];
  T weight[kMostTaps * kMostTaps][kGridPoints];
};

template <class T>
RANVIER_INLINE ivec<T> load_integers(const int_of<T>* p) {
  ivec<T> v;
  __builtin_memcpy(&v, p, sizeof v);
  return v;
}

// Finds the pixels around the points of a part. Their weights are products of the weights along both axes.
template <class T>
static void find(const GridPart<T>& part, GridTaps<T>& taps) {
  const int each = taps_of(part.settings.mode);
  find(part.settings, part.w, part.grid, part.count, taps.columns);
  find(part.settings, part.h, part.grid + 1, part.count, taps.rows);
  const int64_t step = part.settings.channels_last ? part.c : 1;
  const ivec<T> row = ibroadcast<T>(int_of<T>(part.w * step));
  const ivec<T> column = ibroadcast<T>(int_of<T>(step));
  for (int k = 0; k < each * each; ++k)
    for (int i = 0; i < part.count; i += lanes<T>) {
      const ivec<T> r = load_integers<T>(taps.rows.pixel[k / each] + i);
      const ivec<T> c = load_integers<T>(taps.columns.pixel[k % each] + i);
      // r | c is negative if one of them is -1.
      const ivec<T> at = select((r | c) < 0, ibroadcast<T>(-1), r * row + c * column);
      __builtin_memcpy(taps.at[k] + i, &at, sizeof at);
      store(taps.weight[k] + i,
            load(taps.rows.weight[k / each] + i) * load(taps.columns.weight[k % each] + i));
    }
}

// y = the weighted sum of the pixels around each point. The lanes have points, or with channels-last
// channels.
template <class T>
static void forward(const GridPart<T>& part) {
  GridTaps<T> taps;
  find(part, taps);
  const int each = taps_of(part.settings.mode);
  const int count = each * each;
  if (!part.settings.channels_last) {
    for (int64_t channel = 0; channel < part.c; ++channel) {
      const T* from = part.x + channel * part.h * part.w;
      for (int i = 0; i < part.count; i += lanes<T>) {
        vec<T> sum = {};
        for (int k = 0; k < count; ++k)
          sum += load(taps.weight[k] + i) * gather(from, load_integers<T>(taps.at[k] + i));
        store_lanes(part.y + channel * part.points + i, sum, lanes_used<T>(part.count - i));
      }
    }
    return;
  }
  for (int i = 0; i < part.count; ++i)
    for (int64_t channel = 0; channel < part.c; channel += lanes<T>) {
      const int n = lanes_used<T>(part.c - channel);
      vec<T> sum = {};
      for (int k = 0; k < count; ++k) {
        const int64_t at = taps.at[k][i];
        const vec<T> x = at < 0 ? vec<T>{} : load_lanes(part.x + at + channel, n);
        sum += broadcast(taps.weight[k][i]) * x;
      }
      store_lanes(part.y + i * part.c + channel, sum, n);
    }
}

// Adds dy times the weights to dx, and sets products[k][i] = the sum over channels of dy times pixel k of
// point i. For images in NCHW.
template <class T>
static void by_channels(const GridPart<T>& part, const GridTaps<T>& taps, int count,
                        T (*products)[kGridPoints]) {
  for (int64_t channel = 0; channel < part.c; ++channel) {
    const T* dy = part.dy + channel * part.points;
    const T* from = part.x + channel * part.h * part.w;
    for (int i = 0; part.dgrid && i < part.count; i += lanes<T>) {
      const vec<T> above = load_lanes(dy + i, lanes_used<T>(part.count - i));
      for (int k = 0; k < count; ++k)
        store(products[k] + i,
              load(products[k] + i) + above * gather(from, load_integers<T>(taps.at[k] + i)));
    }
    T* to = part.dx + channel * part.h * part.w;
    for (int i = 0; part.dx && i < part.count; ++i)
      for (int k = 0; k < count; ++k)
        if (taps.at[k][i] >= 0) to[taps.at[k][i]] += dy[i] * taps.weight[k][i];
  }
}

// The same for channels-last images.
template <class T>
static void by_pixels(const GridPart<T>& part, const GridTaps<T>& taps, int count,
                      T (*products)[kGridPoints]) {
  for (int i = 0; i < part.count; ++i)
    for (int k = 0; k < count; ++k) {
      const int64_t at = taps.at[k][i];
      if (at < 0) continue;
      vec<T> sum = {};
      for (int64_t channel = 0; channel < part.c; channel += lanes<T>) {
        const int n = lanes_used<T>(part.c - channel);
        const vec<T> above = load_lanes(part.dy + i * part.c + channel, n);
        if (part.dgrid) sum += above * load_lanes(part.x + at + channel, n);
        if (!part.dx) continue;
        T* to = part.dx + at + channel;
        store_lanes(to, load_lanes(to, n) + above * broadcast(taps.weight[k][i]), n);
      }
      products[k][i] = reduce_add(sum);
    }
}

// GridKernels::backward: dx, and dgrid from the products of dy with the pixels of x.
template <class T>
static void backward(const GridPart<T>& part) {
  GridTaps<T> taps;
  find(part, taps);
  const int each = taps_of(part.settings.mode);
  const int count = each * each;
  alignas(64) T products[kMostTaps * kMostTaps][kGridPoints];
  __builtin_memset(products, 0, sizeof products[0] * size_t(count));
  if (part.settings.channels_last) {
    by_pixels(part, taps, count, products);
  } else {
    by_channels(part, taps, count, products);
  }
  for (int i = 0; part.dgrid && i < part.count; i += lanes<T>) {
    const GridAxis<T>& x = taps.columns;
    const GridAxis<T>& y = taps.rows;
    vec<T> by_column = {};
    vec<T> by_row = {};
    for (int k = 0; k < count; ++k) {
      const int r = k / each;
      const int c = k % each;
      const ivec<T> outside = load_integers<T>(taps.at[k] + i) < 0;
      const vec<T> product = load(products[k] + i);
      const vec<T> none = {};
      by_column += select(outside, none, product * (load(x.slope[c] + i) * load(y.weight[r] + i)));
      by_row += select(outside, none, product * (load(y.slope[r] + i) * load(x.weight[c] + i)));
    }
    const int n = lanes_used<T>(part.count - i);
    store_strided(part.dgrid + 2 * i, 2, by_column * load(x.chain + i), n);
    store_strided(part.dgrid + 2 * i + 1, 2, by_row * load(y.chain + i), n);
  }
}

template <class T>
static constexpr GridKernels<T> grid_table = {forward<T>, backward<T>};

RANVIER_DEFINE_TABLES(GridKernels, grid_kernels, grid_table);

}  // namespace ranvier::RANVIER_ISA
