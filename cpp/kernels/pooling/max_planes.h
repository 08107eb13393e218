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

// n lanes at `to`; all of them where the plane has room, since what follows in it is written later.
template <class T>
RANVIER_INLINE void store_first(T* to, typename VecOf<T>::type v, int64_t n, int64_t room) {
  n >= lanes<T> || room >= lanes<T> ? store(to, v) : store_n(to, v, static_cast<int>(n));
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
        const int64_t room = n == L ? 0 : x.dx + rows.in * width - to;  // several vectors: row 1 is begun
        store_first(to, zip_low(even, odd), 2 * n, room);
        if (2 * n > L) store_first(to + L, zip_high(even, odd), 2 * n - L, room - L);
      }
    }
    if (rest > 0) clear(dx + 2 * out, rest), clear(dx + width + 2 * out, rest);
  }
  clear(dx, (rows.in - 2 * rows.out) * width);
}

// Stores up to two vectors of columns of dx, of which `rest` are left in the row and `room` in the plane,
// from one sum for each phase.
template <int kStride, class T>
RANVIER_INLINE void store_columns(T* dx, int64_t rest, int64_t room, const vec<T> (&sum)[kStride]) {
  constexpr int L = lanes<T>;
  if constexpr (kStride == 1) {
    store_first(dx, sum[0], rest, room);
  } else {
    store_first(dx, zip_low(sum[0], sum[1]), rest, room);
    if (rest > L) store_first(dx + L, zip_high(sum[0], sum[1]), rest - L, room - L);
  }
}

// Windows kTaps wide: sums of the columns of phase p, from what taps `tap` and lower of three vectors of
// windows take, in the order of the windows.
template <int kStride, int kPadding, int p, int tap, class V, int kTaps>
RANVIER_INLINE V sum_of_taps(const V (&before)[kTaps], const V (&here)[kTaps], const V (&after)[kTaps]) {
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
template <int kTaps, int kStride, int kPadding, class T>
static void max_gradient_of_columns(const MaxPlane<T>& plane, const PoolInputs& inputs, const PoolAxis& rows,
                                    const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const MaxPlane<T> x = plane;  // by value: a store might change what a reference names
  const PoolInputs windows = inputs;
  const int64_t out = columns.out, width = columns.in, height = rows.in;
  T* dx = x.dx;
  for (int64_t h = 0; h < height; ++h, dx += width) {
    const PoolEntries entries = windows.of[h];
    vec<T> before[kTaps] = {}, here[kTaps] = {};
    for (int64_t k = 0, rest = width + L * kStride; rest > 0; k += L, rest -= L * kStride) {
      vec<T> after[kTaps] = {};
      if (const int n = static_cast<int>(out - k < L ? out - k : L); n > 0)
        for (int64_t a = 0; a < entries.count; ++a) {
          const int64_t oh = windows.window(entries, a);
          const vec<T> v = load_lanes(x.dy + oh * x.row_dy + k, 1, n);
          const ivec<T> tap = load_offsets<T>(x.where + oh * x.row_where + k, x.where_end, n) -
                              ibroadcast<T>(windows.tap(entries, a) * kTaps);
          RANVIER_UNROLL
          for (int t = 0; t < kTaps; ++t) after[t] = select(tap == t, after[t] + v, after[t]);
        }
      if (k > 0) {
        vec<T> sum[kStride];
        sum[0] = sum_of_taps<kStride, kPadding, 0, kTaps - 1>(before, here, after);
        if constexpr (kStride == 2)
          sum[1] = sum_of_taps<kStride, kPadding, 1, kTaps - 1>(before, here, after);
        const int64_t column = (k - L) * kStride;
        store_columns<kStride>(dx + column, rest, (height - h) * width - column, sum);
      }
      RANVIER_UNROLL
      for (int t = 0; t < kTaps; ++t) before[t] = here[t], here[t] = after[t];
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
  if (rows.kernel == 0 || columns.dilation != 1) return false;
  const auto is = [&](int taps, int stride, int padding) {
    return columns.kernel == taps && columns.stride == stride && columns.padding == padding;
  };
  void (*run)(const MaxPlane<T>&, const PoolInputs&, const PoolAxis&, const PoolAxis&) = nullptr;
  if (is(3, 1, 1)) run = max_gradient_of_columns<3, 1, 1, T>;
  if (is(3, 2, 1)) run = max_gradient_of_columns<3, 2, 1, T>;
  if constexpr (RANVIER_VECTOR_BYTES >= 32)  // small code matters more at the lowest level
    if (is(2, 1, 0)) run = max_gradient_of_columns<2, 1, 0, T>;
  if constexpr (lanes<T> >= 16) {  // with fewer, max_backward.h is faster
    if (is(3, 2, 0)) run = max_gradient_of_columns<3, 2, 0, T>;
    if (is(5, 2, 2)) run = max_gradient_of_columns<5, 2, 2, T>;
  }
  if (!run) return false;
  const PoolInputs inputs = list_pool_inputs(rows, scratch);
  return each([&] { run(x, inputs, rows, columns); });
}

}  // namespace ranvier::RANVIER_ISA
