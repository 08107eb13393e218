// MoveImages and EraseImages (augment.h): images moved, cropped and flipped; boxes of images covered.
#include <algorithm>
#include <cstring>

#include "base/parallel.h"
#include "base/rows.h"
#include "base/short_runs.h"
#include "base/tensor_view.h"
#include "kernels/augment/augment.h"

namespace ranvier {

namespace {

// Rows of images as lines of items. An item is a pixel with all its channels, if these are contiguous in x
// and y; else it is a pixel of one channel.
template <class T>
struct ImageLines {
  int64_t count;           // lines of a row
  int64_t width;           // elements of an item
  int64_t step_x, step_y;  // the distances from one item to the next

  ImageLines(const TensorView<const T>& x, const TensorView<T>& y)
      : step_x(x.strides[3]), step_y(y.strides[3]) {
    const int64_t channels = x.shape[1];
    const bool together = channels == 1 || (x.strides[1] == 1 && y.strides[1] == 1);
    count = together ? 1 : channels;
    width = together ? channels : 1;
  }
};

// y[i] = x[-i] for n elements. The step is a constant here, so that the compiler reverses whole vectors.
template <class T>
void reverse_run(int64_t n, const T* __restrict x, T* __restrict y) {
  for (int64_t i = 0; i < n; ++i) y[i] = x[-i];
}

// Copies n items of kWidth elements, a width that the compiler knows.
template <int kWidth, class T>
void copy_pixels(int64_t n, const T* x, int64_t step_x, T* y, int64_t step_y) {
  for (int64_t i = 0; i < n; ++i) std::memcpy(y + i * step_y, x + i * step_x, kWidth * sizeof(T));
}

// Copies n items; the steps may be negative.
template <class T>
void copy_items(int64_t n, int64_t width, const T* x, int64_t step_x, T* y, int64_t step_y) {
  if (step_x == width && step_y == width) {
    copy_run(x, std::max<int64_t>(n, 0) * width, y);
  } else if (width == 1 && step_x == -1 && step_y == 1) {
    reverse_run(n, x, y);
  } else if (width == 1) {
    for (int64_t i = 0; i < n; ++i) y[i * step_y] = x[i * step_x];
  } else if (width == 3) {
    copy_pixels<3>(n, x, step_x, y, step_y);
  } else {
    for (int64_t i = 0; i < n; ++i) copy_run(x + i * step_x, width, y + i * step_y);
  }
}

// Sets n items to `value`.
template <class T>
void fill_items(int64_t n, int64_t width, T value, T* y, int64_t step_y) {
  if (step_y == width) return fill_run(value, std::max<int64_t>(n, 0) * width, y);
  for (int64_t i = 0; i < n; ++i) fill_run(value, width, y + i * step_y);
}

constexpr double kNsPerByte = 0.15;  // on one thread, roughly
constexpr double kNsPerRow = 5;

// Calls f(image, first, last) for rows [first, last) of each image of y. Threads share all rows of all
// images.
template <class T, class F>
void for_each_row(const Team& team, const TensorView<T>& y, const F& f) {
  const int64_t rows = y.shape[2];
  const int64_t all = y.shape[0] * rows;
  const double ns_per_row = kNsPerRow + kNsPerByte * sizeof(T) * y.shape[1] * y.shape[3];
  team.parallel_for(all, ns_per_row * all, [&](int64_t begin, int64_t end) {
    for (int64_t n = begin / rows; begin < end; ++n) {
      const int64_t last = std::min(end, (n + 1) * rows);
      f(n, begin - n * rows, last - n * rows);
      begin = last;
    }
  });
}

int64_t modulo(int64_t i, int64_t n) { return (i % n + n) % n; }

// Which of n rows (or columns) of an image appears at index i, which may be beyond the image; -1: none, but
// `fill`.
int64_t seen_at(int64_t i, int64_t n, Border border) {
  if (i >= 0 && i < n) return i;
  switch (border) {
    case Border::constant:
      return -1;
    case Border::edge:
      if (i < 0) return 0;
      return n - 1;
    case Border::reflect: {  // 0 1 ... n-2 n-1 n-2 ... 1 0 1 ...
      const int64_t period = std::max<int64_t>(2 * (n - 1), 1);
      const int64_t at = modulo(i, period);
      return at < n ? at : period - at;
    }
    case Border::symmetric: {  // 0 1 ... n-1 n-1 ... 1 0 0 1 ...
      const int64_t at = modulo(i, 2 * n);
      return at < n ? at : 2 * n - 1 - at;
    }
  }
  return -1;
}

// One line of y, `to`, from the line of x that begins at `from`. Column k of y, or counted from the end if it
// is mirrored, shows column left + k of x. Columns inside x are copied together; those beyond its edges are
// copied or filled one by one.
template <class T>
void move_line(const MoveImages<T>& call, const ImageLines<T>& lines, int64_t left, bool mirrored,
               const T* from, T* to) {
  const int64_t w = call.x.shape[3];
  const int64_t n = call.y.shape[3];
  // Columns counted from `left`: [first, last) are inside x.
  const int64_t first = std::clamp<int64_t>(-left, 0, n);
  const int64_t last = std::clamp<int64_t>(w - left, first, n);
  const auto column_of_y = [&](int64_t k) { return mirrored ? n - 1 - k : k; };
  if (first < last) {
    // The first column of x in the order of y, and the distance to the next.
    const int64_t begin = mirrored ? last - 1 : first;
    const int64_t step_x = mirrored ? -lines.step_x : lines.step_x;
    const T* const source = from + (left + begin) * lines.step_x;
    T* const target = to + column_of_y(begin) * lines.step_y;
    copy_items(last - first, lines.width, source, step_x, target, lines.step_y);
  }
  for (int64_t k = 0; k < n; ++k) {
    if (k == first) k = last;  // the columns inside x are done
    if (k >= n) break;
    const int64_t column = seen_at(left + k, w, call.border);
    T* pixel = to + column_of_y(k) * lines.step_y;
    if (column < 0)
      fill_items(1, lines.width, static_cast<T>(call.fill), pixel, lines.step_y);
    else
      copy_items(1, lines.width, from + column * lines.step_x, lines.width, pixel, lines.width);
  }
}

}  // namespace

template <class T>
void MoveImages<T>::run(const Team& team, void*) const {
  const ImageLines<T> lines(x, y);
  for_each_row(team, y, [&](int64_t n, int64_t first, int64_t last) {
    const int64_t* at = place.data + n * place.strides[0];
    const int64_t step = place.strides[1];
    const int64_t top = at[0];
    const int64_t left = at[step];
    const bool upside = at[2 * step] != 0;
    const bool mirrored = at[3 * step] != 0;
    for (int64_t c = 0; c < lines.count; ++c)
      for (int64_t i = first; i < last; ++i) {
        const int64_t from_top = upside ? y.shape[2] - 1 - i : i;
        const int64_t row = seen_at(top + from_top, x.shape[2], border);
        T* to = y.data + n * y.strides[0] + c * y.strides[1] + i * y.strides[2];
        if (row < 0) {
          fill_items(y.shape[3], lines.width, static_cast<T>(fill), to, lines.step_y);
        } else {
          const T* from = x.data + n * x.strides[0] + c * x.strides[1] + row * x.strides[2];
          move_line(*this, lines, left, mirrored, from, to);
        }
      }
  });
}

template <class T>
void EraseImages<T>::run(const Team& team, void*) const {
  const ImageLines<T> lines(x, y);
  const int64_t w = x.shape[3];
  const auto erase_row = [&](int64_t n, int64_t i) {
    const int64_t* b = box.data + n * box.strides[0];
    const int64_t step = box.strides[1];
    const int64_t top = b[0];
    const int64_t left = b[step];
    const bool covered = i >= top && i < top + b[2 * step];
    const int64_t first = covered ? std::clamp<int64_t>(left, 0, w) : w;
    const int64_t last = covered ? std::clamp<int64_t>(left + b[3 * step], first, w) : w;
    for (int64_t c = 0; c < lines.count; ++c) {
      T* to = y.data + n * y.strides[0] + c * y.strides[1] + i * y.strides[2];
      const auto copy = [&](int64_t image, int64_t begin, int64_t end) {
        const T* from = x.data + image * x.strides[0] + c * x.strides[1] + i * x.strides[2];
        copy_items(end - begin, lines.width, from + begin * lines.step_x, lines.step_x,
                   to + begin * lines.step_y, lines.step_y);
      };
      copy(n, 0, first);
      if (partner.data)
        copy(inside(partner.data[n * partner.strides[0]], x.shape[0]), first, last);
      else
        fill_items(last - first, lines.width, static_cast<T>(fill), to + first * lines.step_y, lines.step_y);
      copy(n, last, w);
    }
  };
  for_each_row(team, y, [&](int64_t n, int64_t first, int64_t last) {
    for (int64_t i = first; i < last; ++i) erase_row(n, i);
  });
}

RANVIER_INSTANTIATE(MoveImages);
template struct MoveImages<uint8_t>;
RANVIER_INSTANTIATE(EraseImages);
template struct EraseImages<uint8_t>;

}  // namespace ranvier
