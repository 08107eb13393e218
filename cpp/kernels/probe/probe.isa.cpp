// probe's inner loops, compiled once for each ISA level.
#include "kernels/probe/probe.h"

#include "base/unroll.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The number of chains: enough to fill two FMA units with a latency of 4 or 5 cycles, and few enough that the
// chains and the two factors stay in registers.
static constexpr int kChains = RANVIER_VECTOR_REGISTERS / 4 * 3;

// Each round computes x = x * a + b in every chain. x converges to b / (1 - a), so no value overflows or
// becomes subnormal.
template <class T>
static T chains(int64_t repeats) {
  vec<T> acc[kChains];
  const vec<T> a = broadcast<T>(T(0.5));
  const vec<T> b = broadcast<T>(T(0.25));
  RANVIER_UNROLL
  for (int i = 0; i < kChains; ++i) acc[i] = broadcast<T>(T(i));
  for (int64_t r = 0; r < repeats; ++r) {
    RANVIER_UNROLL
    for (int i = 0; i < kChains; ++i) acc[i] = fma(acc[i], a, b);
  }
  vec<T> sum{};
  RANVIER_UNROLL
  for (int i = 0; i < kChains; ++i) sum = sum + acc[i];
  return reduce_add(sum);
}

// The vectors of a round of the loops below, in which n must be a multiple of kUnroll * lanes.
static constexpr int kUnroll = 8;
static_assert(ProbeBandwidth::kBlock % (kUnroll * lanes<float>) == 0, "a block is whole rounds");

static float read(const float* x, int64_t n) {
  vec<float> acc[kUnroll] = {};
  for (int64_t i = 0; i < n; i += kUnroll * lanes<float>) {
    RANVIER_UNROLL
    for (int j = 0; j < kUnroll; ++j) acc[j] = acc[j] + load(x + i + j * lanes<float>);
  }
  RANVIER_UNROLL
  for (int j = 1; j < kUnroll; ++j) acc[0] = acc[0] + acc[j];
  return reduce_add(acc[0]);
}

static void read_write(float* x, int64_t n) {
  const vec<float> step = broadcast<float>(1.0f);
  for (int64_t i = 0; i < n; i += kUnroll * lanes<float>) {
    RANVIER_UNROLL
    for (int j = 0; j < kUnroll; ++j) {
      float* p = x + i + j * lanes<float>;
      store(p, load(p) + step);
    }
  }
}

extern const ProbeFmaKernels<float> probe_kernels_float = {2 * kChains * lanes<float>, chains<float>};
extern const ProbeFmaKernels<double> probe_kernels_double = {2 * kChains * lanes<double>, chains<double>};
extern const ProbeTrafficKernels probe_kernels_traffic_float = {read, read_write};

}  // namespace ranvier::RANVIER_ISA
