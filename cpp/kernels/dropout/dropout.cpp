// dropout: shares of whole random groups, and arrays whose memory is not in logical order.
#include "kernels/dropout/dropout.h"

#include <algorithm>
#include <type_traits>

#include "base/integers.h"
#include "base/logical_walk.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 0.3, kNsPerStridedElement = 2;

RandomKey key_of(const TensorView<const int64_t>& v) {
  return {static_cast<uint64_t>(v.data[0]), static_cast<uint64_t>(v.data[v.strides[0]])};
}

uint64_t mix(uint64_t x) {
  x += 0x9E3779B97F4A7C15;
  x = (x ^ (x >> 30)) * 0xBF58476D1CE4E5B9;
  x = (x ^ (x >> 27)) * 0x94D049BB133111EB;
  return x ^ (x >> 31);
}

// f(first, n) on shares of [0, n) that begin at whole groups.
template <class F>
void for_each_group_share(const Team& team, int64_t n, double ns, const F& f) {
  const int64_t groups = ceil_div(n, kRandomGroup);
  team.parallel_for(groups, ns * n, [&](int64_t begin, int64_t end) {
    f(begin * kRandomGroup, std::min(end * kRandomGroup, n) - begin * kRandomGroup);
  });
}

}  // namespace

// In a team one thread takes the key; two programs that share a stream never get the same one.
void NextKey::run(const Team& team, void*) const {
  team.parallel_for(1, 0, [&](int64_t, int64_t) {
    const int64_t calls = __atomic_add_fetch(state.data + 1, 1, __ATOMIC_RELAXED);
    key.data[0] = static_cast<int64_t>(mix(mix(static_cast<uint64_t>(state.data[0])) + calls));
    key.data[1] = 0;
  });
}

template <class T>
void Dropout<T>::run(const Team& team, void*) const {
  const bool dense = is_contiguous(x) && is_contiguous(y);
  const bool none = p >= 1;
  const auto threshold = static_cast<uint32_t>(none ? 0 : p * 0x1p32);
  const T scale = none ? T(0) : static_cast<T>(1 / (1 - p));
  for_each_group_share(team, numel(y), dense ? kNsPerElement : kNsPerStridedElement,
                       [&](int64_t first, int64_t n) {
                         const RandomKey k = key_of(key);
                         const auto kernel = dropout_kernels<T>().dropout;
                         if (dense && !none)
                           return kernel(k, threshold, scale, first, n, x.data + first, y.data + first);
                         LogicalWalk<const T> from(x, first);
                         LogicalWalk<T> to(y, first);
                         for (int64_t i = 0; i < n; i += kRandomGroup) {
                           const int64_t count = std::min<int64_t>(kRandomGroup, n - i);
                           T group[kRandomGroup] = {};
                           if (!none) {
                             for (int64_t j = 0; j < count; ++j, from.next()) group[j] = x.data[from.offset];
                             kernel(k, threshold, scale, first + i, count, group, group);
                           }
                           for (int64_t j = 0; j < count; ++j, to.next()) y.data[to.offset] = group[j];
                         }
                       });
}

template <class T>
void RandomFill<T>::run(const Team& team, void*) const {
  const auto& kernels = dropout_kernels<T>();
  for_each_group_share(team, numel(y), 4 * kNsPerElement, [&](int64_t first, int64_t n) {
    const auto kernel = distribution == Distribution::uniform ? kernels.uniform : kernels.normal;
    kernel(key_of(key), static_cast<T>(a), static_cast<T>(b), first, n, y.data + first);
  });
}

RANVIER_INSTANTIATE(Dropout);
RANVIER_INSTANTIATE(RandomFill);

}  // namespace ranvier
