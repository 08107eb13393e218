// The calls of copy.h except cast, divided among threads. A copy goes by runs of elements, by contiguous
// rows, or by transposed squares, whichever the strides allow (copy_floats).
#include "kernels/copy/copy.h"

#include <algorithm>
#include <cstring>

#include "base/caches.h"
#include "base/integers.h"
#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {

namespace {

constexpr double kNsPerByte = 0.06;  // of a copy on one thread, roughly
constexpr int64_t kPixels = 1024;    // pixels of three channels that a thread converts at a time
constexpr int64_t kManyRows = 16;    // from so many rows, or matrices, on each thread copies whole ones
// join_rows: the bytes of y for which each x is read in one go, and those of a large y that are made in a
// buffer and then copied.
constexpr int64_t kJoinedBytes = 1 << 14;
constexpr int64_t kBufferBytes = 1 << 14;
// Longer rows go to memcpy, which stores without reading the line first.
constexpr int64_t kLongBytes = 1 << 13;

// y[i] = x[-i], in bytes
void reverse_bytes(int64_t n, const char* x, char* y) {
  int64_t i = 0;
  for (; i + 8 <= n; i += 8) {
    uint64_t some;
    std::memcpy(&some, x - i - 7, 8);
    some = __builtin_bswap64(some);
    std::memcpy(y + i, &some, 8);
  }
  for (; i < n; ++i) y[i] = x[-i];
}

// The general way: run by run of the innermost dimension; one run if both arrays have the same dense layout.
template <class T>
void copy_elements(const Team& team, const LoopNest<2>& nest, const Copy<T>& c) {
  const int64_t step_x = nest.strides[0][nest.ndim - 1];
  const int64_t step_y = nest.strides[1][nest.ndim - 1];
  team.walk(nest, kNsPerByte * sizeof(T) * nest.size, [&](int64_t n, const int64_t* offsets) {
    const T* x = c.x.data + offsets[0];
    T* y = c.y.data + offsets[1];
    if (step_x == 1 && step_y == 1) {
      std::memcpy(y, x, n * sizeof(T));
      return;
    }
    if (step_x == -1 && step_y == 1) {
      if constexpr (sizeof(T) > 2) return copy_kernels<T>().reverse(n, x, y);
      if constexpr (sizeof(T) == 1)
        return reverse_bytes(n, reinterpret_cast<const char*>(x), reinterpret_cast<char*>(y));
    }
    for (int64_t i = 0; i < n; ++i) y[i * step_y] = x[i * step_x];
  });
}

// The nest without dimensions d and `other`.
LoopNest<2> without(const LoopNest<2>& nest, int d, int other) {
  int64_t shape[kMaxDims];
  std::copy(nest.shape, nest.shape + nest.ndim, shape);
  shape[d] = 1;
  shape[other] = 1;
  return LoopNest<2>(nest.ndim, shape, {nest.strides[0], nest.strides[1]});
}

// Copies rows (the innermost dimension), which are contiguous in x and y.
template <class T>
void copy_rows(const Team& team, const LoopNest<2>& nest, const Copy<T>& c) {
  const int inner = nest.ndim - 1;
  const int64_t n = nest.shape[inner];
  const LoopNest<2> rows = without(nest, inner, inner);
  // From one row to the next along the innermost dimension of `rows`, which walk() gives piece by piece.
  const int64_t* step_x = rows.strides[0] + rows.ndim - 1;
  const int64_t* step_y = rows.strides[1] + rows.ndim - 1;
  team.walk(rows, kNsPerByte * sizeof(T) * nest.size, [&](int64_t count, const int64_t* offsets) {
    if (n * int64_t(sizeof(T)) >= kLongBytes) {
      for (int64_t i = 0; i < count; ++i)
        std::memcpy(c.y.data + offsets[1] + i * *step_y, c.x.data + offsets[0] + i * *step_x, n * sizeof(T));
      return;
    }
    copy_kernels<T>().copy_rows(count, n, c.x.data + offsets[0], *step_x, c.y.data + offsets[1], *step_y);
  });
}

// x is contiguous along dimension along_x, y along the innermost one. Strips of `lanes` rows of y are
// transposed. If one of the two dimensions has the three channels of a picture, join_planes or part_planes
// take many pixels at a time.
template <class T>
void transpose(const Team& team, const LoopNest<2>& nest, int along_x, const Copy<T>& c) {
  const CopyKernels<T>& kernels = copy_kernels<T>();
  const int inner = nest.ndim - 1;
  const int64_t rows = nest.shape[along_x];
  const int64_t n = nest.shape[inner];
  const int64_t step_x = nest.strides[0][inner];
  const int64_t step_y = nest.strides[1][along_x];
  const LoopNest<2> outer = without(nest, along_x, inner);
  const bool joins = n == 3 && step_y == 3;
  const bool parts = rows == 3 && step_x == 3;
  // The rows of y in a strip, or for part_planes the columns of y.
  const int64_t strip = joins || parts ? kPixels : kernels.lanes;
  const int64_t length = parts ? n : rows;
  const int64_t strips = ceil_div(length, strip);
  const auto copy_strip = [&](int64_t index, const T* x, T* y) {
    const int64_t first = index * strip;
    const int64_t count = std::min(strip, length - first);
    if (joins)
      kernels.join_planes(count, x + first, step_x, y + 3 * first);
    else if (parts)
      kernels.part_planes(count, x + 3 * first, y + first, step_y);
    else
      kernels.transpose_strip(static_cast<int>(count), n, x + first, step_x, y + first * step_y, step_y);
  };
  const double cost = kNsPerByte * sizeof(T) * nest.size;
  if (outer.size >= kManyRows) {  // many matrices: a thread takes whole ones, and walks to them once
    const int64_t next_x = outer.strides[0][outer.ndim - 1];
    const int64_t next_y = outer.strides[1][outer.ndim - 1];
    team.walk(outer, cost, [&](int64_t count, const int64_t* offsets) {
      for (int64_t i = 0; i < count; ++i)
        for (int64_t index = 0; index < strips; ++index)
          copy_strip(index, c.x.data + offsets[0] + i * next_x, c.y.data + offsets[1] + i * next_y);
    });
    return;
  }
  team.parallel_for(outer.size * strips, cost, [&](int64_t unit) {
    outer.walk(unit / strips, unit / strips + 1, [&](int64_t, const int64_t* offsets) {
      copy_strip(unit % strips, c.x.data + offsets[0], c.y.data + offsets[1]);
    });
  });
}

// Chooses the way of a copy of elements of 4 or 8 bytes.
template <class T>
void copy_floats(const Team& team, const LoopNest<2>& nest, const Copy<T>& c) {
  const int inner = nest.ndim - 1;
  if (nest.strides[0][inner] != 1 && nest.strides[1][inner] == 1)
    for (int d = 0; d < inner; ++d)
      if (nest.strides[0][d] == 1) return transpose(team, nest, d, c);
  const bool dense = nest.strides[0][inner] == 1 && nest.strides[1][inner] == 1;
  if (dense && nest.size / nest.shape[inner] >= kManyRows)
    copy_rows(team, nest, c);
  else
    copy_elements(team, nest, c);
}

}  // namespace

template <class T>
void Copy<T>::run(const Team& team, void*) const {
  const LoopNest<2> nest(x.ndim, x.shape, {x.strides, y.strides});
  if (nest.size == 0) return;
  if constexpr (sizeof(T) > 2)
    copy_floats(team, nest, *this);
  else
    copy_elements(team, nest, *this);
}

// A y that is larger than the L2 cache is made in a buffer, block by block, and copied by memcpy. y has at
// least one column: bind_join.cpp makes no call without.
template <class T>
void JoinRows<T>::run(const Team& team, void*) const {
  const int64_t step = y.strides[0];
  const int64_t row_bytes = y.shape[1] * int64_t(sizeof(T));
  const int64_t at_once = std::max<int64_t>(1, kJoinedBytes / row_bytes);
  const bool buffered = y.shape[0] * row_bytes > caches.l2 && step == y.shape[1] && row_bytes <= kBufferBytes;
  const int64_t block = buffered ? kBufferBytes / row_bytes : at_once;
  // Writes rows [begin, end) to `to`.
  const auto join = [&](int64_t begin, int64_t end, T* to) {
    for (const TensorView<const T>& part : x) {
      if (!part.data) break;
      const int64_t n = part.shape[1];
      const int64_t from_step = part.strides[0];
      const T* from = part.data + begin * from_step;
      if (n == 1)
        for (int64_t i = 0; i < end - begin; ++i) to[i * step] = from[i * from_step];
      else
        copy_kernels<T>().copy_rows(end - begin, n, from, from_step, to, step);
      to += n;
    }
  };
  team.parallel_for(y.shape[0], kNsPerByte * double(row_bytes * y.shape[0]), [&](int64_t begin, int64_t end) {
    alignas(64) T buffer[kBufferBytes / sizeof(T)];
    for (int64_t i = begin; i < end; i += block) {
      const int64_t last = std::min(end, i + block);
      T* to = buffered ? buffer : y.data + i * step;
      for (int64_t k = i; k < last; k += at_once) {
        const int64_t end = std::min(last, k + at_once);
        join(k, end, to + (k - i) * step);
      }
      if (buffered) std::memcpy(y.data + i * step, buffer, size_t((last - i) * row_bytes));
    }
  });
}

RANVIER_INSTANTIATE(Copy);
template struct Copy<uint8_t>;
template struct Copy<BFloat16>;
RANVIER_INSTANTIATE(JoinRows);

namespace {

constexpr double kFillNsPerByte = 0.05;  // on one thread, roughly

template <class T>
void fill_line(void* y, int64_t step, int64_t n, const void* value) {
  T* p = static_cast<T*>(y);
  const T number = *static_cast<const T*>(value);
  for (int64_t i = 0; i < n; ++i) p[i * step] = number;
}

// Contiguous elements. Zeros are set by memset. Any other number is first stored a cache line at a time,
// since GCC does not vectorise a loop over elements at -O2; after 16 KB, memcpy repeats these with the
// longest vectors of the processor.
template <class T>
void fill_run(void* y, int64_t, int64_t n, const void* value) {
  constexpr int64_t kAtOnce = 64 / sizeof(T);
  const T number = *static_cast<const T*>(value);
  constexpr T zero{};
  if (std::memcmp(&number, &zero, sizeof(T)) == 0) {
    std::memset(y, 0, size_t(n) * sizeof(T));
    return;
  }
  constexpr int64_t kRepeated = 16384 / sizeof(T);
  T* p = static_cast<T*>(y);
  T line[kAtOnce];
  for (T& element : line) element = number;
  const int64_t lines = std::min(n, kRepeated) / kAtOnce * kAtOnce;
  for (int64_t i = 0; i < lines; i += kAtOnce) std::memcpy(p + i, line, sizeof line);
  int64_t i = lines;
  for (; lines == kRepeated && i < n; i += kRepeated)
    std::memcpy(p + i, p, size_t(std::min(kRepeated, n - i)) * sizeof(T));
  for (; i < n; ++i) p[i] = number;
}

using FillLine = void (*)(void*, int64_t, int64_t, const void*);  // y, step, n, value

// line: fills elements any step apart; run: contiguous elements.
void fill(const Team& team, int ndim, const int64_t* shape, const int64_t* strides, void* data, int64_t item,
          const void* value, FillLine line, FillLine run) {
  const LoopNest<1> nest(ndim, shape, {strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const FillLine f = step == 1 ? run : line;
  team.walk(nest, kFillNsPerByte * item * nest.size, [&](int64_t n, const int64_t* offsets) {
    f(static_cast<char*>(data) + offsets[0] * item, step, n, value);
  });
}

}  // namespace

template <class T>
void Fill<T>::run(const Team& team, void*) const {
  fill(team, y.ndim, y.shape, y.strides, y.data, sizeof(T), &value, fill_line<T>, fill_run<T>);
}

RANVIER_INSTANTIATE(Fill);
template struct Fill<int64_t>;
template struct Fill<int32_t>;
template struct Fill<bool>;
template struct Fill<Float16>;
template struct Fill<BFloat16>;

namespace {

// Writes row i of a matrix to y: the elements [first, last) of x, and 0 elsewhere. n: elements of a row;
// step: that of x.
template <class T>
void triangle_row(const Triangle<T>& c, int64_t i, int64_t n, const T* x, int64_t step, T* y) {
  // The first element right of the diagonal, or with `upper` the one on it.
  const int64_t past = c.upper ? 0 : 1;
  const int64_t edge = std::clamp<int64_t>(i + c.diagonal + past, 0, n);
  const int64_t first = c.upper ? edge : 0;
  const int64_t last = c.upper ? n : edge;
  const int64_t zeros = n - (last - first);
  T* const zeros_at = c.upper ? y : y + edge;
  if (step == 1)
    std::memcpy(y + first, x + first, size_t(last - first) * sizeof(T));
  else
    for (int64_t j = first; j < last; ++j) y[j] = x[j * step];
  std::memset(zeros_at, 0, size_t(zeros) * sizeof(T));
}

}  // namespace

template <class T>
void Triangle<T>::run(const Team& team, void*) const {
  const int last = x.ndim - 1;
  const int64_t n = x.shape[last];
  const int64_t rows = numel(y) / std::max<int64_t>(n, 1);
  team.parallel_for(rows, kNsPerByte * sizeof(T) * double(numel(y)), [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      const T* from = x.data;
      int64_t rest = row;
      for (int d = last - 1; d >= 0; --d) {
        from += rest % x.shape[d] * x.strides[d];
        rest /= x.shape[d];
      }
      triangle_row(*this, row % x.shape[last - 1], n, from, x.strides[last], y.data + row * n);
    }
  });
}

RANVIER_INSTANTIATE(Triangle);
template struct Triangle<uint8_t>;
template struct Triangle<BFloat16>;

}  // namespace ranvier
