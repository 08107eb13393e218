#include "kernels/pad/pad.h"

#include <algorithm>
#include <cstdint>
#include <cstring>

#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerByte = 0.06;

// y's dimensions from the slowest to the fastest in memory. One that is not padded joins the one before,
// where x too steps evenly from one to the other: a frame around (h, w) of channels-last images pads two
// dimensions, (h) and (w c).
struct Frame {
  int ndim = 0;
  int64_t x[kMaxDims], y[kMaxDims], before[kMaxDims], stride[kMaxDims];  // sizes, frame, x's strides

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

  int64_t rows() const {
    int64_t n = 1;
    for (int d = 0; d + 1 < ndim; ++d) n *= y[d];
    return n;
  }

  void start_at(int64_t row, int64_t* index) const {
    for (int d = ndim - 2; d >= 0; row /= y[d], --d) index[d] = row % y[d];
  }

  void next_row(int64_t* index) const {
    for (int d = ndim - 2; d >= 0 && ++index[d] == y[d]; --d) index[d] = 0;
  }

  // Whether this row of y comes from x, and where from.
  bool find_row(const int64_t* index, int64_t* offset) const {
    bool inside = true;
    *offset = 0;
    for (int d = 0; d + 1 < ndim; ++d) {
      const int64_t i = index[d] - before[d];
      inside = inside && i >= 0 && i < x[d];
      *offset += i * stride[d];
    }
    return inside;
  }

 private:
  void append(int64_t nx, int64_t ny, int64_t b, int64_t step) {
    if (nx == 1 && ny == 1 && b == 0 && ndim > 0) return;
    if (ndim > 0 && b == 0 && nx == ny && stride[ndim - 1] == step * nx) {
      x[ndim - 1] *= nx, y[ndim - 1] *= nx, before[ndim - 1] *= nx, stride[ndim - 1] = step;
      return;
    }
    x[ndim] = nx, y[ndim] = ny, before[ndim] = b, stride[ndim] = step;
    ++ndim;
  }
};

template <class T>
void pad_row(const T* x, int64_t step, int64_t begin, int64_t end, int64_t size, T value, T* y) {
  std::fill(y, y + begin, value);
  if (step == 1) {
    if (begin < end) std::memcpy(y + begin, x, (end - begin) * sizeof(T));
  } else {
    for (int64_t i = begin; i < end; ++i) y[i] = x[(i - begin) * step];
  }
  std::fill(y + end, y + size, value);
}

}  // namespace

template <class T>
void Pad<T>::run(void*) const {
  if (numel(y) == 0) return;
  const Frame f(*this);
  const int last = f.ndim - 1;
  const int64_t size = f.y[last], b = f.before[last], step = f.stride[last];
  const int64_t begin = std::clamp<int64_t>(b, 0, size), end = std::clamp(f.x[last] + b, begin, size);
  const int64_t skipped = b < 0 ? -b * step : 0;  // what is cropped at the front of a row
  parallel_for(f.rows(), kNsPerByte * sizeof(T) * static_cast<double>(numel(y)),
               [&](int64_t first, int64_t behind) {
                 int64_t index[kMaxDims], offset;
                 f.start_at(first, index);
                 for (int64_t r = first; r < behind; ++r, f.next_row(index)) {
                   if (f.find_row(index, &offset))
                     pad_row(x.data + offset + skipped, step, begin, end, size, value, y.data + r * size);
                   else
                     std::fill(y.data + r * size, y.data + (r + 1) * size, value);
                 }
               });
}

template struct Pad<float>;
template struct Pad<double>;

}  // namespace ranvier
