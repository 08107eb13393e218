// Measures the machine's limits for benchmarks/machine.py: multiply-adds per second, bytes per second, and
// the time of a barrier. Each probe runs once to start the threads and touch the buffer, then again with a
// clock.
#include <chrono>

#include "base/parallel.h"
#include "bindings/binder/define.h"
#include "kernels/probe/probe.h"

namespace ranvier::bind {
namespace {

// Runs the call and returns the seconds that it took.
template <class Call>
double seconds(const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  invoke_released(call);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void expect_positive(const Whole& value) {
  if (value < 1) value.fail("at least 1");
}

// FLOP/s of the whole team; a fused multiply-add counts as two.
double probe_fma(Name dtype, Whole repeats) {
  const DType type = dtype.one_of({"float32", "float64"}) == 0 ? DType::float32 : DType::float64;
  expect_positive(repeats);
  return with_float(type, [&](auto tag) {
    Output sink = Output::contiguous(type, {num_threads()});
    ProbeFma<decltype(tag)> call{repeats, sink};
    seconds(call);
    return call.flops() / seconds(call);
  });
}

// Bytes/s of the whole team over a buffer of `bytes`, rounded down to whole blocks of ProbeBandwidth::kBlock
// floats.
double probe_bandwidth(Whole bytes, Whole repeats, Name kind) {
  constexpr ProbeTraffic kinds[] = {ProbeTraffic::read, ProbeTraffic::read_write};
  const ProbeTraffic traffic = kinds[kind.one_of({"read", "read_write"})];
  expect_positive(bytes);
  expect_positive(repeats);
  const int64_t block_bytes = ProbeBandwidth::kBlock * static_cast<int64_t>(sizeof(float));
  const int64_t blocks = std::max<int64_t>(bytes / block_bytes, 1);
  Output buffer = Output::contiguous(DType::float32, {blocks * ProbeBandwidth::kBlock});
  Output sink = Output::contiguous(DType::float32, {blocks});
  const TensorView<float> x = buffer;
  std::fill_n(x.data, x.shape[0], 0.f);
  ProbeBandwidth call{traffic, repeats, x, sink};
  seconds(call);
  return call.bytes() / seconds(call);
}

// Seconds from one barrier of an open team to the next.
double probe_barrier(Whole repeats) {
  expect_positive(repeats);
  const ProbeBarrier call{repeats};
  seconds(call);
  return seconds(call) / static_cast<double>(repeats);
}

}  // namespace

void register_probe(Module m) {
  def(m, "probe_fma(dtype, repeats)", probe_fma);
  def(m, "probe_bandwidth(bytes, repeats, kind)", probe_bandwidth);
  def(m, "probe_barrier(repeats)", probe_barrier);
}

}  // namespace ranvier::bind
