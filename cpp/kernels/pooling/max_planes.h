// max_pool2d backward over the planes of NCHW images, for one ISA level.
#pragma once
#include "base/unroll.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// One plane of dy, of where and of dx.
template <class T>
struct MaxPlane {
  const T* dy;
  const uint8_t* where;
  const uint8_t* where_end;  // up to here any load is inside the array
  int64_t row_dy, row_where;
  T* dx;
};

template <class T>
static void clear(T* p, int64_t n) {
  __builtin_memset(p, 0, sizeof(T) * n);
}

// 2 x 2 windows that do not overlap, of contiguous dy and where: each element of dx is written once.
template <class T>
static void max_gradient_of_squares(const MaxPlane<T>& x, const PoolAxis& rows, const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const int64_t out = columns.out, width = columns.in, rest = width - 2 * out;
  const int n = static_cast<int>(out < L ? out : L);
  T* dx = x.dx;
  for (int64_t oh = 0; oh < rows.out; ++oh, dx += 2 * width) {
    const T* dy = x.dy + oh * x.row_dy;
    const uint8_t* where = x.where + oh * x.row_where;
    for (int64_t i = 0; i < out; i += L) {
      const int64_t j = i > out - L && out > L ? out - L : i;  // the last vector overlaps the one before it
      const vec<T> v = n == L ? load(dy + j) : load_n(dy + j, n);
      const ivec<T> offset = load_offsets<T>(where + j, x.where_end, n);
#pragma GCC unroll 2
      for (int r = 0; r < 2; ++r) {
        const vec<T> even = select(offset == ibroadcast<T>(2 * r), v, vec<T>{});
        const vec<T> odd = select(offset == ibroadcast<T>(2 * r + 1), v, vec<T>{});
        T* to = dx + r * width + 2 * j;
        store_lanes(to, zip_low(even, odd), 2 * n < L ? 2 * n : L);
        if (2 * n > L) store_lanes(to + L, zip_high(even, odd), 2 * n - L);
      }
    }
    if (rest > 0) clear(dx + 2 * out, rest), clear(dx + width + 2 * out, rest);
  }
  clear(dx, (rows.in - 2 * rows.out) * width);
}

// Stores up to two vectors of columns of dx, of which `rest` are left, from one sum for each phase.
template <int kStride, class T>
RANVIER_INLINE void store_columns(T* dx, int64_t rest, const vec<T> (&sum)[kStride]) {
  constexpr int L = lanes<T>;
  const int n = static_cast<int>(rest < L ? rest : L), more = static_cast<int>(rest < 2 * L ? rest - L : L);
  if constexpr (kStride == 1) {
    store_lanes(dx, sum[0], n);
  } else {
    store_lanes(dx, zip_low(sum[0], sum[1]), n);
    if (more > 0) store_lanes(dx + L, zip_high(sum[0], sum[1]), more);
  }
}

// Windows 3 wide: sums of the columns of phase p, from what taps `tap` and lower of three vectors of windows
// take, in the order of the windows.
template <int kStride, int kPadding, int p, int tap, class V>
RANVIER_INLINE V sum_of_taps(const V (&before)[3], const V (&here)[3], const V (&after)[3]) {
  constexpr int from = p + kPadding - tap, shift = from / kStride;
  if constexpr (from % kStride != 0) {
    return sum_of_taps<kStride, kPadding, p, tap - 1>(before, here, after);
  } else {
    V v = here[tap];
    if constexpr (shift < 0) v = from_lane<lanes_of<V> + shift>(before[tap], here[tap], AllLanes<V>());
    if constexpr (shift > 0) v = from_lane<shift>(here[tap], after[tap], AllLanes<V>());
    if constexpr (tap < kStride) return v;
    if constexpr (tap >= kStride)
      return v + sum_of_taps<kStride, kPadding, p, tap - kStride>(before, here, after);
  }
}

// What each tap takes is added up where its windows are, then moved to its column.
template <int kStride, int kPadding, class T>
static void max_gradient_of_threes(const MaxPlane<T>& plane, const PoolInputs& inputs, const PoolAxis& rows,
                                   const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const MaxPlane<T> x = plane;  // by value: a store might change what a reference names
  const PoolInputs windows = inputs;
  const int64_t out = columns.out, width = columns.in, height = rows.in;
  T* dx = x.dx;
  for (int64_t h = 0; h < height; ++h, dx += width) {
    const PoolEntries entries = windows.of[h];
    vec<T> before[3] = {}, here[3] = {};
    for (int64_t k = 0, rest = width + L * kStride; rest > 0; k += L, rest -= L * kStride) {
      vec<T> after[3] = {};
      if (const int n = static_cast<int>(out - k < L ? out - k : L); n > 0)
        for (int64_t a = 0; a < entries.count; ++a) {
          const int64_t oh = windows.window(entries, a);
          const vec<T> v = load_lanes(x.dy + oh * x.row_dy + k, 1, n);
          const ivec<T> tap = load_offsets<T>(x.where + oh * x.row_where + k, x.where_end, n) -
                              ibroadcast<T>(windows.tap(entries, a) * 3);
          RANVIER_UNROLL
          for (int t = 0; t < 3; ++t) after[t] = select(tap == t, after[t] + v, after[t]);
        }
      if (k > 0) {
        vec<T> sum[kStride];
        sum[0] = sum_of_taps<kStride, kPadding, 0, 2>(before, here, after);
        if constexpr (kStride == 2) sum[1] = sum_of_taps<kStride, kPadding, 1, 2>(before, here, after);
        store_columns<kStride>(dx + (k - L) * kStride, rest, sum);
      }
      for (int t = 0; t < 3; ++t) before[t] = here[t], here[t] = after[t];
    }
  }
}

static inline bool is_square_pool(const PoolAxis& a) {
  return a.kernel == 2 && a.stride == 2 && a.dilation == 1 && all_inside(a);
}

// Planes (n, c), where there is vector code for the windows; false where there is none.
template <class T>
static bool max_pool2d_planes(const MaxPool2dBackward<T, uint8_t>& f, int64_t begin, int64_t end,
                              void* scratch) {
  const PoolAxis &rows = f.rows, &columns = f.columns;
  if (f.dy.strides[3] != 1 || f.where.strides[3] != 1) return false;
  MaxPlane<T> x{nullptr, nullptr, end_of(f.where), f.dy.strides[2], f.where.strides[2], nullptr};
  const auto each = [&](const auto& plane) {
    for (RowWalk at(begin, f.dx.shape[1], 1); begin < end; ++begin, at.next()) {
      x.dy = f.dy.data + at.n * f.dy.strides[0] + at.row * f.dy.strides[1];
      x.where = f.where.data + at.n * f.where.strides[0] + at.row * f.where.strides[1];
      x.dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[1];
      plane();
    }
    return true;
  };
  if (is_square_pool(rows) && is_square_pool(columns))
    return each([&] { max_gradient_of_squares(x, rows, columns); });
  if (columns.kernel != 3 || columns.dilation != 1 || columns.padding > 1) return false;
  const auto threes = columns.stride == 1 && columns.padding   ? max_gradient_of_threes<1, 1, T>
                      : columns.stride == 2 && columns.padding ? max_gradient_of_threes<2, 1, T>
                      : columns.stride == 2 && lanes<T> >= 16
                          ? max_gradient_of_threes<2, 0, T>
                          : nullptr;  // measured slower than max_backward.h
  if (!threes) return false;
  const PoolInputs inputs = list_pool_inputs(rows, scratch);
  return each([&] { threes(x, inputs, rows, columns); });
}

}  // namespace ranvier::RANVIER_ISA
