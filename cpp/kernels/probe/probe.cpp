// Runs the probes of probe.h on all threads, and counts their floating-point operations and bytes.
#include "kernels/probe/probe.h"

#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerByte = 0.02;  // on one thread, roughly

}  // namespace

template <class T>
double ProbeFma<T>::flops() const {
  return static_cast<double>(probe_kernels<T>().flops) * static_cast<double>(repeats) *
         static_cast<double>(numel(sink));
}

template <class T>
void ProbeFma<T>::run(const Team& team, void*) const {
  const ProbeFmaKernels<T>& k = probe_kernels<T>();
  team.parallel_for(numel(sink), flops() * 0.01, [&](int64_t i) { sink.data[i] = k.chains(repeats); });
}

RANVIER_INSTANTIATE(ProbeFma);

double ProbeBandwidth::bytes() const {
  const double once = static_cast<double>(numel(buffer)) * sizeof(float) * static_cast<double>(repeats);
  return traffic == ProbeTraffic::read ? once : 2 * once;
}

void ProbeBandwidth::run(const Team& team, void*) const {
  const ProbeTrafficKernels& k = probe_kernels_traffic();
  team.parallel_for(numel(buffer) / kBlock, bytes() * kNsPerByte, [&](int64_t begin, int64_t end) {
    float* x = buffer.data + begin * kBlock;
    const int64_t n = (end - begin) * kBlock;
    for (int64_t r = 0; r < repeats; ++r) {
      if (traffic == ProbeTraffic::read)
        sink.data[begin] = k.read(x, n);
      else
        k.read_write(x, n);
    }
  });
}

void ProbeBarrier::run(const Team& team, void*) const {
  team.region(2 * kParallelPays, [&](const OpenTeam& team) {
    for (int64_t r = 0; r < repeats; ++r) team.barrier();
  });
}

}  // namespace ranvier
