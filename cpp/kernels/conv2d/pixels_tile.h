// The inner loop of 1x1 convolutions with few channels, whose vectors hold several pixels. Included by
// planar.isa.cpp only.
#pragma once
#include "base/unroll.h"
#include "kernels/conv2d/planar_tile.h"
#include "kernels/norm/channel_line.h"
#include "simd/permute.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES > 16

// What a vector stores after its last pixel the next one overwrites.
static void dense_pixels(const PlanarPixels& t) {
  constexpr int kLanes = lanes<float>, kVectors = RANVIER_VECTOR_REGISTERS >= 32 ? 8 : 4;
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
      if (t.relu) x[v] = maximum(vec<float>{}, x[v]) + vec<float>{};  // as cut_off() in conv2d.isa.cpp
    }
  };
  int64_t in = 0, out = 0;
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
    const int64_t inputs = t.inputs - in, outputs = t.outputs - out;
    vec<float> x[1] = {load_n(t.x + in, static_cast<int>(inputs < kLanes ? inputs : kLanes))};
    run(x);
    store_n(t.y + out, x[0], static_cast<int>(outputs < t.out_step ? outputs : t.out_step));
  }
}

#endif

}  // namespace ranvier::RANVIER_ISA
