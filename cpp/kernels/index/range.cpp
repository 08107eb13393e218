// Checks that all indices, or all values, of an array are in a range: see range.h.
#include "kernels/index/range.h"

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "base/loop_nest.h"
#include "base/parallel.h"
#include "base/unroll.h"

namespace ranvier {

namespace {

typedef uint64_t Two __attribute__((vector_size(16)));

// The highest bit of the result is set if one of the n elements k is outside [low, high]: then k - low or
// high - k, modulo 2^64, has this bit, even if the other difference overflows. There is no branch in the
// loop, and vectors are written by hand, since this file is compiled for size.
uint64_t signs_of_all(const int64_t* p, int64_t n, int64_t low, int64_t high) {
  const Two least = {uint64_t(low), uint64_t(low)};
  const Two most = {uint64_t(high), uint64_t(high)};
  Two signs[4] = {};
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    RANVIER_UNROLL
    for (int v = 0; v < 4; ++v) {
      Two k;
      std::memcpy(&k, p + i + 2 * v, sizeof k);
      signs[v] |= (k - least) | (most - k);
    }
  }
  const Two all = (signs[0] | signs[1]) | (signs[2] | signs[3]);
  uint64_t found = all[0] | all[1];
  for (; i < n; ++i) found |= (uint64_t(p[i]) - uint64_t(low)) | (uint64_t(high) - uint64_t(p[i]));
  return found;
}

}  // namespace

void IndexRange::run(const Team& team, void*) const {
  const auto signs_of = [=](int64_t k) {  // the same of one element
    return (uint64_t(k) - uint64_t(low)) | (uint64_t(high) - uint64_t(k));
  };
  constexpr int64_t kFew = 256;  // so few indices are checked without the cost of a loop nest
  if (index.ndim == 1 && index.strides[0] == 1 && index.shape[0] <= kFew) {  // without a loop nest
    if (int64_t(signs_of_all(index.data, index.shape[0], low, high)) >= 0)
      return team.parallel_for(1, 0, [&](int64_t) { *found.data = 0; });
  }
  const LoopNest<1> nest(index.ndim, index.shape, {index.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  // One thread does the work. parallel_for() is told the cost of long work only, since it then tests for
  // interrupts.
  constexpr int64_t kPiece = 1 << 22;  // indices between two tests for an interrupt
  const double ns = nest.size > kPiece ? 0.5 * static_cast<double>(nest.size) : 0;
  team.parallel_for(1, ns, [&](int64_t, int64_t) {
    bool outside = false;
    const auto look = [&](int64_t n, const int64_t* offsets) {
      const int64_t* p = index.data + offsets[0];
      uint64_t signs = 0;
      if (step == 1)
        signs = signs_of_all(p, n, low, high);
      else
        for (int64_t i = 0; i < n; ++i) signs |= signs_of(p[i * step]);
      if (int64_t(signs) >= 0) return;
      for (int64_t i = 0; i < n && !outside; ++i) {
        const int64_t k = p[i * step];
        const bool is_also = has_also && k == also;  // range.h: one more value that is right
        outside = int64_t(signs_of(k)) < 0 && !is_also;
      }
    };
    for (int64_t at = 0; at < nest.size && !outside && !(at > 0 && interrupted(team)); at += kPiece)
      nest.walk(at, std::min(nest.size, at + kPiece), look);
    *found.data = outside;
  });
}

namespace {

// True if all n elements are in [low, high]; vectors are written by hand, as above.
template <class T>
bool are_inside(const T* p, int64_t n, T low, T high) {
  constexpr int kSize = 16 / sizeof(T);  // elements of a vector
  constexpr int kVectors = 4;
  typedef T Vector __attribute__((vector_size(16)));
  using Bits = std::conditional_t<sizeof(T) == 4, int32_t, int64_t>;
  typedef Bits Mask __attribute__((vector_size(16)));
  const Vector least = Vector{} + low;
  const Vector most = Vector{} + high;
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
  constexpr double kNsPerByte = 0.045;  // on one thread, roughly
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
