#include <algorithm>

#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

template <class T>
int64_t MatmulPack<T>::size() const {
  const int64_t k = b.shape[1], n = b.shape[2], rest = n % width;
  int64_t last = rest ? matmul_kernels<T>().lanes : 0;
  while (last < rest) last *= 2;
  return k * (n - rest + last);
}

template <class T>
void MatmulPack<T>::run(const Team& team, void*) const {
  constexpr double kNsPerElement = 0.2;
  const MatmulKernels<T>& kernels = matmul_kernels<T>();
  const int64_t k = b.shape[1], n = b.shape[2], strips = ceil_div(n, width);
  team.parallel_for(strips, kNsPerElement * k * n, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * width; j < std::min(end * width, n); j += width) {
      const int columns = static_cast<int>(std::min<int64_t>(width, n - j));
      int wide = kernels.lanes;
      while (wide < columns) wide *= 2;
      kernels.pack(k, columns, wide, b.data + j * b.strides[2], b.strides[1], b.strides[2],
                   packed.data + j * k);
    }
  });
}

RANVIER_INSTANTIATE(MatmulPack);

}  // namespace ranvier
