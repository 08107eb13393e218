// Writes y from its first byte to its last: runs of the value, and rows of x between them (see pad.h).
#include "kernels/pad/pad.h"

#include <algorithm>
#include <cstdint>

#include "base/parallel.h"
#include "base/short_runs.h"

namespace ranvier {
namespace {

constexpr double kNsPerByte = 0.06;  // of y, on one thread, roughly

// The dimensions of y from the slowest to the fastest in memory. A dimension that is not padded is joined
// with the one before it, if the strides of x allow it. So a frame around (h, w) of channels-last images pads
// two dimensions: (h) and (w c). A row is the last of these dimensions, a plane the last two.
struct Frame {
  int ndim = 0;
  // The sizes of x and of y; the elements of y before those of x; the strides of x.
  int64_t x[kMaxDims], y[kMaxDims], before[kMaxDims], stride[kMaxDims];

  template <class T>
  explicit Frame(const Pad<T>& p) {
    int order[kMaxDims];
    for (int d = 0; d < p.y.ndim; ++d) order[d] = d;
    for (int d = 1; d < p.y.ndim; ++d)  // insertion sort: it keeps the order of equals, and allocates nothing
      for (int i = d; i > 0 && p.y.strides[order[i - 1]] < p.y.strides[order[i]]; --i)
        std::swap(order[i], order[i - 1]);
    for (int i = 0; i < p.y.ndim; ++i) {
      const int d = order[i];
      append(p.x.shape[d], p.y.shape[d], p.before[d], p.x.strides[d]);
    }
    if (ndim == 0) append(1, 1, 0, 1);
  }

  int64_t rows() const {  // of y
    int64_t n = 1;
    for (int d = 0; d + 1 < ndim; ++d) n *= y[d];
    return n;
  }

  // The index of a row of y in all dimensions except the last.
  void start_at(int64_t row, int64_t* index) const {
    for (int d = ndim - 2; d >= 0; --d) {
      index[d] = row % y[d];
      row /= y[d];
    }
  }

  // Moves the index on by `count` rows, which do not reach beyond the end of its plane.
  void advance(int64_t* index, int64_t count) const {
    int d = ndim - 2;
    if (d < 0) return;
    for (index[d] += count; d > 0 && index[d] == y[d]; --d) {
      index[d] = 0;
      ++index[d - 1];
    }
  }

  // True if the plane of y at this index has rows of x. offset: the element of x at which its plane begins.
  bool find_plane(const int64_t* index, int64_t* offset) const {
    bool inside = true;
    *offset = 0;
    for (int d = 0; d + 2 < ndim; ++d) {
      const int64_t i = index[d] - before[d];
      inside = inside && i >= 0 && i < x[d];
      *offset += i * stride[d];
    }
    return inside;
  }

 private:
  // Adds a dimension, or joins it with the one before.
  void append(int64_t nx, int64_t ny, int64_t b, int64_t step) {
    if (nx == 1 && ny == 1 && b == 0 && ndim > 0) return;
    if (ndim > 0 && b == 0 && nx == ny && stride[ndim - 1] == step * nx) {
      x[ndim - 1] *= nx;
      y[ndim - 1] *= nx;
      before[ndim - 1] *= nx;
      stride[ndim - 1] = step;
      return;
    }
    x[ndim] = nx;
    y[ndim] = ny;
    before[ndim] = b;
    stride[ndim] = step;
    ++ndim;
  }
};

// The form of all rows of y that contain a row of x: `size` elements, of which [begin, end) come from x,
// where they are `step` apart. The others are `value`.
template <class T>
struct PaddedRow {
  int64_t begin, end, size, step;
  T value;

  // Writes `count` rows to y. The rows of x are `stride` elements apart. The end of one row and the start of
  // the next are filled together.
  void write(const T* x, int64_t stride, int64_t count, T* y) const {
    if (count <= 0) return;
    fill_run(value, begin, y);
    for (int64_t row = 0; row < count; ++row) {
      if (step == 1) {
        copy_run(x, end - begin, y + begin);
      } else {
        for (int64_t i = begin; i < end; ++i) y[i] = x[(i - begin) * step];
      }
      const int64_t of_next = row + 1 < count ? begin : 0;
      fill_run(value, size - end + of_next, y + end);
      x += stride;
      y += size;
    }
  }
};

}  // namespace

template <class T>
void Pad<T>::run(const Team& team, void*) const {
  if (numel(y) == 0) return;
  const Frame f(*this);
  const int last = f.ndim - 1;
  const int above = last - 1;
  const int64_t size = f.y[last];
  const int64_t b = f.before[last];
  const int64_t step = f.stride[last];
  const int64_t begin = std::clamp<int64_t>(b, 0, size);
  const int64_t end = std::clamp(f.x[last] + b, begin, size);
  const PaddedRow<T> row{begin, end, size, step, value};
  const int64_t cropped = b < 0 ? -b : 0;  // elements of x before those that y has
  const T* from = x.data + cropped * step;
  // Of a plane: rows of y, rows of x, rows of y before those of x (top), and the stride of rows in x.
  const int64_t rows = last ? f.y[above] : 1;
  const int64_t inside = last ? f.x[above] : 1;
  const int64_t top = last ? f.before[above] : 0;
  const int64_t stride = last ? f.stride[above] : 0;
  team.parallel_for(
      f.rows(), kNsPerByte * sizeof(T) * static_cast<double>(numel(y)), [&](int64_t first, int64_t end_row) {
        int64_t index[kMaxDims] = {}, offset;
        f.start_at(first, index);
        for (int64_t r = first; r < end_row;) {
          const int64_t i = last ? index[above] : 0;
          const int64_t count = std::min(end_row - r, rows - i);
          T* to = y.data + r * size;
          const bool has_rows = f.find_plane(index, &offset);
          // Rows [low, high) of the plane come from x.
          const int64_t low = has_rows ? std::clamp(top, i, i + count) : i + count;
          const int64_t high = has_rows ? std::clamp(top + inside, low, i + count) : i + count;
          fill_run(value, (low - i) * size, to);
          row.write(from + offset + (low - top) * stride, stride, high - low, to + (low - i) * size);
          fill_run(value, (i + count - high) * size, to + (high - i) * size);
          f.advance(index, count);
          r += count;
        }
      });
}

RANVIER_INSTANTIATE(Pad);

}  // namespace ranvier
