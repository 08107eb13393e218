// Gradient clipping: the norm of a list of gradients, and their scaling or clamping in place.
#include "kernels/optimizer/clip.h"

#include <cmath>

#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr int64_t kBlock = 16 * kChunk;  // one partial sum
constexpr double kNsPerElement = 0.1;

int64_t blocks_of(int64_t n) { return (n + kBlock - 1) / kBlock; }

// The part of the norm from n elements: a sum, or the largest.
template <class T>
double norm_of(const T* g, int64_t n, double p) {
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  if (p == 2) return kernels.sum_of_squares(g, n);
  if (p == 1) return kernels.sum_of_magnitudes(g, n);
  if (std::isinf(p)) return kernels.largest_magnitude(g, n);
  return kernels.sum_of_powers(g, n, p);
}

double combine(double a, double b, double p) {
  if (!std::isinf(p)) return a + b;
  return a != a || b < a ? a : b;  // a NaN stays
}

// In chunks also where the gradient is contiguous, so that its strides do not change the bits.
template <class T>
double norm_of_block(const TensorView<const T>& g, int64_t begin, int64_t end, double p) {
  const bool dense = is_contiguous(g);
  T copy[kChunk];
  double total = 0;
  for (int64_t i = begin; i < end; i += kChunk) {
    const int64_t n = std::min(kChunk, end - i);
    if (!dense) gather(g, i, i + n, copy);
    total = combine(total, norm_of(dense ? g.data + i : copy, n, p), p);
  }
  return total;
}

}  // namespace

template <class T>
size_t GradientNorm<T>::workspace_bytes(int) const {
  int64_t blocks = 0;
  for (int i = 0; i < count; ++i) blocks += blocks_of(numel(gradients[i]));
  return sizeof(double) * blocks;
}

template <class T>
void GradientNorm<T>::run(void* workspace) const {
  double* partial = static_cast<double*>(workspace);
  int64_t starts[kMaxSegments + 1] = {}, elements = 0;  // first block of each gradient
  for (int i = 0; i < count; ++i) {
    elements += numel(gradients[i]);
    starts[i + 1] = starts[i] + blocks_of(numel(gradients[i]));
  }
  const int64_t blocks = starts[count];
  parallel_region(kNsPerElement * elements, [&] {
    parallel_for(blocks, 0, [&](int64_t begin, int64_t end) {
      int i = 0;
      for (int64_t block = begin; block < end; ++block) {
        while (block >= starts[i + 1]) ++i;
        const int64_t first_element = (block - starts[i]) * kBlock;
        const int64_t last_element = std::min(first_element + kBlock, numel(gradients[i]));
        partial[block] = norm_of_block(gradients[i], first_element, last_element, p);
      }
    });
    if (team_index() == 0) {
      double total = first ? 0 : *norm.data;
      for (int64_t block = 0; block < blocks; ++block) total = combine(total, partial[block], p);
      if (last && p == 2)
        total = std::sqrt(total);
      else if (last && p != 1 && !std::isinf(p))
        total = std::pow(total, 1 / p);
      *norm.data = total;
    }
    team_barrier();
  });
}

template <class T>
void GradientClip<T>::run(void*) const {
  const auto size = [&](int i) { return numel(gradients[i]); };
  int64_t total = 0;
  for (int i = 0; i < count; ++i) total += size(i);
  const double factor = norm.data ? *limit.data / (*norm.data + 1e-6) : 0;
  if (norm.data && factor >= 1) return;
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  parallel_region(kNsPerElement * total, [&] {
    for_each_share(count, size, [&](int i, int64_t begin, int64_t end) {
      update_elements(gradients[i], begin, end, [&](T* g, int64_t n) {
        if (norm.data)
          kernels.scale(g, n, static_cast<T>(factor));
        else
          kernels.clamp(g, n, static_cast<T>(*limit.data));
      });
    });
    team_barrier();
  });
}

template struct GradientNorm<float>;
template struct GradientNorm<double>;
template struct GradientClip<float>;
template struct GradientClip<double>;

}  // namespace ranvier
