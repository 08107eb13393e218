// The calls of scan.h: divides the lines (the elements along the axis) among the threads. Running extremes
// are computed here, sums and products in scan.isa.cpp.
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
    function({&team, count, n, from, /*dy=*/{}, /*only_last=*/false, to});
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

namespace {

constexpr int64_t kLook = 1 << 16;  // elements between two tests for an interrupt

// True if v takes the place of the extreme so far: it is at least as extreme, or NaN.
template <class T>
bool follows(bool greatest, T v, T best) {
  const bool reaches = greatest ? v >= best : v <= best;
  return reaches || v != v;
}

// The running extremes y of one line x of n elements, and the index of each in the line (places). sx, sy, sp:
// the distances of elements. A NaN replaces any number.
template <class T>
void running_extreme(const Team& team, int64_t n, bool greatest, const T* x, int64_t sx, T* y, int64_t sy,
                     int64_t* places, int64_t sp) {
  T best = *x;
  int64_t place = 0;
  int64_t k = 0;
  while (k < n) {
    if (k > 0 && interrupted(team)) return;
    const int64_t end = std::min(n, k + kLook);
    while (k < end) {
      if (follows(greatest, x[k * sx], best)) {
        best = x[k * sx];
        place = k;
      }
      const T same = best;  // the result for all elements up to the next one that replaces it
      do {
        y[k * sy] = same;
        places[k * sp] = place;
        ++k;
      } while (k < end && !follows(greatest, x[k * sx], same));
    }
  }
}

}  // namespace

// Each comparison along a line depends on the one before it, so vectors along a line would gain nothing. If
// lines are closer to each other in memory than the elements of a line are, kBeside lines are computed
// together.
template <class T>
void RunningExtreme<T>::run(const Team& team, void*) const {
  constexpr int64_t kBeside = 256;  // lines at a time
  const int64_t n = x.shape[axis];
  if (n == 0) return;
  const auto lines = [&](const Team& team, int64_t count, const Lines<const T>& from, const Lines<T>& to,
                         const Lines<int64_t>& places) {
    if (count == 1 || std::abs(from.step) < std::abs(from.line)) {
      for (int64_t i = 0; i < count; ++i) {
        if (i > 0 && interrupted(team)) return;
        const T* line_x = from.data + i * from.line;
        T* line_y = to.data + i * to.line;
        int64_t* line_places = places.data + i * places.line;
        running_extreme(team, n, greatest, line_x, from.step, line_y, to.step, line_places, places.step);
      }
      return;
    }
    T best[kBeside];
    int64_t place[kBeside];
    int64_t work = 0;  // elements since the last test for an interrupt
    for (int64_t first = 0; first < count; first += kBeside) {
      const int64_t some = std::min(kBeside, count - first);
      for (int64_t k = 0; k < n; ++k) {
        work += some;
        if (work > kLook) {
          if (interrupted(team)) return;
          work = 0;
        }
        for (int64_t i = 0; i < some; ++i) {
          const T v = from.data[(first + i) * from.line + k * from.step];
          if (k == 0 || follows(greatest, v, best[i])) {
            best[i] = v;
            place[i] = k;
          }
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
template struct RunningExtreme<int64_t>;
template struct RunningExtreme<int32_t>;
RANVIER_INSTANTIATE(ProductBackward);

}  // namespace ranvier
