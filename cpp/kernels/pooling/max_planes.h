// max_pool2d backward over the planes of NCHW images, for one ISA level.
#pragma once
#include "base/unroll.h"
#include "kernels/pooling/lanes.h"
#include "kernels/pooling/pooling.h"
#include "kernels/pooling/row_buffer.h"

namespace ranvier::RANVIER_ISA {

// One plane of dy, of where and of dx.
template <class T, class Offset>
struct MaxPlane {
  const T* dy;
  const Offset* where;
  const Offset* where_end;  // up to here any load is inside the array
  int64_t row_dy, column_dy, row_where, column_where;
  T* dx;
};

template <class T>
static void clear(T* p, int64_t n) {
  __builtin_memset(p, 0, sizeof(T) * n);
}

// 2 x 2 windows that do not overlap, of contiguous dy and where: each element of dx is written once.
template <class T, class Offset>
static void max_gradient_of_squares(const MaxPlane<T, Offset>& x, const PoolAxis& rows,
                                    const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const int64_t out = columns.out, width = columns.in, rest = width - 2 * out;
  const int n = static_cast<int>(out < L ? out : L);
  T* dx = x.dx;
  for (int64_t oh = 0; oh < rows.out; ++oh, dx += 2 * width) {
    const T* dy = x.dy + oh * x.row_dy;
    const Offset* where = x.where + oh * x.row_where;
    for (int64_t i = 0; i < out; i += L) {
      const int64_t j = i > out - L && out > L ? out - L : i;  // the last vector overlaps the one before it
      const vec<T> v = n == L ? load(dy + j) : load_n(dy + j, n);
      const ivec<T> offset = load_contiguous_offsets<T>(where + j, x.where_end, n);
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

// Windows of stride 1 or 2. A column stride * k + p of dx takes from windows k + shift, by tap s.
struct PhaseTaps {
  int32_t shift[kMostTaps], s[kMostTaps];
  int count;
};

RANVIER_RARE void find_taps(const PoolAxis& columns, int64_t p, PhaseTaps& taps) {
  taps.count = 0;
  for (int64_t tap = columns.kernel - 1; tap >= 0; --tap) {  // the windows in order
    const int64_t from = p + columns.padding - tap * columns.dilation;
    if (from & (columns.stride - 1)) continue;
    taps.shift[taps.count] = static_cast<int32_t>(from >> (columns.stride - 1));
    taps.s[taps.count++] = static_cast<int32_t>(tap);
  }
}

// The rows of dy, and of offsets as numbers of T's size, that a row of dx is made of, with zeros around them.
template <class T>
struct RowRing {
  T *dy, *offsets;
  int64_t size, before, slots;  // slots: a power of two
};

template <class T>
static RowRing<T> make_ring(const PoolAxis& rows, const PoolAxis& columns, void* memory) {
  const int64_t size = pool_ring_row(columns), slots = pool_ring_slots(rows);
  T* dy = static_cast<T*>(memory);
  fill(dy, 2 * size * slots, vec<T>{});
  return {dy, dy + size * slots, size, pool_ring_before(columns), slots};
}

template <class T, class Offset>
static void load_row(const RowRing<T>& ring, const MaxPlane<T, Offset>& x, int64_t out, int64_t oh) {
  const int64_t at = (oh & (ring.slots - 1)) * ring.size + ring.before;
  const T* from = x.dy + oh * x.row_dy;
  const Offset* where = x.where + oh * x.row_where;
  for (int64_t i = 0; i < out; i += lanes<T>) {
    // Whole vectors, 0 after the last window: a masked store delays the loads after it.
    const int n = static_cast<int>(out - i < lanes<T> ? out - i : lanes<T>);
    store(ring.dy + at + i, load_lanes(from + i * x.column_dy, x.column_dy, n));
    const ivec<T> found = x.column_where == 1
                              ? load_contiguous_offsets<T>(where + i, x.where_end, n)
                              : load_some_offsets<T>(where + i * x.column_where, x.column_where, n);
    store(ring.offsets + at + i, from_bits(found));
  }
}

// Adds what the taps of one row of windows give to the columns from stride * k on, one sum for each phase. dy
// and offsets are the ring's at window k, `first` is the offset of tap 0.
template <int kStride, class T>
RANVIER_INLINE void add_taps(const PhaseTaps* taps, const T* dy, const T* offsets, int32_t first,
                             vec<T> (&sum)[kStride]) {
  RANVIER_UNROLL
  for (int p = 0; p < kStride; ++p)
    for (int t = 0; t < taps[p].count; ++t) {
      const int64_t shift = taps[p].shift[t];
      const ivec<T> mine = ibroadcast<T>(first + taps[p].s[t]);
      sum[p] = sum[p] + select(bits(load(offsets + shift)) == mine, load(dy + shift), vec<T>{});
    }
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

// A row of dx, from the entries of its row.
template <int kStride, class T>
static void max_gradient_of_row(const RowRing<T>& ring, const PoolInputs& rows, const PoolEntries& entries,
                                const PhaseTaps* taps, const PoolAxis& columns, T* dx) {
  constexpr int L = lanes<T>;
  const int64_t to_offsets = ring.offsets - ring.dy;
  const T* place[kMostTaps];
  for (int64_t a = 0; a < entries.count; ++a)
    place[a] = ring.dy + (rows.window(entries, a) & (ring.slots - 1)) * ring.size + ring.before;
  for (int64_t k = 0; k * kStride < columns.in; k += L) {
    vec<T> sum[kStride] = {};
    for (int64_t a = 0; a < entries.count; ++a) {
      const T* dy = place[a] + k;
      const int32_t first = static_cast<int32_t>(rows.tap(entries, a) * columns.kernel);
      add_taps<kStride>(taps, dy, dy + to_offsets, first, sum);
    }
    store_columns<kStride>(dx + k * kStride, columns.in - k * kStride, sum);
  }
}

template <class T, class Offset>
static void max_gradient_of_plane(const MaxPlane<T, Offset>& x, const PoolAxis& rows, const PoolAxis& columns,
                                  const PoolInputs& inputs, const RowRing<T>& ring, const PhaseTaps* taps) {
  const auto row = columns.stride == 1 ? max_gradient_of_row<1, T> : max_gradient_of_row<2, T>;
  T* dx = x.dx;
  int64_t loaded = 0;
  for (int64_t h = 0; h < rows.in; ++h, dx += columns.in) {
    const PoolEntries entries = inputs.of[h];
    if (entries.count > 0)
      for (; loaded <= inputs.window(entries, entries.count - 1); ++loaded)
        load_row(ring, x, columns.out, loaded);
    row(ring, inputs, entries, taps, columns, dx);
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
template <int kStride, int kPadding, class T, class Offset>
static void max_gradient_of_threes(const MaxPlane<T, Offset>& plane, const PoolInputs& inputs,
                                   const PoolAxis& rows, const PoolAxis& columns) {
  constexpr int L = lanes<T>;
  const MaxPlane<T, Offset> x = plane;  // by value: a store might change what a reference names
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
          const ivec<T> tap = load_contiguous_offsets<T>(x.where + oh * x.row_where + k, x.where_end, n) -
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

// Any windows: each adds to its maximum, in order. Offsets outside the image are ignored.
template <class T, class Offset>
static __attribute__((noinline, cold)) void scatter_plane(const Team& team, const MaxPlane<T, Offset>& x,
                                                          const PoolAxis& rows, const PoolAxis& columns) {
  using Unsigned = std::conditional_t<sizeof(Offset) == 1, uint32_t, uint64_t>;
  const uint64_t height = rows.in, width = columns.in;
  const Unsigned taps = static_cast<Unsigned>(pool_taps(columns)), all = taps * pool_taps(rows);
  clear(x.dx, rows.in * columns.in);
  for (int64_t oh = 0; oh < rows.out && !interrupted(team); ++oh) {
    const int64_t top = pool_window(rows, oh).start;
    for (int64_t ow = 0; ow < columns.out; ++ow) {
      const Unsigned offset = static_cast<Unsigned>(x.where[oh * x.row_where + ow * x.column_where]);
      if (offset >= all) continue;
      const uint64_t h = top + offset / taps * rows.dilation;
      const uint64_t w = pool_window(columns, ow).start + offset % taps * columns.dilation;
      if (h < height && w < width) x.dx[h * width + w] += x.dy[oh * x.row_dy + ow * x.column_dy];
    }
  }
}

static inline bool is_square_pool(const PoolAxis& a) {
  return a.kernel == 2 && a.stride == 2 && a.dilation == 1 && all_inside(a);
}

// Planes (n, c).
template <class T, class Offset>
static void max_pool2d_planes(const Team& team, const MaxPool2dBackward<T, Offset>& f, int64_t begin,
                              int64_t end, void* scratch) {
  const PoolAxis &rows = f.rows, &columns = f.columns;
  MaxPlane<T, Offset> x{nullptr,
                        nullptr,
                        end_of(f.where),
                        f.dy.strides[2],
                        f.dy.strides[3],
                        f.where.strides[2],
                        f.where.strides[3],
                        nullptr};
  const auto each = [&](const auto& plane) {
    for (RowWalk at(begin, f.dx.shape[1], 1); begin < end; ++begin, at.next()) {
      x.dy = f.dy.data + at.n * f.dy.strides[0] + at.row * f.dy.strides[1];
      x.where = f.where.data + at.n * f.where.strides[0] + at.row * f.where.strides[1];
      x.dx = f.dx.data + at.n * f.dx.strides[0] + at.row * f.dx.strides[1];
      plane();
    }
  };
  if constexpr (sizeof(Offset) == 1) {
    const bool contiguous = x.column_dy == 1 && x.column_where == 1;
    if (is_square_pool(rows) && is_square_pool(columns) && contiguous)
      return each([&] { max_gradient_of_squares(x, rows, columns); });
    const bool three = contiguous && columns.kernel == 3 && columns.dilation == 1 && columns.padding <= 1;
    const auto threes =
        three && columns.stride == 2 ? columns.padding ? max_gradient_of_threes<2, 1, T, Offset>
                                                       : max_gradient_of_threes<2, 0, T, Offset>
        : three && columns.stride == 1 && columns.padding ? max_gradient_of_threes<1, 1, T, Offset>
                                                          : nullptr;
    if (threes) {
      const PoolInputs inputs = list_pool_inputs(rows, scratch);
      return each([&] { threes(x, inputs, rows, columns); });
    }
    if (has_pool_ring(rows, columns) &&
        2 * rows.kernel * columns.kernel <= 5 * lanes<T>) {  // else measured slower
      const PoolInputs inputs = list_pool_inputs(rows, scratch);
      const RowRing<T> ring =
          make_ring<T>(rows, columns, static_cast<char*>(scratch) + pool_inputs_bytes(rows));
      PhaseTaps taps[2];
      find_taps(columns, 0, taps[0]), find_taps(columns, 1, taps[1]);
      return each([&] { max_gradient_of_plane(x, rows, columns, inputs, ring, taps); });
    }
  }
  each([&] { scatter_plane(team, x, rows, columns); });
}

template <class T, class Offset>
static void max_pool2d_backward(const Team& team, const MaxPool2dBackward<T, Offset>& f, int64_t begin,
                                int64_t end, void* scratch) {
  if (f.channels_last)
    max_pool2d_gather(team, f, begin, end, scratch);
  else
    max_pool2d_planes(team, f, begin, end, scratch);
}

}  // namespace ranvier::RANVIER_ISA
