// probe: calls that reach a limit of the machine (arithmetic, memory bandwidth, barriers) with the threads
// and the ISA level that the kernels use.
//
// A benchmark times such a call and divides a kernel's rate by that of the probe. Probes run through invoke()
// like any kernel.
#pragma once
#include <cstddef>

#include "base/isa.h"
#include "base/views.h"

namespace ranvier {

// Peak arithmetic: `shares` times `repeats` rounds of independent chains of FMAs (fused multiply-adds) in
// registers. The caller makes as many shares as a full team has threads. A smaller team does the same work.
template <class T>
struct ProbeFma {
  RANVIER_CALL("probe_fma", sink);
  int64_t repeats;
  TensorView<T> sink;  // (shares): the sums of the chains, which are stored so that no chain is dead code

  double flops() const;  // floating-point operations of one call
};

enum class ProbeTraffic { read, read_write };

// Memory bandwidth: `repeats` passes over a buffer, each thread over its own contiguous share. `read` sums
// the elements, `read_write` adds 1 to each in place.
struct ProbeBandwidth {
  RANVIER_CALL("probe_bandwidth", buffer, sink);
  static constexpr int64_t kBlock = 512;  // elements; the buffer is a whole number of blocks
  ProbeTraffic traffic;
  int64_t repeats;
  TensorView<float> buffer;  // (n), contiguous
  TensorView<float> sink;    // (n / kBlock)

  double bytes() const;  // moved by one call: a byte read and written counts twice
};

// `repeats` barriers of an open team. One takes tens of nanoseconds where the cores share a cache, hundreds
// where they do not. It is needed to interpret the times of small kernels on several threads.
struct ProbeBarrier {
  RANVIER_CALL("probe_barrier");
  int64_t repeats;
};

template <class T>
struct ProbeFmaKernels {
  int64_t flops;                 // operations of one round
  T (*chains)(int64_t repeats);  // the sum of all chains after `repeats` rounds
};

struct ProbeTrafficKernels {
  float (*read)(const float* x, int64_t n);  // n: a multiple of ProbeBandwidth::kBlock
  void (*read_write)(float* x, int64_t n);
};

RANVIER_TABLES(ProbeFmaKernels, probe_kernels)

RANVIER_TABLE(ProbeTrafficKernels, probe_kernels_traffic)

}  // namespace ranvier
