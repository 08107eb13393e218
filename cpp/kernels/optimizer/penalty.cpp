// Penalties on the weights: blocks of all parameters shared out, each read once for its value and gradient.
#include "kernels/optimizer/penalty.h"

#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr int64_t kBlock = 16 * kChunk;  // one partial sum
constexpr double kNsPerElement = 0.2;

int64_t blocks_of(int64_t n) { return (n + kBlock - 1) / kBlock; }

// Elements [begin, end) of one parameter, in chunks that stay in the first cache; returns their value.
template <class T>
double penalise(const WeightPenalty<T>& call, int i, int64_t begin, int64_t end) {
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  const TensorView<const T>& p = call.parameters[i];
  const bool dense = is_contiguous(p);
  const double l1 = call.l1.data[i], l2 = call.l2.data[i];
  double value = 0;
  T copy[kChunk];
  for (int64_t first = begin; first < end; first += kChunk) {
    const int64_t n = std::min(kChunk, end - first);
    if (!dense) gather(p, first, first + n, copy);
    const T* chunk = dense ? p.data + first : copy;
    if (l1 != 0 || l2 != 0) value += kernels.penalty(chunk, n, l1, l2);
    if (!call.gradients[i].data) continue;
    update_elements(call.gradients[i], first, first + n, [&](T* g, int64_t) {
      kernels.add_penalty(g, chunk, n, T(*call.scale.data), T(l1), T(2 * l2));
    });
  }
  return value;
}

}  // namespace

template <class T>
size_t WeightPenalty<T>::workspace_bytes(int) const {
  int64_t blocks = 0;
  for (int i = 0; i < count; ++i) blocks += blocks_of(numel(parameters[i]));
  return sizeof(double) * blocks;
}

template <class T>
void WeightPenalty<T>::run(void* workspace) const {
  double* partial = static_cast<double*>(workspace);
  int64_t starts[kMaxSegments + 1] = {}, elements = 0;  // first block of each parameter
  for (int i = 0; i < count; ++i) {
    elements += numel(parameters[i]);
    starts[i + 1] = starts[i] + blocks_of(numel(parameters[i]));
  }
  const int64_t blocks = starts[count];
  parallel_region(kNsPerElement * elements, [&] {
    parallel_for(blocks, 0, [&](int64_t begin, int64_t end) {
      int i = 0;
      for (int64_t block = begin; block < end; ++block) {
        while (block >= starts[i + 1]) ++i;
        const int64_t first_element = (block - starts[i]) * kBlock;
        const int64_t last_element = std::min(first_element + kBlock, numel(parameters[i]));
        partial[block] = penalise(*this, i, first_element, last_element);
      }
    });
    if (team_index() == 0) {
      double total = first ? 0 : *value.data;
      for (int64_t block = 0; block < blocks; ++block) total += partial[block];
      *value.data = total;
    }
    team_barrier();
  });
}

template struct WeightPenalty<float>;
template struct WeightPenalty<double>;

}  // namespace ranvier
