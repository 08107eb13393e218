// DrawRows (draw.h): draws indices with probabilities in proportion to weights; threads divide the rows.
#include "kernels/dropout/draw.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "base/parallel.h"

namespace ranvier {
namespace {

// Draws the indices of one row: each number of `uniform` is looked up in the running sums of the weights.
// sums: room for n numbers.
template <class T>
void with_replacement(const DrawRows<T>& call, const T* weights, const double* uniform, int64_t* chosen,
                      double* sums) {
  const int64_t n = call.weights.shape[1];
  const int64_t step = call.weights.strides[1];
  double sum = 0;
  int64_t last = 0;  // the last index with a weight > 0: a rounded sum must not give a later one
  for (int64_t j = 0; j < n; ++j) {
    sum += static_cast<double>(weights[j * step]);
    sums[j] = sum;
    if (weights[j * step] > 0) last = j;
  }
  for (int64_t k = 0; k < call.chosen.shape[1]; ++k) {
    const int64_t found = std::upper_bound(sums, sums + n, uniform[k] * sum) - sums;
    chosen[k] = std::min(found, last);
  }
}

// Draws the indices of one row without repetition: those with the greatest keys log(1 - u) / w (Efraimidis
// and Spirakis, "Weighted random sampling with a reservoir", 2006). keys and order: room for n numbers each.
template <class T>
void without(const DrawRows<T>& call, const T* weights, const double* uniform, int64_t* chosen, double* keys,
             int64_t* order) {
  const int64_t n = call.weights.shape[1];
  const int64_t step = call.weights.strides[1];
  const int64_t count = call.chosen.shape[1];
  for (int64_t j = 0; j < n; ++j) {
    const auto w = static_cast<double>(weights[j * step]);
    keys[j] = w > 0 ? std::log(1 - uniform[j]) / w : -std::numeric_limits<double>::infinity();
    order[j] = j;
  }
  // If indices of weight 0 are needed, they come in the order in which PyTorch's topk leaves equal keys,
  // which is that of these two algorithms of the C++ library.
  const auto before = [&](int64_t a, int64_t b) { return keys[a] > keys[b]; };
  if (count * 64 <= n) {
    std::partial_sort(order, order + count, order + n, before);
  } else {
    std::nth_element(order, order + count - 1, order + n, before);
    std::sort(order, order + count - 1, before);
  }
  std::copy_n(order, count, chosen);
}

}  // namespace

template <class T>
void DrawRows<T>::run(const Team& team, void* workspace) const {
  const int64_t n = weights.shape[1];
  const int64_t count = chosen.shape[1];
  const double of_row = replacement ? 2.0 * double(n) + 20.0 * double(count) : 10.0 * double(n);
  const auto rows = [&](const OpenTeam& team, int64_t begin, int64_t end) {
    double* sums = static_cast<double*>(workspace) + 2 * team.index() * n;
    for (int64_t i = begin; i < end && !interrupted(team); ++i) {
      const T* row = weights.data + i * weights.strides[0];
      const double* u = uniform.data + i * uniform.shape[1];
      if (replacement)
        with_replacement(*this, row, u, chosen.data + i * count, sums);
      else
        without(*this, row, u, chosen.data + i * count, sums, reinterpret_cast<int64_t*>(sums + n));
    }
  };
  team.parallel_for(weights.shape[0], of_row * double(weights.shape[0]), rows);
}

RANVIER_INSTANTIATE(DrawRows);

}  // namespace ranvier
