// MoveParameters and AverageWeight (move.h).
#include "kernels/optimizer/move.h"

#include <algorithm>

#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {

template <class T>
void MoveParameters<T>::run(const Team& team, void*) const {
  constexpr double ns_per_element = 0.2;
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  const auto move = towards ? kernels.move_towards : kernels.add_scaled;
  const T share = static_cast<T>(*factor.data);
  const auto size = [&](int i) { return numel(parameters[i]); };
  for_each_share(team, count, ns_per_element, size, [&](int i, int64_t begin, int64_t end) {
    const int64_t piece = is_contiguous(values[i]) && is_contiguous(parameters[i]) ? end - begin : kChunk;
    for_each_piece(values[i], begin, end, piece, [&](const T* v, int64_t first, int64_t count) {
      update_elements(parameters[i], first, first + count, [&](T* p, int64_t n) {
        if (towards && share == 1) {
          std::copy_n(v, n, p);
        } else {
          move(p, v, n, share);
        }
      });
    });
  });
}

void AverageWeight::run(const Team& team, void*) const {
  team.parallel_for(1, 0, [&](int64_t, int64_t) {
    const int64_t seen = (*count.data)++;
    double share = decay < 0 ? 1.0 / static_cast<double>(seen + 1) : 1 - decay;  // decay < 0: the plain mean
    if (seen == 0) share = 1;
    *weight.data = share;
  });
}

RANVIER_INSTANTIATE(MoveParameters);

}  // namespace ranvier
