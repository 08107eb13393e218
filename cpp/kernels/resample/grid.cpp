// Few operations at any place in memory: compiled once, for the baseline.
#include "kernels/resample/grid.h"

#include <algorithm>
#include <cmath>

#include "base/parallel.h"

namespace ranvier {
namespace {

// A pixel within the image, its weight, and the slopes of that by the point's column and row.
template <class T>
struct Tap {
  int64_t row, column;
  T weight, by_column, by_row;
};

// The taps of a point, in the order of rows; how many there are.
template <class T>
int taps_of(bool nearest, T column, T row, int64_t h, int64_t w, Tap<T>* taps) {
  if (!(column > -1 && column < T(w) && row > -1 && row < T(h))) return 0;
  if (nearest) {
    const auto i = int64_t(std::rint(row)), j = int64_t(std::rint(column));
    taps[0] = {i, j, T(1), T(0), T(0)};
    return i >= 0 && i < h && j >= 0 && j < w;
  }
  const T top = std::floor(row), left = std::floor(column);
  int count = 0;
  for (int down = 0; down < 2; ++down)
    for (int right = 0; right < 2; ++right) {
      const int64_t i = int64_t(top) + down, j = int64_t(left) + right;
      if (i < 0 || i >= h || j < 0 || j >= w) continue;
      const T of_row = down ? row - top : T(1) - (row - top);
      const T of_column = right ? column - left : T(1) - (column - left);
      taps[count++] = {i, j, of_row * of_column, right ? of_row : -of_row, down ? of_column : -of_column};
    }
  return count;
}

template <class T>
double cost_ns(const TensorView<const T>& x) {  // of a point
  return 20.0 + 4.0 * static_cast<double>(x.shape[1]);
}

}  // namespace

template <class T>
void GridSample<T>::run(const Team& team, void*) const {
  const int64_t c = x.shape[1], h = x.shape[2], w = x.shape[3], points = columns.shape[1] * columns.shape[2];
  const int64_t count = columns.shape[0] * points;
  team.parallel_for(count, cost_ns<T>(x) * double(count), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      Tap<T> taps[4];
      const T column = columns.data[i], row = rows.data[i];
      const int used = taps_of<T>(nearest, column, row, h, w, taps);
      T* to = y.data + i * c;
      std::fill_n(to, c, column != column || row != row ? column + row : T(0));
      const T* image = x.data + i / points * x.strides[0];
      for (int k = 0; k < used; ++k) {
        const T* from = image + taps[k].row * x.strides[2] + taps[k].column * x.strides[3];
        for (int64_t channel = 0; channel < c; ++channel)
          to[channel] += taps[k].weight * from[channel * x.strides[1]];
      }
    }
  });
}

template <class T>
void GridSampleBackward<T>::run(const Team& team, void*) const {
  const int64_t c = x.shape[1], h = x.shape[2], w = x.shape[3], points = columns.shape[1] * columns.shape[2];
  const int64_t n = columns.shape[0];
  const double cost = 2 * cost_ns<T>(x) * double(n * points);
  team.parallel_for(n, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
    for (int64_t image = begin; image < end && !interrupted(team); ++image) {
      const T* pixels = x.data + image * x.strides[0];
      T* slopes = dx.data + image * h * w * c;
      std::fill_n(slopes, h * w * c, T(0));
      for (int64_t i = image * points; i < (image + 1) * points; ++i) {
        Tap<T> taps[4];
        const T column = columns.data[i], row = rows.data[i];
        const int used = taps_of<T>(nearest, column, row, h, w, taps);
        const T* above = dy.data + i * c;
        T by_column = 0, by_row = 0;
        for (int k = 0; k < used; ++k) {
          const T* from = pixels + taps[k].row * x.strides[2] + taps[k].column * x.strides[3];
          T* to = slopes + (taps[k].row * w + taps[k].column) * c;
          T product = 0;
          for (int64_t channel = 0; channel < c; ++channel) {
            product += above[channel] * from[channel * x.strides[1]];
            to[channel] += above[channel] * taps[k].weight;
          }
          if (nearest) continue;
          by_column += product * taps[k].by_column, by_row += product * taps[k].by_row;
        }
        dcolumns.data[i] = by_column, drows.data[i] = by_row;
      }
    }
  });
}

RANVIER_INSTANTIATE(GridSample);
RANVIER_INSTANTIATE(GridSampleBackward);

}  // namespace ranvier
