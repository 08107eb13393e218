// Which kernels compute a product, whether it can add to c, and the packing of a b that several products
// share.
#include <algorithm>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/precision.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/pairs.h"

namespace ranvier {

template <class T>
static const MatmulKernels<T>& kernels_of([[maybe_unused]] bool pairs) {
  if constexpr (sizeof(T) == sizeof(float))
    if (pairs) return medium_kernels();
  return matmul_kernels<T>();
}

template <class T>
const MatmulKernels<T>& Matmul<T>::kernels() const {
  return kernels_of<T>(medium && has_bfloat16() && pays_in_pairs(c.shape[2], a.shape[2]));
}

// One chain for each element, by tiles whatever the level and the threads: only then it is added at the end.
template <class T>
bool Matmul<T>::can_add() const {
  const int64_t k = a.shape[2];
  return c.shape[0] == 1 && parts == 1 && std::min(c.shape[1], c.shape[2]) > kGemvRows && k > 0 &&
         k <= matmul_kernels<T>().kc && !bias.data && !norm.data && !saved.data &&
         activation.kind == Activation::none;
}

template <class T>
int64_t MatmulPack<T>::size() const {
  const int64_t k = pairs ? ceil_div(b.shape[1], 2) : b.shape[1], n = b.shape[2], rest = n % width;
  int64_t last = rest ? matmul_kernels<T>().lanes : 0;
  while (last < rest) last *= 2;
  return k * (n - rest + last);
}

template <class T>
void MatmulPack<T>::run(const Team& team, void*) const {
  constexpr double kNsPerElement = 0.2;
  const MatmulKernels<T>& kernels = kernels_of<T>(pairs);
  const int64_t step = pairs ? 2 : 1, k = ceil_div(b.shape[1], step), n = b.shape[2];
  const int64_t strips = ceil_div(n, width);
  team.parallel_for(strips, kNsPerElement * k * n, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * width; j < std::min(end * width, n); j += width) {
      const int columns = static_cast<int>(std::min<int64_t>(width, n - j));
      int wide = kernels.lanes;
      while (wide < columns) wide *= 2;
      kernels.pack(k, columns, wide, b.data + j * b.strides[2], step * b.strides[1], b.strides[2],
                   packed.data + j * k, pairs && b.shape[1] % 2 != 0);
    }
  });
}

RANVIER_INSTANTIATE(MatmulPack);
template const MatmulKernels<float>& Matmul<float>::kernels() const;
template const MatmulKernels<double>& Matmul<double>::kernels() const;
template bool Matmul<float>::can_add() const;
template bool Matmul<double>::can_add() const;

}  // namespace ranvier
