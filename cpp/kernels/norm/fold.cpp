#include "kernels/norm/fold.h"

#include <cmath>

#include "base/parallel.h"

namespace ranvier {
namespace {

template <class T>
double at(const TensorView<const T>& v, int64_t k, double otherwise) {
  return v.data ? double(v.data[k * v.strides[0]]) : otherwise;
}

}  // namespace

template <class T>
void FoldBatchNorm<T>::run(void*) const {
  constexpr double kNsPerElement = 1;
  int rest[3], count = 0;  // the other axes
  for (int d = 0; d < 4; ++d)
    if (d != axis) rest[count++] = d;
  const auto step = [](const auto& v, int d) { return v.strides[d]; };
  parallel_for(w.shape[axis], kNsPerElement * double(numel(w)), [&](int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end; ++k) {
      const double scale = at(weight, k, 1) / std::sqrt(at(var, k, 1) + eps);
      folded_bias.data[k] = T((at(b, k, 0) - at(mean, k, 0)) * scale + at(bias, k, 0));
      const T* from = w.data + k * step(w, axis);
      T* to = folded_w.data + k * step(folded_w, axis);
      for (int64_t i = 0; i < w.shape[rest[0]]; ++i)
        for (int64_t j = 0; j < w.shape[rest[1]]; ++j)
          for (int64_t l = 0; l < w.shape[rest[2]]; ++l) {
            const auto offset = [&](const auto& v) {
              return i * step(v, rest[0]) + j * step(v, rest[1]) + l * step(v, rest[2]);
            };
            to[offset(folded_w)] = T(double(from[offset(w)]) * scale);
          }
    }
  });
}

template struct FoldBatchNorm<float>;
template struct FoldBatchNorm<double>;

}  // namespace ranvier
