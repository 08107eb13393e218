// Copies images that the micro-kernel cannot read as they are, and divides output channels into panels: see
// operands.h.
#include "kernels/conv2d/operands.h"

#include "kernels/conv2d/share.h"
#include "kernels/matmul/tile.h"

namespace ranvier {

namespace {

// True if pixels that are this many bytes apart fall into the same set of L1, which holds fewer cache lines
// than a tile has rows.
bool collides(int64_t bytes) { return bytes != 0 && bytes % 4096 == 0; }

template <class T>
constexpr bool is_byte = sizeof(T) == 1;

template <class T>
int lanes_of() {
  if constexpr (is_byte<T>)
    return conv_kernels<float>().lanes;
  else
    return conv_kernels<T>().lanes;
}

// to[i * width + j] = from[i * step + j * step_c] for i < pixels, j < channels.
template <class T>
void copy_pixels(int64_t pixels, int channels, int width, const T* from, int64_t step, int64_t step_c,
                 T* to) {
  if constexpr (!is_byte<T>)
    return matmul_kernels<T>().pack(pixels, channels, width, from, step, step_c, to, /*missing=*/0);
  for (int64_t i = 0; i < pixels; ++i)
    for (int j = 0; j < channels; ++j) to[i * width + j] = from[i * step + j * step_c];
}

}  // namespace

template <class T>
PixelRows<T>::PixelRows(const TensorView<const T>& x, int64_t whole_vectors, Carver& carver, bool spread,
                        bool joined)
    : data(x.data),
      stride_n(x.strides[0]),
      stride_h(x.strides[2]),
      stride_w(x.strides[3]),
      x_(x),
      copy_(nullptr) {
  const bool contiguous = x.strides[1] == 1 || x.shape[1] == 1;
  const int lanes = lanes_of<T>();
  if (contiguous && whole_vectors % lanes == 0 && !(spread && collides(stride_w * sizeof(T))) &&
      !(joined && !is_joined(x)))
    return;
  // The copy: pixels one after another, with a gap of a vector where they would collide again.
  const int gap = collides(x.shape[1] * sizeof(T)) ? lanes : 0;
  stride_w = x.shape[1] + gap;
  stride_h = stride_w * x.shape[3];
  stride_n = stride_h * x.shape[2];
  copy_ = carver.take<T>(x.shape[0] * stride_n + 2 * lanes);
  data = copy_;
}

template <class T>
void PixelRows<T>::copy_share(const OpenTeam& team) const {
  if (!copy_) return;
  const int64_t c = x_.shape[1];
  const int64_t h = x_.shape[2];
  const int64_t w = x_.shape[3];
  const bool rows_join = h == 1 || x_.strides[2] == w * x_.strides[3];  // then several rows are one copy
  const Range rows = even_share(team, x_.shape[0] * h);
  for (int64_t row = rows.begin; row < rows.end;) {
    const int64_t n = row / h;
    const int64_t y = row % h;
    const int64_t count = rows_join ? std::min(h - y, rows.end - row) : 1;
    const T* from = x_.data + n * x_.strides[0] + y * x_.strides[2];
    const int64_t step_c = c == 1 ? 1 : x_.strides[1];
    copy_pixels(count * w, static_cast<int>(c), static_cast<int>(stride_w), from, x_.strides[3], step_c,
                copy_ + row * stride_h);
    row += count;
  }
}

template <class T>
Panels<T>::Panels(int64_t groups, int64_t per_group, int given_width, bool may_be_wide)
    : groups(groups), per_group(per_group), width(given_width), rest_width(given_width) {
  const int lanes = conv_kernels<T>().lanes;
  const int64_t vectors = ceil_div(per_group, lanes);
  if (width == 0) {
    width = vectors <= 1 ? lanes : 2 * lanes;
    rest_width = width;
  }
  in_group = ceil_div(per_group, width);
  wide = in_group;
  if (given_width || !may_be_wide || !conv_kernels<T>().wide_rows) return;
  // Panels of three vectors, where those of two would leave one vector alone; a last panel of two is left
  // over where 3 vectors do not divide them.
  if (vectors < 3 || vectors % 2 == 0 || vectors % 3 == 1) return;
  width = 3 * lanes;
  wide = vectors / 3;
  in_group = ceil_div(vectors, int64_t{3});
}

template class PixelRows<float>;
template class PixelRows<double>;
template class PixelRows<uint8_t>;
template struct Panels<float>;
template struct Panels<double>;

}  // namespace ranvier
