// GradientNorm and GradientClip (clip.h): the norm of all gradients, as partial sums of blocks that are added
// in order (segments.h), so that it does not depend on the threads; and the factor, or the limit, that clips
// them.
#include "kernels/optimizer/clip.h"

#include <cmath>

#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr double kNsPerClipped = 0.1;  // on one thread, roughly

// The contribution of n elements to the norm, before the root: a sum, or for p = infinity the largest size.
template <class T>
double norm_of(const T* g, int64_t n, double p) {
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  if (p == 2) return kernels.sum_of_squares(g, n);
  if (p == 1) return kernels.sum_of_magnitudes(g, n);
  if (std::isinf(p)) return kernels.largest_magnitude(g, n);
  return kernels.sum_of_powers(g, n, p);
}

// Joins two contributions.
double combine(double a, double b, double p) {
  if (!std::isinf(p)) return a + b;
  return a != a || b < a ? a : b;  // a NaN stays
}

// The contribution of one block, chunk by chunk even if the gradient is contiguous, so that strides do not
// change the bits.
template <class T>
double norm_of_block(const TensorView<const T>& g, int64_t begin, int64_t end, double p) {
  double total = 0;
  for_each_piece(g, begin, end, kChunk, [&](const T* chunk, int64_t, int64_t n) {
    total = combine(total, norm_of(chunk, n, p), p);
  });
  return total;
}

}  // namespace

template <class T>
size_t GradientNorm<T>::workspace_bytes(int) const {
  return partials_bytes(gradients, count);
}

template <class T>
void GradientNorm<T>::run(const Team& team, void* workspace) const {
  double* partial = static_cast<double*>(workspace);
  const auto of_block = [&](int i, int64_t begin, int64_t end) {
    return norm_of_block(gradients[i], begin, end, p);
  };
  reduce_blocks(team, gradients, count, kNsPerClipped, partial, of_block, [&](int64_t blocks) {
    double total = first ? 0 : *norm.data;
    for (int64_t block = 0; block < blocks; ++block) total = combine(total, partial[block], p);
    if (last && p == 2)
      total = std::sqrt(total);
    else if (last && p != 1 && !std::isinf(p))
      total = std::pow(total, 1 / p);
    *norm.data = total;
  });
}

template <class T>
void GradientClip<T>::run(const Team& team, void*) const {
  const double factor = norm.data ? *limit.data / (*norm.data + 1e-6) : 0;
  if (norm.data && factor >= 1) return;
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  const auto size = [&](int i) { return numel(gradients[i]); };
  for_each_share(team, count, kNsPerClipped, size, [&](int i, int64_t begin, int64_t end) {
    update_elements(gradients[i], begin, end, [&](T* g, int64_t n) {
      if (norm.data)
        kernels.scale(g, n, static_cast<T>(factor));
      else
        kernels.clamp(g, n, static_cast<T>(*limit.data));
    });
  });
}

RANVIER_INSTANTIATE(GradientNorm);
RANVIER_INSTANTIATE(GradientClip);

}  // namespace ranvier
