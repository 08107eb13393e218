// The machine's limits: rates, not arrays. Each probe runs once to warm the threads and the buffer, then is
// timed.
#include <chrono>

#include "bindings/array_args.h"
#include "kernels/probe/probe.h"

namespace ranvier::bind {
namespace {

template <class Call>
double seconds(const Call& call) {
  const auto start = std::chrono::steady_clock::now();
  invoke_released(call);
  return std::chrono::duration<double>(std::chrono::steady_clock::now() - start).count();
}

void require_positive(const char* op, const char* name, int64_t value) {
  if (value < 1)
    fail_value(op, std::string("got ") + name + " " + std::to_string(value) + "; expected at least 1");
}

// FLOP/s of the whole team; a fused multiply-add counts as two.
double probe_fma(const std::string& dtype, int64_t repeats) {
  constexpr const char* op = "probe_fma";
  if (dtype != "float32" && dtype != "float64")
    fail_value(op, "got dtype '" + dtype + "'; expected 'float32' or 'float64'");
  require_positive(op, "repeats", repeats);
  const DType type = dtype == "float32" ? DType::float32 : DType::float64;
  return with_float(type, [&](auto tag) {
    using T = decltype(tag);
    Output sink = Output::contiguous(type, {num_threads()});
    ProbeFma<T> call{repeats, sink.view<T>()};
    seconds(call);
    return call.flops() / seconds(call);
  });
}

// Bytes/s of the whole team over a buffer of about `bytes`.
double probe_bandwidth(int64_t bytes, int64_t repeats, const std::string& kind) {
  constexpr const char* op = "probe_bandwidth";
  if (kind != "read" && kind != "read_write")
    fail_value(op, "got kind '" + kind + "'; expected 'read' or 'read_write'");
  require_positive(op, "bytes", bytes);
  require_positive(op, "repeats", repeats);
  const int64_t block_bytes = ProbeBandwidth::kBlock * static_cast<int64_t>(sizeof(float));
  const int64_t blocks = bytes > block_bytes ? bytes / block_bytes : 1;
  Output buffer = Output::contiguous(DType::float32, {blocks * ProbeBandwidth::kBlock});
  Output sink = Output::contiguous(DType::float32, {blocks});
  const TensorView<float> x = buffer.view<float>();
  for (int64_t i = 0; i < x.shape[0]; ++i) x.data[i] = 0;
  ProbeBandwidth call{kind == "read" ? ProbeTraffic::read : ProbeTraffic::read_write, repeats, x,
                      sink.view<float>()};
  seconds(call);
  return call.bytes() / seconds(call);
}

// Seconds from one barrier of an open team to the next.
double probe_barrier(int64_t repeats) {
  require_positive("probe_barrier", "repeats", repeats);
  const ProbeBarrier call{repeats};
  seconds(call);
  return seconds(call) / static_cast<double>(repeats);
}

}  // namespace

void register_probe(py::module_& m) {
  m.def("probe_fma", probe_fma);
  m.def("probe_bandwidth", probe_bandwidth);
  m.def("probe_barrier", probe_barrier);
}

}  // namespace ranvier::bind
