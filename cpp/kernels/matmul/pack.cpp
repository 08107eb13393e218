// MatmulPack (matmul.h): packs a b that several products share, once for all of them; for example the weight
// of a layer that is called step after step. The threads divide its panels.
//
//   b [k, n]  ->  packed: one panel after another, each of `width` columns, [k, width] as in packing.h.
//                 The last panel has n % width columns, filled up to kernels->width() of them.
//
// An element has kernels->factors numbers along k (1, or 2 where pairs of bfloat16 are multiplied); where k
// is no multiple of that, the last element lacks kernels->missing(k) of them. Each panel is packed by the
// `pack` function of the kernels that will multiply it, so its layout is the one that they read.
#include <algorithm>

#include "base/parallel.h"
#include "kernels/matmul/tile.h"

namespace ranvier {

template <class T>
int64_t MatmulPack<T>::size() const {
  const int64_t k = kernels->elements(b.shape[1]);
  const int64_t n = b.shape[2];
  const int64_t rest = n % width;  // the columns of the last panel, if it is not whole
  const int64_t last_width = rest ? kernels->width(rest) : 0;
  return k * (n - rest + last_width);
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
      const T* from = b.data + j * b.strides[2];
      const int64_t rs = kernels->factors * b.strides[1];  // from one element to the next along k
      const int64_t cs = b.strides[2];
      T* to = packed.data + j * k;  // all panels before are whole, so j columns of k elements
      kernels->pack(k, columns, kernels->width(columns), from, rs, cs, to, kernels->missing(b.shape[1]));
    }
  });
}

RANVIER_INSTANTIATE(MatmulPack);

}  // namespace ranvier
