// MixImages (augment.h): mixes each image of a batch with another one.
#include "kernels/augment/augment.h"

#include <algorithm>

#include "base/loop_nest.h"
#include "base/parallel.h"
#include "base/rows.h"

namespace ranvier {
namespace {

constexpr double kNsPerMixedByte = 0.1;  // on one thread, roughly

}  // namespace

template <class T>
void MixImages<T>::run(const Team& team, void*) const {
  const LoopNest<2> sample(x.ndim - 1, x.shape + 1, {x.strides + 1, y.strides + 1});
  const int64_t n = x.shape[0];
  const int64_t size = sample.size;
  const int64_t step_x = sample.strides[0][sample.ndim - 1];
  const int64_t step_y = sample.strides[1][sample.ndim - 1];
  const auto mix = augment_kernels<T>().mix;
  team.parallel_for(n * size, kNsPerMixedByte * sizeof(T) * n * size, [&](int64_t begin, int64_t end) {
    for (int64_t i = begin / size; i * size < end; ++i) {
      const T w = static_cast<T>(weight.data[i * weight.strides[0]]);
      const T* a = x.data + i * x.strides[0];
      const T* b = x.data + inside(partner.data[i * partner.strides[0]], n) * x.strides[0];
      T* to = y.data + i * y.strides[0];
      const int64_t first = std::max(begin - i * size, int64_t{0});
      const int64_t last = std::min(end - i * size, size);
      sample.walk(first, last, [&](int64_t count, const int64_t* offsets) {
        if (step_x == 1 && step_y == 1) return mix(count, w, a + offsets[0], b + offsets[0], to + offsets[1]);
        for (int64_t k = 0; k < count; ++k) {
          const int64_t from = offsets[0] + k * step_x;
          mix(1, w, a + from, b + from, to + offsets[1] + k * step_y);
        }
      });
    }
  });
}

RANVIER_INSTANTIATE(MixImages);

}  // namespace ranvier
