#include "kernels/index/index_range.h"

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {

void IndexRange::run(void*) const {
  // The sign of k - low or of high - k: without a branch, in a loop that is made vectors of.
  const auto signs_of = [=](int64_t k) {
    return (uint64_t(k) - uint64_t(low)) | (uint64_t(high) - uint64_t(k));
  };
  const LoopNest<1> nest(index.ndim, index.shape, {index.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  parallel_for(1, 0, [&](int64_t, int64_t) {
    uint64_t signs = 0;
    nest.walk(0, nest.size, [&](int64_t n, const int64_t* offsets) {
      const int64_t* p = index.data + offsets[0];
      if (has_also)
        for (int64_t i = 0; i < n; ++i) signs |= p[i * step] == also ? 0 : signs_of(p[i * step]);
      else if (step != 1)
        for (int64_t i = 0; i < n; ++i) signs |= signs_of(p[i * step]);
      else
        for (int64_t i = 0; i < n; ++i) signs |= signs_of(p[i]);
    });
    *found.data = int64_t(signs) < 0;
  });
}

}  // namespace ranvier
