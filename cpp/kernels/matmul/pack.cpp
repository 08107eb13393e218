// MatmulPack: packs a b that several products share. The threads divide its panels. Each panel is packed by
// the `pack` function of the kernels that will multiply it.
#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/tile.h"

namespace ranvier {

template <class T>
int64_t MatmulPack<T>::size() const {
  const int64_t k = kernels->elements(b.shape[1]);
  const int64_t n = b.shape[2];
  const int64_t rest = n % width;
  return k * (n - rest + (rest ? kernels->width(rest) : 0));
}

template <class T>
void MatmulPack<T>::run(const Team& team, void*) const {
  constexpr double kNsPerElement = 0.2;
  const int64_t k = kernels->elements(b.shape[1]);
  const int64_t n = b.shape[2];
  const int64_t panels_b = ceil_div(n, width);
  team.parallel_for(panels_b, kNsPerElement * k * n, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * width; j < std::min(end * width, n); j += width) {
      const int columns = static_cast<int>(std::min<int64_t>(width, n - j));
      kernels->pack(k, columns, kernels->width(columns), b.data + j * b.strides[2],
                    kernels->factors * b.strides[1], b.strides[2], packed.data + j * k,
                    kernels->missing(b.shape[1]));
    }
  });
}

RANVIER_INSTANTIATE(MatmulPack);

}  // namespace ranvier
