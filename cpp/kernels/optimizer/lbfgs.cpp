// FlatDot and LbfgsLoop (lbfgs.h): dot products of arrays that are one flat array together, and the two loops
// of L-BFGS. Sums are partial sums of blocks, added in order, so the bits do not depend on the threads.
#include "kernels/optimizer/lbfgs.h"

#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/segments.h"

namespace ranvier {
namespace {

constexpr double kNsPerProduct = 0.3;  // of a dot product, on one thread, roughly

// Calls f(first element, elements, block) for this thread's blocks of n elements. A block stays in the L1
// cache between an update and the next dot product.
template <class F>
void for_each_block(const OpenTeam& team, int64_t n, const F& f) {
  team.parallel_for(blocks_of(n), 0,
                    [&](int64_t block) { f(block * kBlock, std::min(kBlock, n - block * kBlock), block); });
}

// The sum of the partial sums of all blocks of n elements.
double sum(const double* partial, int64_t n) {
  double total = 0;
  for (int64_t i = 0; i < blocks_of(n); ++i) total += partial[i];
  return total;
}

}  // namespace

template <class T>
size_t FlatDot<T>::workspace_bytes(int) const {
  return sizeof(double) * blocks_of(numel(a));
}

template <class T>
void FlatDot<T>::run(const Team& team, void* workspace) const {
  double* partial = static_cast<double*>(workspace);
  const int64_t n = numel(a);
  team.region(kNsPerProduct * n, [&](const OpenTeam& team) {
    for_each_block(team, n, [&](int64_t first, int64_t length, int64_t block) {
      partial[block] = optimizer_kernels<T>().dot(a.data + first, b.data + first, length);
    });
    if (team.index() == 0) *product.data = sum(partial, n);
    team.barrier();
  });
}

template <class T>
size_t LbfgsLoop<T>::workspace_bytes(int) const {
  return 2 * sizeof(double) * blocks_of(numel(direction));
}

template <class T>
void LbfgsLoop<T>::run(const Team& team, void* workspace) const {
  const OptimizerKernels<T>& kernels = optimizer_kernels<T>();
  const int64_t n = numel(direction);
  T* d = direction.data;
  team.region(kNsPerProduct * n * (2 * count + 1), [&](const OpenTeam& team) {
    if (scale.data)
      for_each_block(team, n, [&](int64_t first, int64_t length, int64_t) {
        kernels.scale(d + first, length, static_cast<T>(*scale.data));
      });
    const T* moved = nullptr;  // d += factor * moved is still to be done, together with the next dot product
    T factor = 0;
    for (int k = 0; k < count; ++k) {
      const int i = second ? k : count - 1 - k;
      const T* seen = second ? changes[i].data : steps[i].data;
      // Two arrays in turn, so that no thread overwrites the sums that another thread still reads.
      double* partial = static_cast<double*>(workspace) + (k % 2) * blocks_of(n);
      for_each_block(team, n, [&](int64_t first, int64_t length, int64_t block) {
        if (moved) kernels.add_scaled(d + first, moved + first, length, factor);
        partial[block] = kernels.dot(d + first, seen + first, length);
      });
      const double product = ro.data[i] * sum(partial, n);
      if (!second && team.index() == 0) alphas.data[i] = product;
      const double step = second ? alphas.data[i] - product : -product;
      factor = static_cast<T>(step);
      moved = second ? steps[i].data : changes[i].data;
    }
    if (moved)
      for_each_block(team, n, [&](int64_t first, int64_t length, int64_t) {
        kernels.add_scaled(d + first, moved + first, length, factor);
      });
  });
}

RANVIER_INSTANTIATE(FlatDot);
RANVIER_INSTANTIATE(LbfgsLoop);

}  // namespace ranvier
