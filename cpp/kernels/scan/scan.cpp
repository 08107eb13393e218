#include "kernels/scan/scan.h"

#include "base/parallel.h"
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
  const LoopNest<2> nest = lines_along(axis, x, y);
  const int last = nest.ndim - 1;
  const int64_t n = x.shape[axis];
  const auto function = scan_kernels<T>().scan[static_cast<int>(op)][reverse];
  if (n == 0) return;
  team.parallel_for(nest.size, cost_ns<T>(0.3, nest.size * n),
                    [&](const OpenTeam& team, int64_t begin, int64_t end) {
                      nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[2]) {
                        ScanLines<T> lines{};
                        lines.team = &team, lines.count = count, lines.n = n;
                        lines.x = {x.data + offsets[0], nest.strides[0][last], x.strides[axis]};
                        lines.out = {y.data + offsets[1], nest.strides[1][last], y.strides[axis]};
                        function(lines);
                      });
                    });
}

template <class T>
void ProductBackward<T>::run(const Team& team, void*) const {
  const LoopNest<3> nest = lines_along(axis, dy, x, dx);
  const int last = nest.ndim - 1;
  const int64_t n = dx.shape[axis];
  if (n == 0) return;
  const auto function = scan_kernels<T>().product_backward;
  team.parallel_for(
      nest.size, cost_ns<T>(1.0, nest.size * n), [&](const OpenTeam& team, int64_t begin, int64_t end) {
        nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[3]) {
          ScanLines<T> lines{};
          lines.team = &team, lines.count = count, lines.n = n, lines.only_last = dy.shape[axis] == 1;
          lines.dy = {dy.data + offsets[0], nest.strides[0][last], dy.strides[axis]};
          lines.x = {x.data + offsets[1], nest.strides[1][last], x.strides[axis]};
          lines.out = {dx.data + offsets[2], nest.strides[2][last], dx.strides[axis]};
          function(lines);
        });
      });
}

RANVIER_INSTANTIATE(Scan);
RANVIER_INSTANTIATE(ProductBackward);

}  // namespace ranvier
