// Whether indices lie in their range: read before every gather, so built for speed as array_args.cpp is.
#include "base/loop_nest.h"
#include "bindings/array_args.h"

namespace ranvier::bind {

const int64_t* first_outside(const TensorView<const int64_t>& v, int64_t low, int64_t high,
                             const int64_t* also) {
  // The sign of k - low or of high - k: without a branch, in a loop that is made vectors of.
  const auto signs_of = [=](int64_t k) {
    return (uint64_t(k) - uint64_t(low)) | (uint64_t(high) - uint64_t(k));
  };
  const LoopNest<1> nest(v.ndim, v.shape, {v.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const int64_t* found = nullptr;
  nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
    const int64_t* p = v.data + offsets[0];
    uint64_t signs = 0;
    if (found) return;
    if (also)
      for (int64_t i = 0; i < n; ++i) signs |= p[i * step] == *also ? 0 : signs_of(p[i * step]);
    else if (step != 1)
      for (int64_t i = 0; i < n; ++i) signs |= signs_of(p[i * step]);
    else
      for (int64_t i = 0; i < n; ++i) signs |= signs_of(p[i]);
    for (int64_t i = 0; int64_t(signs) < 0 && !found && i < n; ++i)
      if (int64_t(signs_of(p[i * step])) < 0 && !(also && p[i * step] == *also)) found = p + i * step;
  });
  return found;
}

}  // namespace ranvier::bind
