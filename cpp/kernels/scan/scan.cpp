#include "kernels/scan/scan.h"

#include <algorithm>
#include <cstdlib>

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

// Comparisons that depend on each other: a vector would gain nothing along a line.
template <class T>
void RunningExtreme<T>::run(const Team& team, void*) const {
  constexpr int64_t kBeside = 256,
                    kLook = 1 << 16;  // lines at a time; elements between two looks for a signal
  const int64_t n = x.shape[axis];
  const T sign = greatest ? T(1) : T(-1);
  if (n == 0) return;
  const auto lines = [&](const Team& team, int64_t count, const Lines<const T>& from, const Lines<T>& to,
                         const Lines<int64_t>& places) {
    const bool along = count == 1 || std::abs(from.step) < std::abs(from.line);
    const int64_t beside = along ? 1 : kBeside;
    T best[kBeside];
    int64_t place[kBeside];
    for (int64_t first = 0, work = 0; first < count; first += beside) {
      const int64_t some = std::min(beside, count - first);
      for (int64_t k = 0; k < n; ++k) {
        if ((work += some) > kLook) {
          if (interrupted(team)) return;
          work = 0;
        }
        for (int64_t i = 0; i < some; ++i) {
          const T v = from.data[(first + i) * from.line + k * from.step];
          if (k == 0 || v * sign >= best[i] * sign || v != v) best[i] = v, place[i] = k;
          to.data[(first + i) * to.line + k * to.step] = best[i];
          places.data[(first + i) * places.line + k * places.step] = place[i];
        }
      }
    }
  };
  for_lines(team, 1.5 * static_cast<double>(n), axis, lines, x, y, index);
}

RANVIER_INSTANTIATE(Scan);
RANVIER_INSTANTIATE(RunningExtreme);
RANVIER_INSTANTIATE(ProductBackward);

}  // namespace ranvier
