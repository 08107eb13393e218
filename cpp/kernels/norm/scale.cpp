#include "kernels/norm/scale.h"

#include <cmath>

#include "base/parallel.h"

namespace ranvier {

template <class T>
void BatchNormScale<T>::run(const Team& team, void*) const {
  constexpr double kNsPerChannel = 10;
  const int64_t channels = line.shape[1];
  const auto at = [](const TensorView<const T>& v, int64_t k) { return double(v.data[k * v.strides[0]]); };
  team.parallel_for(channels, kNsPerChannel * double(channels), [&](int64_t k) {
    const double rstd = 1 / std::sqrt(at(var, k) + eps);
    const Normalize<T> f =
        line_of<T>(at(mean, k), weight.data ? rstd * at(weight, k) : rstd, bias.data ? at(bias, k) : 0);
    line.data[k] = f.m, line.data[channels + k] = f.a, line.data[2 * channels + k] = f.b;
  });
}

RANVIER_INSTANTIATE(BatchNormScale);

}  // namespace ranvier
