// probe: what the machine can do at most, measured with the threads and the ISA level that the kernels use.
//
// A benchmark divides a kernel's rate by these. They go through invoke() like any kernel; the caller takes
// the time around the call.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// `shares` times `repeats` rounds of independent FMA chains held in registers, one share for each thread of a
// full team: the peak of arithmetic. A smaller team does the same work.
template <class T>
struct ProbeFma {
  RANVIER_CALL("probe_fma", sink);
  int64_t repeats;
  TensorView<T> sink;  // (shares): the chains' sums, so that no chain is dead code

  double flops() const;  // operations of one call
};

enum class ProbeTraffic { read, read_write };

// Passes `repeats` times over a buffer, each thread over its own contiguous share: the sum of it, or
// x = x + step in place.
struct ProbeBandwidth {
  RANVIER_CALL("probe_bandwidth", buffer, sink);
  static constexpr int64_t kBlock = 512;  // elements; a buffer is a whole number of them
  ProbeTraffic traffic;
  int64_t repeats;
  TensorView<float> buffer;  // (n), contiguous
  TensorView<float> sink;    // (n / kBlock)

  double bytes() const;  // moved by one call: a byte read and written counts twice
};

// `repeats` barriers of an open team: tens of nanoseconds where the cores share a cache, hundreds where they
// do not. Two-thread figures of small kernels mean little without it.
struct ProbeBarrier {
  RANVIER_CALL("probe_barrier");
  int64_t repeats;
};

template <class T>
struct ProbeFmaKernels {
  int64_t flops;  // operations of one round
  T (*chains)(int64_t repeats);
};

struct ProbeTrafficKernels {
  float (*read)(const float* x, int64_t n);
  void (*read_write)(float* x, int64_t n);
};

RANVIER_TABLES(ProbeFmaKernels, probe_kernels)

RANVIER_TABLE(ProbeTrafficKernels, probe_kernels_traffic)

}  // namespace ranvier
