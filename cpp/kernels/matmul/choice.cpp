// Chooses the kernels of a product, its memory, whether it can add to c, and the packing of a b that several
// products share.
#include <algorithm>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/precision.h"
#include "kernels/matmul/amx.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/pairs.h"
#include "kernels/matmul/plan.h"
#include "kernels/matmul/unfit.h"

namespace ranvier {

// The table of the call: those of bfloat16 where the precision allows, the processor has and n and k pay for
// them.
template <class T>
const MatmulKernels<T>& Matmul<T>::kernels() const {
  if constexpr (sizeof(T) == sizeof(float))
    if (precision != Precision::highest) {
      const int64_t n = c.shape[2], k = a.shape[2];
      const Bfloat16 kind = bfloat16();
      const bool medium = precision == Precision::medium;
      if (kind >= Bfloat16::tiles) {
        if (pays_in_tiles(medium, n, k)) return amx_kernels(medium, kind == Bfloat16::emulated);
      } else if (medium && kind == Bfloat16::pairs && pays_in_pairs(n, k)) {
        return medium_kernels();
      }
    }
  return matmul_kernels<T>();
}

// One chain for each element, by tiles whatever the level and the threads: only then it is added at the end.
template <class T>
bool Matmul<T>::can_add() const {
  const int64_t k = a.shape[2];
  return c.shape[0] == 1 && parts == 1 && !kernels().halves() &&
         std::min(c.shape[1], c.shape[2]) > kGemvRows && k > 0 && k <= matmul_kernels<T>().kc && !bias.data &&
         !norm.data && !saved.data && activation.kind == Activation::none;
}

template <class T>
int64_t MatmulPack<T>::size() const {
  const int64_t k = kernels->elements(b.shape[1]), n = b.shape[2], rest = n % width;
  int64_t last = rest ? matmul_kernels<T>().lanes : 0;
  while (last < rest) last *= 2;
  return k * (n - rest + last);
}

template <class T>
void MatmulPack<T>::run(const Team& team, void*) const {
  constexpr double kNsPerElement = 0.2;
  const int64_t k = kernels->elements(b.shape[1]), n = b.shape[2];
  const int64_t strips = ceil_div(n, width);
  team.parallel_for(strips, kNsPerElement * k * n, [&](int64_t begin, int64_t end) {
    for (int64_t j = begin * width; j < std::min(end * width, n); j += width) {
      const int columns = static_cast<int>(std::min<int64_t>(width, n - j));
      int wide = kernels->lanes;
      while (wide < columns) wide *= 2;
      kernels->pack(k, columns, wide, b.data + j * b.strides[2], kernels->factors * b.strides[1],
                    b.strides[2], packed.data + j * k, kernels->missing(b.shape[1]));
    }
  });
}

template <class T>
size_t Matmul<T>::workspace_bytes(int threads) const {
  if (numel(c) == 0) return 0;  // a plan divides by the sizes of c
  return UnfitRows<T>::bytes(*this, threads) + MatmulPlan<T>(*this, threads).workspace_bytes(threads);
}

RANVIER_INSTANTIATE(MatmulPack);
template size_t Matmul<float>::workspace_bytes(int threads) const;
template size_t Matmul<double>::workspace_bytes(int threads) const;
template const MatmulKernels<float>& Matmul<float>::kernels() const;
template const MatmulKernels<double>& Matmul<double>::kernels() const;
template bool Matmul<float>::can_add() const;
template bool Matmul<double>::can_add() const;

}  // namespace ranvier
