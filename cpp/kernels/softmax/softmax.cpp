#include "kernels/softmax/softmax.h"

#include "base/without_axis.h"

namespace ranvier {
namespace {

template <class T>
double cost_ns(int64_t elements) {
  constexpr double kNsPerElement = 0.5;  // of forward, float, on one core, roughly
  return kNsPerElement * static_cast<double>(elements) * static_cast<double>(sizeof(T) / 4);
}

}  // namespace

template <class T>
void SoftmaxForward<T>::run(const Team& team, void*) const {
  const int64_t n = x.shape[axis];
  const auto function = softmax_kernels<T>().forward[log];
  const auto forward = [&](const Team&, int64_t count, const Lines<const T>& from, const Lines<T>& to) {
    function({count, n, from, {}, to});
  };
  for_lines(team, cost_ns<T>(n), axis, forward, x, y);
}

template <class T>
void SoftmaxBackward<T>::run(const Team& team, void*) const {
  const int64_t n = dx.shape[axis];
  const auto function = softmax_kernels<T>().backward[log];
  const auto backward = [&](const Team&, int64_t count, const Lines<const T>& above,
                            const Lines<const T>& from,
                            const Lines<T>& to) { function({count, n, from, above, to}); };
  for_lines(team, cost_ns<T>(n), axis, backward, dy, y, dx);
}

RANVIER_INSTANTIATE(SoftmaxForward);
RANVIER_INSTANTIATE(SoftmaxBackward);

}  // namespace ranvier
