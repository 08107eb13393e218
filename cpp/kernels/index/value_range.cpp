#include "kernels/index/value_range.h"

#include <cstring>
#include <type_traits>

#include "base/loop_nest.h"
#include "base/parallel.h"
#include "base/unroll.h"

namespace ranvier {
namespace {

// Vectors by hand, since this file is compiled for size.
template <class T>
bool are_inside(const T* p, int64_t n, T low, T high) {
  constexpr int kSize = 16 / sizeof(T), kVectors = 4;
  typedef T Vector __attribute__((vector_size(16)));
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef Bits Mask __attribute__((vector_size(16)));
  const Vector least = Vector{} + low, most = Vector{} + high;
  Mask inside[kVectors];
  for (Mask& mask : inside) mask = ~Mask{};
  int64_t i = 0;
  for (; i + kVectors * kSize <= n; i += kVectors * kSize) {
    RANVIER_UNROLL
    for (int v = 0; v < kVectors; ++v) {
      Vector x;
      std::memcpy(&x, p + i + v * kSize, sizeof x);
      inside[v] &= (x >= least) & (x <= most);
    }
  }
  const Mask all = (inside[0] & inside[1]) & (inside[2] & inside[3]);
  bool good = true;
  for (int k = 0; k < kSize; ++k) good &= all[k] != 0;
  for (; i < n; ++i) good &= p[i] >= low && p[i] <= high;
  return good;
}

}  // namespace

template <class T>
void ValueRange<T>::run(const Team& team, void*) const {
  const LoopNest<1> nest(x.ndim, x.shape, {x.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const auto good = [&](int64_t begin, int64_t end) {
    bool all = true;
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      const T* p = x.data + offsets[0];
      if (step == 1)
        all &= are_inside(p, n, low, high);
      else
        for (int64_t i = 0; i < n; ++i) all &= p[i * step] >= low && p[i * step] <= high;
    });
    return all;
  };
  constexpr double kNsPerByte = 0.045;
  const double ns = kNsPerByte * sizeof(T) * static_cast<double>(nest.size);
  if (ns < kParallelPays)
    return team.parallel_for(1, 0, [&](int64_t, int64_t) { *found.data = !good(0, nest.size); });
  team.region(ns, [&](const OpenTeam& team) {
    team.parallel_for(1, 0, [&](int64_t, int64_t) { *found.data = 0; });
    team.parallel_for(nest.size, ns, [&](int64_t begin, int64_t end) {
      if (!interrupted(team) && !good(begin, end)) __atomic_store_n(found.data, 1, __ATOMIC_RELAXED);
    });
  });
}

RANVIER_INSTANTIATE(ValueRange);

}  // namespace ranvier
