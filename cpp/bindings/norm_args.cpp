#include "bindings/norm_args.h"

#include <algorithm>

#include "bindings/copied.h"

namespace ranvier::bind {

double epsilon(const char* op, py::handle value) {
  const double eps = real_number(op, "eps", value);
  if (!(eps >= 0)) fail_value(op, "got eps " + std::to_string(eps) + "; expected a number of at least 0");
  return eps;
}

void require_channels(const char* op, const char* name, const Input& x) {
  if (x.ndim() < 2)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(x.ndim(), x.shape()) +
                       "; expected at least 2 dimensions (N, C, ...)");
}

Input of_channels(const char* op, const char* name, py::handle array, const Input& x) {
  if (array.is_none()) return Input();
  const Input p = Input::floating(op, name, array);
  require_same_dtype(op, "x", x, name, p);
  const int64_t channels = x.shape(1);
  if (p.ndim() != 1 || p.shape(0) != channels)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(p.ndim(), p.shape()) +
                       " for x with " + std::to_string(channels) + " channels; expected " +
                       shape_text(1, &channels));
  return p;
}

Input statistic(const char* op, const char* name, py::handle array, std::initializer_list<int64_t> shape) {
  const Input p = Input::exactly(op, name, array, DType::float64);
  if (p.ndim() != static_cast<int>(shape.size()) || !std::equal(shape.begin(), shape.end(), p.shape()))
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(p.ndim(), p.shape()) +
                       "; expected " + shape_text(static_cast<int>(shape.size()), shape.begin()));
  return contiguous(p);
}

void require_shape_of(const char* op, const char* name, const Input& a, const Input& x) {
  if (a.ndim() != x.ndim() || !std::equal(x.shape(), x.shape() + x.ndim(), a.shape()))
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(a.ndim(), a.shape()) +
                       "; expected x's, " + shape_text(x.ndim(), x.shape()));
}

ChannelLayout channel_layout(int ndim, const int64_t* shape, const int64_t* strides, bool dense_samples,
                             int64_t (&shape3)[3], int64_t (&strides3)[3]) {
  const int64_t n = shape[0], c = shape[1];
  int64_t s = 1, step = 0;  // of the pixels as one dimension
  bool even = true, repeated = false, empty = n == 0 || c == 0;
  for (int d = ndim - 1; d >= 2; --d) {
    empty = empty || shape[d] == 0;
    if (shape[d] == 1) continue;
    if (s == 1)
      step = strides[d];
    else
      even = even && strides[d] == step * s;
    s *= shape[d];
  }
  for (int d = 0; d < ndim; ++d) repeated = repeated || (shape[d] > 1 && strides[d] == 0);
  shape3[0] = n, shape3[1] = c, shape3[2] = s;
  strides3[0] = strides[0], strides3[1] = strides[1], strides3[2] = step;
  if (empty) return ChannelLayout::planes;  // nothing is read
  if (!even || repeated) return ChannelLayout::other;
  if (s > 1 && step == 1 && (c == 1 || !dense_samples || strides[1] == s)) return ChannelLayout::planes;
  if (s == 1 && dense_samples && (c == 1 || strides[1] == 1)) return ChannelLayout::planes;
  const bool rows = s == 1 || n == 1 || strides[0] == step * s;
  return rows && (c == 1 || strides[1] == 1) ? ChannelLayout::columns : ChannelLayout::other;
}

Channels::Channels(const Input& x, bool dense_samples)
    : x_(x), dense_samples_(dense_samples), layout_(ChannelLayout::other) {
  const auto layout = [&](const auto& v) {
    auto out = v;
    return channel_view(v, dense_samples, &out);
  };
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    layout_ = layout(x_.view<T>());
    if (layout_ != ChannelLayout::other && layout(like().template view<T>()) == layout_) return;
    x_ = copied(x, Output::contiguous(x.dtype(), x.ndim(), x.shape()));
    layout_ = layout(x_.view<T>());
  });
}

Input Channels::gradient(const char* op, py::handle dy_) const {
  const Input dy = Input::floating(op, "dy", dy_);
  require_same_dtype(op, "x", x_, "dy", dy);
  require_shape_of(op, "dy", dy, x_);
  const bool fits = with_float(x_.dtype(), [&](auto tag) {
    using T = decltype(tag);
    TensorView<const T> out;
    return channel_view(dy.view<T>(), dense_samples_, &out) == layout_;
  });
  return fits ? dy : copied(dy, like());
}

}  // namespace ranvier::bind
