// WeightPenalty (clip.h): threads divide the blocks of all parameters; each block is read once for its value
// and gradient.
#include "kernels/optimizer/clip.h"

#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr double kNsPerPenalty = 0.2;  // on one thread, roughly

// Elements [begin, end) of parameter i, in chunks that stay in the L1 cache. Returns their part of the value.
template <class T>
double penalise(const WeightPenalty<T>& call, int i, int64_t begin, int64_t end) {
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  const double l1 = call.l1.data[i];
  const double l2 = call.l2.data[i];
  double value = 0;
  for_each_piece(call.parameters[i], begin, end, kChunk, [&](const T* chunk, int64_t first, int64_t n) {
    if (l1 != 0 || l2 != 0) value += kernels.penalty(chunk, n, l1, l2);
    if (!call.gradients[i].data) return;
    update_elements(call.gradients[i], first, first + n, [&](T* g, int64_t) {
      kernels.add_penalty(g, chunk, n, T(*call.scale.data), T(l1), T(2 * l2));
    });
  });
  return value;
}

}  // namespace

template <class T>
size_t WeightPenalty<T>::workspace_bytes(int) const {
  return partials_bytes(parameters, count);
}

template <class T>
void WeightPenalty<T>::run(const Team& team, void* workspace) const {
  double* partial = static_cast<double*>(workspace);
  const auto of_block = [&](int i, int64_t begin, int64_t end) { return penalise(*this, i, begin, end); };
  reduce_blocks(team, parameters, count, kNsPerPenalty, partial, of_block, [&](int64_t blocks) {
    double total = first ? 0 : *value.data;
    for (int64_t block = 0; block < blocks; ++block) total += partial[block];
    *value.data = total;
  });
}

RANVIER_INSTANTIATE(WeightPenalty);

}  // namespace ranvier
