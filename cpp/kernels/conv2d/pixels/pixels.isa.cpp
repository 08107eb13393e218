// The loops of loops.h, compiled once for each ISA level. At a level whose vectors have four lanes there are
// none, since few channels fill such vectors.
#include "base/unroll.h"
#include "kernels/conv2d/pixels/loops.h"
#include "kernels/norm/channel_line.h"
#include "simd/permute.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 16

extern const PixelKernels pixel_kernels_float = {};

#else

// PixelKernels::outputs, four vectors of pixels at a time. A whole vector is stored even if it holds less of
// y; the next vector overwrites the rest.
static void outputs(const PixelOutputs& t) {
  constexpr int kLanes = lanes<float>, kVectors = 4;
  ivec<float> first;
  __builtin_memcpy(&first, t.pick, sizeof first);
  const vec<float> bias = load(t.lines);
  const ChannelLine<float> line = channel_line(t.lines + kLanes, kLanes, kLanes);
  const auto run = [&](auto& x) RANVIER_INLINED {
    constexpr int n = sizeof x / sizeof x[0];
    vec<float> acc[n] = {};
    ivec<float> pick = first;
    for (int64_t c = 0; c < t.channels; ++c, pick = pick + ibroadcast<float>(1)) {
      const vec<float> w = load(t.w + c * kLanes);
      RANVIER_UNROLL
      for (int v = 0; v < n; ++v) acc[v] = fma(permute(x[v], pick), w, acc[v]);
    }
    RANVIER_UNROLL
    for (int v = 0; v < n; ++v) {
      x[v] = acc[v] + bias;
      if (t.norm) x[v] = normalized(x[v], line);
      if (t.relu) x[v] = cut_off(x[v]);
    }
  };
  int64_t in = 0;
  int64_t out = 0;
  const int64_t last_in = t.inputs - (kVectors - 1) * t.in_step - kLanes;
  const int64_t last_out = t.outputs - (kVectors - 1) * t.out_step - kLanes;
  for (; in <= last_in && out <= last_out; in += kVectors * t.in_step, out += kVectors * t.out_step) {
    vec<float> x[kVectors];
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) x[v] = load(t.x + in + v * t.in_step);
    run(x);
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) store(t.y + out + v * t.out_step, x[v]);
  }
  for (; out < t.outputs; in += t.in_step, out += t.out_step) {
    const int64_t inputs = t.inputs - in;
    const int64_t outputs = t.outputs - out;
    const int64_t stored = outputs < t.out_step ? outputs : t.out_step;
    vec<float> x[1] = {load_n(t.x + in, lanes_used<float>(inputs))};
    run(x);
    store_n(t.y + out, x[0], static_cast<int>(stored));
  }
}

// PixelKernels::products for kNarrow channels of `narrow`, with four independent chains, which suffice since
// a permutation takes as long as a product. Lanes that belong to no whole pixel get any values.
template <int kNarrow>
static void narrow_products(const PixelProducts& t) {
  constexpr int kLanes = lanes<float>, kVectors = 4 / kNarrow;
  int32_t places[kLanes];
  for (int i = 0; i < kLanes; ++i) {
    const int pixel = i / t.width;
    places[i] = t.narrow_step ? pixel * static_cast<int>(t.narrow_step) + t.first : 0;
  }
  ivec<float> pick[kNarrow];
  __builtin_memcpy(pick, places, sizeof pick[0]);
  RANVIER_UNROLL
  for (int j = 1; j < kNarrow; ++j) pick[j] = pick[j - 1] + ibroadcast<float>(1);
  vec<float> acc[kVectors][kNarrow] = {};
  const auto add = [&](int v, vec<float> wide, vec<float> narrow) RANVIER_INLINED {
    RANVIER_UNROLL
    for (int j = 0; j < kNarrow; ++j) acc[v][j] = fma(wide, permute(narrow, pick[j]), acc[v][j]);
  };
  const int64_t reach = (kLanes + t.wide_step - 1) / t.wide_step;
  const int64_t together = t.together;
  const int64_t narrow_reach = t.narrow_step ? (kLanes + t.narrow_step - 1) / t.narrow_step : 0;
  const int64_t farthest = reach > narrow_reach ? reach : narrow_reach;  // pixels that whole vectors read
  const int64_t last = t.pixels - farthest - (kVectors - 1) * together;
  int64_t p = 0;
  for (; p <= last; p += kVectors * together) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v)
      add(v, load(t.wide + (p + v * together) * t.wide_step),
          load(t.narrow + (p + v * together) * t.narrow_step));
  }
  for (; p < t.pixels; p += together) {
    const int64_t n = t.pixels - p < together ? t.pixels - p : together;
    const int64_t narrow_left = n * t.narrow_step;
    const float* const from = t.narrow + p * t.narrow_step;
    const vec<float> wide = load_n(t.wide + p * t.wide_step, static_cast<int>(n * t.width));
    const vec<float> narrow = narrow_left ? load_n(from, lanes_used<float>(narrow_left)) : load(from);
    add(0, wide, narrow);
  }
  RANVIER_UNROLL
  for (int j = 0; j < kNarrow; ++j) {
    vec<float> sum = load(t.sums + j * kLanes);
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) sum = sum + acc[v][j];
    store(t.sums + j * kLanes, sum);
  }
}

static void products(const PixelProducts& t) {
  if (t.count == 1)
    narrow_products<1>(t);
  else if (t.count == 2)
    narrow_products<2>(t);
  else
    narrow_products<4>(t);
}

extern const PixelKernels pixel_kernels_float = {lanes<float>, outputs, products};

#endif

}  // namespace ranvier::RANVIER_ISA
