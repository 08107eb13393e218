// Checks the parameters and statistics of the normalisations, and finds the layouts of arrays (norm_args.h).
#include "bindings/ops/norm_args.h"

namespace ranvier::bind {

void expect_channels(const Input& x) {
  if (x.ndim() < 2) x.fail("at least 2 dimensions (N, C, ...)");
}

void expect_of_channels(const Input& a, const Input& x) {
  const Shape expected{x.shape(1)};
  if (a && !a.has_shape(expected))
    fail_value(a.op(), "got ", a.name(), " of shape ", a.shape(), " for x with ", x.shape(1),
               " channels; expected ", expected);
}

Input statistic(const Input& a, const Shape& shape) {
  a.expect_shape(shape);
  return contiguous(a);
}

void expect_shape_of(const Input& a, const Input& x) {
  if (!a.has_shape(x.shape())) a.fail("x's, ", x.shape());
}

ChannelLayout channel_layout(int ndim, const int64_t* shape, const int64_t* strides, bool dense_samples,
                             int64_t (&shape3)[3], int64_t (&strides3)[3]) {
  const int64_t n = shape[0];
  const int64_t c = shape[1];
  int64_t s = 1;
  int64_t step = 0;      // size and stride of the dimensions after the channels, taken as one dimension
  bool one_step = true;  // false if they cannot be taken as one dimension
  bool repeated = false;
  bool empty = n == 0 || c == 0;
  for (int d = ndim - 1; d >= 2; --d) {
    empty = empty || shape[d] == 0;
    if (shape[d] == 1) continue;
    if (s == 1)
      step = strides[d];
    else
      one_step = one_step && strides[d] == step * s;
    s *= shape[d];
  }
  for (int d = 0; d < ndim; ++d) repeated = repeated || (shape[d] > 1 && strides[d] == 0);
  shape3[0] = n;
  shape3[1] = c;
  shape3[2] = s;
  strides3[0] = strides[0];
  strides3[1] = strides[1];
  strides3[2] = step;
  if (empty) return ChannelLayout::planes;  // nothing is read
  if (!one_step || repeated) return ChannelLayout::other;
  if (s > 1 && step == 1 && (c == 1 || !dense_samples || strides[1] == s)) return ChannelLayout::planes;
  if (s == 1 && dense_samples && (c == 1 || strides[1] == 1)) return ChannelLayout::planes;
  const bool rows_join = s == 1 || n == 1 || strides[0] == step * s;  // pixels of all samples: one matrix
  return rows_join && (c == 1 || strides[1] == 1) ? ChannelLayout::columns : ChannelLayout::other;
}

Channels::Channels(const Input& x, bool dense_samples) : x_(x), dense_samples_(dense_samples) {
  const auto layout = [&](const TensorView<const char>& v) {
    TensorView<const char> out;
    return channel_view(v, dense_samples, &out);
  };
  layout_ = layout(x_.view<char>());
  // The kernels take x and the results in one layout, so a new array like x has to have it, too.
  if (layout_ != ChannelLayout::other && layout(as_const(like().view<char>())) == layout_) return;
  x_ = copied(x, Output::contiguous(x.dtype(), x.shape()));
  layout_ = layout(x_.view<char>());
}

Input Channels::gradient(const Input& dy) const {
  expect_shape_of(dy, x_);
  TensorView<const char> out;
  return channel_view(dy.view<char>(), dense_samples_, &out) == layout_ ? dy : copied(dy, like());
}

}  // namespace ranvier::bind
