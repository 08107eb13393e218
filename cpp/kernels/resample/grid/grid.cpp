// GridSample and GridSampleBackward (grid.h): threads divide parts of grids in the forward, images in the
// backward.
#include "kernels/resample/grid/grid.h"

#include <algorithm>
#include <type_traits>

#include "base/parallel.h"

namespace ranvier {
namespace {

// The part of image i that begins at point `first`, from the forward or backward call.
template <class Call>
auto part_of(const Call& call, int64_t i, int64_t first) {
  using T = std::remove_const_t<std::remove_pointer_t<decltype(call.x.data)>>;
  GridPart<T> part{};
  part.settings = call.settings;
  part.c = call.x.shape[1];
  part.h = call.x.shape[2];
  part.w = call.x.shape[3];
  part.points = call.grid.shape[1] * call.grid.shape[2];
  part.x = call.x.data + i * part.c * part.h * part.w;
  part.grid = call.grid.data + 2 * (i * part.points + first);
  part.count = int(std::min(kGridPoints, part.points - first));
  return part;
}

// The offset in y or dy of the values at point `first` of image i.
template <class T>
int64_t place(const GridPart<T>& part, int64_t i, int64_t first) {
  const int64_t step = part.settings.channels_last ? part.c : 1;  // from point to point
  return i * part.c * part.points + first * step;
}

double cost_ns(const GridSettings& settings, int64_t channels) {  // of a point
  double taps = 1;                                                // pixels around a point
  if (settings.mode == GridMode::bilinear) taps = 4;
  if (settings.mode == GridMode::bicubic) taps = 16;
  return 3 + taps * (0.4 + 0.2 * double(channels));
}

}  // namespace

template <class T>
void GridSample<T>::run(const Team& team, void*) const {
  const int64_t points = grid.shape[1] * grid.shape[2];
  const int64_t parts = (points + kGridPoints - 1) / kGridPoints;
  const double cost = cost_ns(settings, x.shape[1]) * double(x.shape[0] * points);
  team.parallel_for(x.shape[0] * parts, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    for (int64_t k = begin; k < end && !interrupted(team); ++k) {
      const int64_t i = k / parts;
      const int64_t first = k % parts * kGridPoints;
      GridPart<T> part = part_of(*this, i, first);
      part.y = y.data + place(part, i, first);
      grid_kernels<T>().forward(part);
    }
  });
}

template <class T>
void GridSampleBackward<T>::run(const Team& team, void*) const {
  const int64_t points = grid.shape[1] * grid.shape[2];
  const int64_t n = x.shape[0];
  const int64_t size = x.shape[1] * x.shape[2] * x.shape[3];
  const double cost = 3 * cost_ns(settings, x.shape[1]) * double(n * points);
  team.parallel_for(n, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      if (dx.data) std::fill_n(dx.data + i * size, size, T(0));
      for (int64_t first = 0; first < points && !interrupted(team); first += kGridPoints) {
        GridPart<T> part = part_of(*this, i, first);
        part.dy = dy.data + place(part, i, first);
        part.dx = dx.data ? dx.data + i * size : nullptr;
        part.dgrid = dgrid.data ? dgrid.data + 2 * (i * points + first) : nullptr;
        grid_kernels<T>().backward(part);
      }
    }
  });
}

RANVIER_INSTANTIATE(GridSample);
RANVIER_INSTANTIATE(GridSampleBackward);

}  // namespace ranvier
