// The inner loops of convolutions with few channels, PlanarKernels (loops.h, which has the formula of each
// and says what its arguments are), compiled once for each ISA level. planes.cpp and weight.cpp call them.
// The lanes of a vector are neighbouring pixels of one channel; images whose channels are contiguous are
// therefore transposed when they are read (split) and written (store):
//
//   sums       a tile of y: kOuts output channels x some vectors of pixels
//   store      sums to y, after norm and ReLU
//   split      pixels of x to planes
//   products   for dw: kWeightOuts channels of dy x kWeightRows rows of weights
//
// A level whose vectors have four lanes has none of them, since few channels fill such vectors in the direct
// sum. A quad is four neighbouring lanes.
#include <utility>

#include "base/integers.h"
#include "base/unroll.h"
#include "kernels/conv2d/planes/loops.h"
#include "kernels/conv2d/planes/shared_rows.h"
#include "kernels/norm/channel_line.h"
#include "simd/transpose.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 16

extern const PlanarKernels planar_kernels_float = {};

#else

constexpr int kOuts = kManyRegisters ? 8 : 6;  // PlanarKernels::outs
// The vectors of pixels of a tile with this many outputs: as many as the registers hold sums for. Each load
// then serves all outputs; most loads cross two cache lines, and take as long as two loads.
constexpr int vectors_of(int outs) {
  if (kManyRegisters) return outs < 7 ? 4 : 3;
  if (outs < 3) return 4;
  return outs < 5 ? 3 : 2;
}
constexpr int kWeightOuts = 4, kWeightRows = kManyRegisters ? 5 : 3;

// PlanarKernels::sums for kOuts output channels: each vector of pixels is multiplied by the weights of all of
// them.
template <int kOuts>
static void sums(const PlanarSums& t) {
  constexpr int kVectors = vectors_of(kOuts);
  for (int64_t first = 0; first < t.step; first += kVectors * kLanes) {
    vec<float> acc[kOuts][kVectors] = {};
    const float* w = t.w;
    const int64_t* const end = t.offsets + t.count;
    for (const int64_t* at = t.offsets; at != end; ++at, w += kOuts) {
      const float* x = t.x + first + *at;
      vec<float> row[kVectors];
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) row[v] = in_register(load(x + v * kLanes));
      RANVIER_UNROLL
      for (int k = 0; k < kOuts; ++k) {
        const vec<float> weight = broadcast<float>(w[k]);
        RANVIER_UNROLL
        for (int v = 0; v < kVectors; ++v) acc[k][v] = fma(row[v], weight, acc[k][v]);
      }
    }
    RANVIER_UNROLL
    for (int k = 0; k < kOuts; ++k) {
      const vec<float> bias = broadcast<float>(t.bias[k]);
      RANVIER_UNROLL
      for (int v = 0; v < kVectors; ++v) store(t.sums + k * t.step + first + v * kLanes, acc[k][v] + bias);
    }
  }
}

// Transposes the square of 4 x 4 in each quad.
RANVIER_INLINE void transpose_quads(vec<float>* rows) {
  using Lanes = std::make_integer_sequence<int, kLanes>;
  const vec<float> low01 = unpack<false>(rows[0], rows[1], Lanes{});
  const vec<float> low23 = unpack<false>(rows[2], rows[3], Lanes{});
  const vec<float> high01 = unpack<true>(rows[0], rows[1], Lanes{});
  const vec<float> high23 = unpack<true>(rows[2], rows[3], Lanes{});
  rows[0] = interleave<2, false>(low01, low23, Lanes{});
  rows[1] = interleave<2, true>(low01, low23, Lanes{});
  rows[2] = interleave<2, false>(high01, high23, Lanes{});
  rows[3] = interleave<2, true>(high01, high23, Lanes{});
}

// Exchanges quads between the rows i and i + 4: even quads of both become row i, odd quads row i + 4.
RANVIER_INLINE void exchange_quads(vec<float>* rows) {
  using Lanes = std::make_integer_sequence<int, kLanes>;
  RANVIER_UNROLL
  for (int i = 0; i < 4; ++i) {
    const vec<float> a = rows[i];
    const vec<float> b = rows[i + 4];
    rows[i] = interleave<4, false>(a, b, Lanes{});
    rows[i + 4] = interleave<4, true>(a, b, Lanes{});
  }
}

// to_pixels: kWidth rows that each have one channel become pixels of kWidth channels; pixel p is part p /
// kWidth of row p % kWidth. to_channels is the reverse.
template <int kWidth>
RANVIER_INLINE void to_pixels(vec<float> (&rows)[kWidth]) {
  RANVIER_UNROLL
  for (int i = 0; i < kWidth; i += 4) transpose_quads(rows + i);
  if constexpr (kWidth == 8) exchange_quads(rows);
}
template <int kWidth>
RANVIER_INLINE void to_channels(vec<float> (&rows)[kWidth]) {
  if constexpr (kWidth == 8) exchange_quads(rows);
  RANVIER_UNROLL
  for (int i = 0; i < kWidth; i += 4) transpose_quads(rows + i);
}

// A vector of kWidth floats: the channels of a pixel.
template <int kWidth>
struct Part {
  typedef float type __attribute__((vector_size(kWidth * sizeof(float))));
};

// Parts of a vector, and a vector from its parts, by shuffles: __builtin_memcpy would go through the stack.
template <int kFirst, int... I>
RANVIER_INLINE auto lanes_from(vec<float> v, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(v, v, (kFirst + I)...);
}
template <class V, int... I>
RANVIER_INLINE auto join(V a, V b, std::integer_sequence<int, I...>) {
  return __builtin_shufflevector(a, b, I...);
}
template <class V, int kParts>
RANVIER_INLINE vec<float> join(const V (&part)[kParts]) {
  constexpr int n = 2 * lanes_of<V>;
  using Both = std::make_integer_sequence<int, n>;
  if constexpr (kParts == 1)
    return part[0];
  else if constexpr (kParts == 2)
    return join(part[0], part[1], Both{});
  else
    return join(join(part[0], part[1], Both{}), join(part[2], part[3], Both{}),
                std::make_integer_sequence<int, 2 * n>());
}

// Stores the pixels P of `rows`, in the order of to_pixels(), to y + places[P].
template <int kWidth, int... P>
RANVIER_INLINE void put_pixels(const vec<float> (&rows)[kWidth], const int64_t* places, float* y,
                               std::integer_sequence<int, P...>) {
  const auto put = [&](int p, auto pixel) RANVIER_INLINED {
    RANVIER_WRITES(y + places[p], sizeof pixel);
    __builtin_memcpy(y + places[p], &pixel, sizeof pixel);
  };
  (put(P, lanes_from<P / kWidth * kWidth>(rows[P % kWidth], std::make_integer_sequence<int, kWidth>())), ...);
}

// The same for the first `count` pixels and `channels` channels, from memory.
static __attribute__((noinline)) void store_pixels(const float* rows, int width, int count, int channels,
                                                   const int64_t* places, float* y) {
  for (int p = 0; p < count; ++p) {
    const float* from = rows + p % width * kLanes + p / width * width;
    for (int c = 0; c < channels; ++c) y[places[p] + c] = from[c];
  }
}

// PlanarKernels::store for the channels [k, k + kWidth). Channels past the last one have any values; they are
// stored only where a later pixel overwrites them.
template <int kWidth>
static void store_channels(const PlanarStore& t, int k) {
  const int channels = t.channels - k < kWidth ? t.channels - k : kWidth;
  // With fewer than kWidth channels the last pixel of a vector writes over the next ones: only within
  // `dense`, and not near its end.
  const int64_t needed = channels == kWidth ? kLanes : kLanes + kWidth;
  const int64_t whole = channels == kWidth ? t.pixels : t.dense;
  for (int first = 0; first < t.pixels; first += kLanes) {
    vec<float> rows[kWidth];
    RANVIER_UNROLL
    for (int c = 0; c < kWidth; ++c) rows[c] = load(t.sums + (k + c) * t.step + first);
    const int64_t* places = t.places + first;
    to_pixels(rows);
    if (t.pixels - first >= kLanes && whole - first >= needed) {
      put_pixels(rows, places, t.y + k, std::make_integer_sequence<int, kLanes>());
      continue;
    }
    alignas(64) float spilled[kWidth * kLanes];
    RANVIER_UNROLL
    for (int i = 0; i < kWidth; ++i) store(spilled + i * kLanes, rows[i]);
    const int count = t.pixels - first < kLanes ? t.pixels - first : kLanes;
    store_pixels(spilled, kWidth, count, channels, places, t.y + k);
  }
}

// PlanarKernels::store for one channel: vectors where places are consecutive.
static void store_channel(const PlanarStore& t) {
  for (int i = 0; i < t.pixels; i += kLanes) {
    const int count = t.pixels - i;
    if (count >= kLanes && t.places[i + kLanes - 1] == t.places[i] + kLanes - 1)
      store(t.y + t.places[i], load(t.sums + i));
    else
      for (int p = i; p < t.pixels && p < i + kLanes; ++p) t.y[t.places[p]] = t.sums[p];
  }
}

// Applies norm and ReLU to the sums.
static void finish(const PlanarStore& t) {
  for (int k = 0; k < t.channels; ++k)
    for (int i = 0; i < t.pixels; i += kLanes) {
      vec<float> x = load(t.sums + k * t.step + i);
      if (t.norm) x = normalized(x, same_line(t.norm + k, t.norm_step));
      if (t.relu) x = cut_off(x);
      store(t.sums + k * t.step + i, x);
    }
}

static void store_any(const PlanarStore& t) {
  if (t.norm || t.relu) finish(t);
  if (t.channels == 1) return store_channel(t);
  for (int k = 0; k < t.channels; k += 8) {
    if (t.channels - k > 4) {
      store_channels<8>(t, k);
    } else {
      store_channels<4>(t, k);
    }
  }
}

// Copies the last pixels of a row to `to`, `width` elements each, with zeros for missing channels and pixels.
// The first `wide` pixels may be read with `width` elements.
static __attribute__((noinline)) void gather(const float* src, int64_t step, int channels, int width,
                                             int64_t pixels, int64_t wide, float* to) {
  for (int p = 0; p < kLanes; ++p, src += step, to += width) {
    if (p < wide && width == 8)
      __builtin_memcpy(to, src, 8 * sizeof(float));
    else if (p < wide)
      __builtin_memcpy(to, src, 4 * sizeof(float));
    else
      for (int c = 0; c < width; ++c) {
        const bool exists = p < pixels && c < channels;
        to[c] = exists ? src[c] : 0;
      }
  }
}

// Copies the pixels [0, count) of src to the planes of their channels, then zeros up to a vector. kLanes
// pixels are read, kWidth elements of each.
template <int kWidth>
RANVIER_INLINE void split_vector(const float* src, int64_t step, int channels, int count, float* dst,
                                 int64_t plane) {
  vec<float> rows[kWidth];
  typename Part<kWidth>::type part[kWidth][kLanes / kWidth];
  RANVIER_UNROLL
  for (int p = 0; p < kLanes; p += 4) {
    const float* from = src + p * step;
    asm("" : "+r"(from));  // GCC would keep an address for each pixel, more than there are registers
    RANVIER_UNROLL
    for (int i = 0; i < 4; ++i)
      __builtin_memcpy(&part[(p + i) % kWidth][(p + i) / kWidth], from + i * step, sizeof part[0][0]);
  }
  RANVIER_UNROLL
  for (int i = 0; i < kWidth; ++i) rows[i] = join(part[i]);
  to_channels(rows);
  if (count < kLanes) {
    const ivec<float> inside = iota<float>() < static_cast<float>(count);
    RANVIER_UNROLL
    for (int c = 0; c < kWidth; ++c) rows[c] = select(inside, rows[c], vec<float>{});
  }
  if (channels == kWidth) {
    RANVIER_UNROLL
    for (int c = 0; c < kWidth; ++c, dst += plane) store(dst, rows[c]);
    return;
  }
  RANVIER_UNROLL
  for (int c = 0; c < kWidth; ++c, dst += plane)
    if (c < channels) store(dst, rows[c]);
}

// Copies a row to planes. The first `wide` pixels may be read with kWidth elements; this may include memory
// of later rows. The last vector of a row begins earlier and overlaps the one before.
template <int kWidth>
RANVIER_INLINE void split_row(const float* src, int64_t step, int channels, int64_t pixels, int64_t wide,
                              float* dst, int64_t plane) {
  for (int64_t first = 0; first < pixels; first += kLanes) {
    const int64_t from = pixels - first < kLanes && pixels > kLanes ? pixels - kLanes : first;
    const int count = lanes_used<float>(pixels - from);
    if (wide - from >= kLanes) {
      split_vector<kWidth>(src + from * step, step, channels, count, dst + from, plane);
    } else {
      alignas(64) float last[kLanes * kWidth];
      const int64_t wide_left = wide - from < count ? wide - from : count;
      gather(src + from * step, step, channels, kWidth, count, wide_left, last);
      split_vector<kWidth>(last, kWidth, channels, kLanes, dst + from, plane);
    }
  }
}

// PlanarKernels::split for the channels [c, c + kWidth).
template <int kWidth>
static void split_channels(const PlanarSplit& t, int c) {
  const int channels = t.channels - c < kWidth ? t.channels - c : kWidth;
  for (int64_t r = 0; r < t.rows; ++r) {
    // A pixel may be read with kWidth elements if all of them are in memory: how many pixels further, or (if
    // negative) fewer, than the row has.
    const int64_t later = (t.rows - r - t.last) * t.row_step;  // elements after the row
    const int64_t spare = later - (kWidth - channels);
    const int64_t further = spare >= 0 ? spare / t.step : -ceil_div(-spare, t.step);
    const int64_t wide = t.pixels + further;
    split_row<kWidth>(t.src + r * t.row_step + c, t.step, channels, t.pixels, wide,
                      t.dst + c * t.plane + r * t.pitch, t.plane);
  }
}

static void copy_rows(const PlanarSplit& t) {
  for (int64_t r = 0; r < t.rows; ++r) {
    const float* src = t.src + r * t.row_step;
    float* dst = t.dst + r * t.pitch;
    int64_t i = 0;
    for (; i + kLanes <= t.pixels; i += kLanes) store(dst + i, load(src + i));
    if (i < t.pixels) store(dst + i, load_n(src + i, static_cast<int>(t.pixels - i)));
  }
}

static void split(const PlanarSplit& t) {
  if (t.step == 1 && t.channels == 1) return copy_rows(t);
  for (int c = 0; c < t.channels; c += 8) {
    if (t.channels - c > 4) {
      split_channels<8>(t, c);
    } else {
      split_channels<4>(t, c);
    }
  }
}

static __attribute__((noinline)) void add_lanes(const float* acc, int outs, float* sums, int64_t step) {
  for (int k = 0; k < outs; ++k)
    for (int j = 0; j < kWeightRows; ++j, acc += kLanes) sums[k * step + j] += reduce_add(load(acc));
}

// PlanarKernels::products for kOuts channels of dy and kWeightRows rows of weights; the lanes are added at
// the end.
template <int kOuts>
static void products(const PlanarProducts& t) {
  vec<float> acc[kOuts][kWeightRows] = {};
  for (int64_t n = 0; n < t.images; ++n) {
    const float* x[kWeightRows];
    const float* dy = t.dy + n * t.dy_step;
    RANVIER_UNROLL
    for (int j = 0; j < kWeightRows; ++j) x[j] = t.x + n * t.x_step + t.offsets[j];
    for (int64_t i = 0; i < t.pixels; i += kLanes) {
      vec<float> row[kWeightRows];
      RANVIER_UNROLL
      for (int j = 0; j < kWeightRows; ++j) row[j] = in_register(load(x[j] + i));
      RANVIER_UNROLL
      for (int k = 0; k < kOuts; ++k) {
        const vec<float> g = load(dy + k * t.dy_plane + i);
        RANVIER_UNROLL
        for (int j = 0; j < kWeightRows; ++j) acc[k][j] = fma(g, row[j], acc[k][j]);
      }
    }
  }
  alignas(64) float spilled[kOuts * kWeightRows * kLanes];
  RANVIER_UNROLL
  for (int k = 0; k < kOuts; ++k) {
    RANVIER_UNROLL
    for (int j = 0; j < kWeightRows; ++j) store(spilled + (k * kWeightRows + j) * kLanes, acc[k][j]);
  }
  add_lanes(spilled, kOuts, t.sums, t.step);
}

static void any_products(const PlanarProducts& t) {
  static constexpr void (*table[])(const PlanarProducts&) = {products<1>, products<2>, products<3>,
                                                             products<kWeightOuts>};
  table[t.outs - 1](t);
}

static float total(const float* x, int64_t n) {
  vec<float> acc[4] = {};
  int64_t i = 0;
  for (; i + 4 * kLanes <= n; i += 4 * kLanes) {
    RANVIER_UNROLL
    for (int v = 0; v < 4; ++v) acc[v] = acc[v] + load(x + i + v * kLanes);
  }
  for (; i < n; i += kLanes) acc[0] = acc[0] + load(x + i);
  return reduce_add((acc[0] + acc[1]) + (acc[2] + acc[3]));
}

// I: 0 ... kOuts - 1
template <int... I>
static constexpr PlanarKernels make_table(std::integer_sequence<int, I...>) {
  PlanarKernels t{};
  t.lanes = kLanes;
  t.outs = kOuts;
  ((t.pixels[I + 1] = vectors_of(I + 1) * kLanes), ...);
  ((t.sums[I + 1] = sums<I + 1>), ...);
  t.weight_outs = kWeightOuts;
  t.weight_rows = kWeightRows;
  t.store = store_any;
  t.products = any_products;
  t.split = split;
  t.total = total;
  t.shared_rows = kSharedRows;
  t.shared_pixels = kSharedVectors * kLanes;
  t.rows[3] = share_rows<3>;
  t.rows[5] = share_rows<5>;
  return t;
}

extern const PlanarKernels planar_kernels_float = make_table(std::make_integer_sequence<int, kOuts>());

#endif

}  // namespace ranvier::RANVIER_ISA
