// max_pool2d backward over channels, for one ISA level: each row of dx from its windows, column after column.
#pragma once
#include "base/interrupt.h"
#include "base/unroll.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::RANVIER_ISA {

// The windows that a row of dx is in: the first of each row of windows, and the offset of tap 0 of the row of
// dx in the first row of windows. Further rows of windows are `step` apart.
template <class T>
struct GradientRow {
  const T* dy;
  const uint8_t* where;
  int64_t count, step_dy, step_where, base, step_base;
  int64_t column_dy, column_where;
  int64_t out, width, padding, channels;
};

// A row of dx, channels [i, i + n): kWhole: kVectors whole vectors, else n < lanes. Windows are kTaps wide
// and kStride apart. The sums of the columns that the next windows reach stay in registers. A pixel's windows
// are added column by column, each from the top.
template <int kTaps, int kStride, int kVectors, bool kWhole, class T>
static void max_gradient_of_channels(const Team& team, const GradientRow<T>& row, int64_t i, int n, T* dx) {
  constexpr int L = lanes<T>;
  const GradientRow<T> x = row;  // by value: a store might change what a reference names
  vec<T> sum[kTaps][kVectors] = {};
  const auto put = [&](const vec<T>(&v)[kVectors], int64_t column) RANVIER_INLINED {
    T* to = dx + column * x.channels + i;
    RANVIER_UNROLL
    for (int k = 0; k < kVectors; ++k) kWhole ? store(to + k * L, v[k]) : store_n(to, v[k], n);
  };
  const T* dy = x.dy + i;
  const uint8_t* where = x.where + i;
  int64_t column = -x.padding;
  for (int64_t ow = 0; ow < x.out; ++ow, dy += x.column_dy, where += x.column_where, column += kStride) {
    if ((ow & 1023) == 1023 && interrupted(team)) return;
    for (int64_t a = 0; a < x.count; ++a) {
      const uint8_t base = static_cast<uint8_t>(x.base - a * x.step_base);
      const ByteOffsets<kVectors, kWhole, T> offsets(where + a * x.step_where, base, n);
      const T* p = dy + a * x.step_dy;
      vec<T> v[kVectors];
      RANVIER_UNROLL
      for (int k = 0; k < kVectors; ++k) v[k] = kWhole ? load(p + k * L) : load_n(p, n);
      RANVIER_UNROLL
      for (int tap = 0; tap < kTaps; ++tap) offsets.add(tap, v, sum[tap]);
    }
    RANVIER_UNROLL
    for (int s = 0; s < kStride; ++s)
      if (static_cast<uint64_t>(column + s) < static_cast<uint64_t>(x.width)) put(sum[s], column + s);
    RANVIER_UNROLL
    for (int tap = 0; tap < kTaps; ++tap) RANVIER_UNROLL
    for (int k = 0; k < kVectors; ++k)
      sum[tap][k] = tap + kStride < kTaps ? sum[(tap + kStride) % kTaps][k] : vec<T>{};
  }
  RANVIER_UNROLL
  for (int s = 0; s < kTaps - kStride; ++s, ++column)
    if (static_cast<uint64_t>(column) < static_cast<uint64_t>(x.width)) put(sum[s], column);
  const vec<T> none[kVectors] = {};
  for (column = column < 0 ? 0 : column; column < x.width; ++column) put(none, column);
}

template <int kTaps, int kStride, class T>
static void max_gradient_of_row(const Team& team, const GradientRow<T>& x, T* dx) {
  constexpr int L = lanes<T>;
  const int64_t channels = x.channels;
  int64_t i = 0;
  for (; i + 4 * L <= channels; i += 4 * L)
    max_gradient_of_channels<kTaps, kStride, 4, true>(team, x, i, 4 * L, dx);
  for (; i + 2 * L <= channels; i += 2 * L)
    max_gradient_of_channels<kTaps, kStride, 2, true>(team, x, i, 2 * L, dx);
  if (channels < L)
    max_gradient_of_channels<kTaps, kStride, 1, false>(team, x, 0, static_cast<int>(channels), dx);
  else  // the last overlaps the one before
    for (; i < channels; i += L)
      max_gradient_of_channels<kTaps, kStride, 1, true>(team, x, i > channels - L ? channels - L : i, L, dx);
}

// A row of dx in at most one row of windows, which are side by side: each window writes its own columns.
template <class T>
static void max_gradient_of_tiles(const GradientRow<T>& x, const PoolAxis& columns, T* dx) {
  constexpr int L = lanes<T>;
  const int64_t channels = x.channels;
  const T *dy = x.dy, *end = dx + x.width * channels;
  const uint8_t* where = x.where;
  const ivec<T> first = ibroadcast<T>(x.base);
  for (int64_t ow = 0; ow < (x.count ? x.out : 0); ++ow, dy += x.column_dy, where += x.column_where) {
    for (int64_t i = 0; i < channels; i += L) {
      const int64_t j = i > channels - L ? channels - L : i;  // the last overlaps the one before
      const vec<T> v = load(dy + j);
      ivec<T> tap = widen_bytes(where + j, T{}) - first;
      for (T* to = dx + j; to < dx + columns.kernel * channels; to += channels, tap -= 1)
        store(to, select(tap == 0, v, vec<T>{}));
    }
    dx += columns.kernel * channels;
  }
  for (; dx < end; ++dx) *dx = 0;
}

// Rows (n, h) of a channels-last dx; false where max_backward.h is faster, or the channels are not
// contiguous.
template <class T>
static bool max_pool2d_gather(const Team& team, const MaxPool2dBackward<T, uint8_t>& f, int64_t begin,
                              int64_t end, void* scratch) {
  const PoolAxis &rows = f.rows, &columns = f.columns;
  const int64_t channels = f.dx.shape[1], least = RANVIER_VECTOR_BYTES == 64 ? 8 : lanes<T>;
  if (f.dy.strides[1] != 1 || f.where.strides[1] != 1 || channels < least) return false;
  if (rows.kernel == 0 || columns.kernel == 0 || columns.dilation != 1) return false;
  const bool tiles = columns.stride == columns.kernel && all_inside(columns) && rows.stride >= rows.kernel &&
                     rows.dilation == 1 && channels >= lanes<T>;
  void (*run)(const Team&, const GradientRow<T>&, T*) = nullptr;
  if constexpr (RANVIER_VECTOR_BYTES >= 32 && sizeof(T) == 4)  // elsewhere small code matters more
    run = columns.kernel == 3 && columns.stride == 2   ? max_gradient_of_row<3, 2, T>
          : columns.kernel == 3 && columns.stride == 1 ? max_gradient_of_row<3, 1, T>
          : columns.kernel == 2 && columns.stride == 2 ? max_gradient_of_row<2, 2, T>
          : columns.kernel == 2 && columns.stride == 1 ? max_gradient_of_row<2, 1, T>
                                                       : nullptr;
  if (!tiles && !run) return false;
  const PoolInputs inputs = list_pool_inputs(rows, scratch);
  GradientRow<T> x{};
  x.step_dy = inputs.window_step * f.dy.strides[2], x.step_where = inputs.window_step * f.where.strides[2];
  x.step_base = inputs.tap_step * columns.kernel;
  x.column_dy = f.dy.strides[3], x.column_where = f.where.strides[3];
  x.out = columns.out, x.width = columns.in, x.padding = columns.padding, x.channels = channels;
  for (RowWalk at(begin, rows.in, 1); begin < end; ++begin, at.next()) {
    const PoolEntries entries = inputs.of[at.row];
    x.dy = f.dy.data + at.n * f.dy.strides[0] + entries.window * f.dy.strides[2];
    x.where = f.where.data + at.n * f.where.strides[0] + entries.window * f.where.strides[2];
    x.count = entries.count, x.base = entries.tap * columns.kernel;
    T* dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[2];
    tiles ? max_gradient_of_tiles(x, columns, dx) : run(team, x, dx);
    if ((begin & 63) == 63 && interrupted(team)) return true;
  }
  return true;
}

}  // namespace ranvier::RANVIER_ISA
