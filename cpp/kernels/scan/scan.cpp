#include "kernels/scan/scan.h"

#include "base/without_axis.h"

namespace ranvier {
namespace {

template <class T>
double cost_ns(double ns_per_float, int64_t elements) {
  return ns_per_float * static_cast<double>(elements) * static_cast<double>(sizeof(T) / 4);
}

}  // namespace

template <class T>
void Scan<T>::run(const Team& team, void*) const {
  const int64_t n = x.shape[axis];
  const auto function = scan_kernels<T>().scan[static_cast<int>(op)][reverse];
  if (n == 0) return;
  const auto scan = [&](const Team& team, int64_t count, const Lines<const T>& from, const Lines<T>& to) {
    function({&team, count, n, from, {}, false, to});
  };
  for_lines(team, cost_ns<T>(0.3, n), axis, scan, x, y);
}

template <class T>
void ProductBackward<T>::run(const Team& team, void*) const {
  const int64_t n = dx.shape[axis];
  const bool only_last = dy.shape[axis] == 1;
  const auto function = scan_kernels<T>().product_backward;
  if (n == 0) return;
  const auto backward = [&](const Team& team, int64_t count, const Lines<const T>& above,
                            const Lines<const T>& from,
                            const Lines<T>& to) { function({&team, count, n, from, above, only_last, to}); };
  for_lines(team, cost_ns<T>(1.0, n), axis, backward, dy, x, dx);
}

RANVIER_INSTANTIATE(Scan);
RANVIER_INSTANTIATE(ProductBackward);

}  // namespace ranvier
