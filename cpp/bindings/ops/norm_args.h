// Shared by the bindings of the normalisations: layouts that their kernels read, parameters, statistics.
#pragma once
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"

namespace ranvier::bind {

// x has at least two dimensions, (n, c, ...).
void expect_channels(const Input& x);
// Empty, or one number for each channel of x.
void expect_of_channels(const Input& a, const Input& x);
// A statistic that forward returned, contiguous.
Input statistic(const Input& a, const Shape& shape);
void expect_shape_of(const Input& a, const Input& x);

// The two layouts of (n, c, ...) that the kernels of channels read: see kernels/norm/batch_norm.h.
enum class ChannelLayout { columns, planes, other };
// `dense_samples`: planes are stored one after another, c s contiguous. v becomes (n, c, s).
ChannelLayout channel_layout(int ndim, const int64_t* shape, const int64_t* strides, bool dense_samples,
                             int64_t (&shape3)[3], int64_t (&strides3)[3]);

template <class E>
ChannelLayout channel_view(const TensorView<E>& v, bool dense_samples, TensorView<E>* out) {
  int64_t shape[3], strides[3];
  const ChannelLayout layout = channel_layout(v.ndim, v.shape, v.strides, dense_samples, shape, strides);
  out->data = v.data, out->ndim = 3;
  for (int d = 0; d < 3; ++d) out->shape[d] = shape[d], out->strides[d] = strides[d];
  return layout;
}

// x in one of the two layouts, copied where it has neither, and arrays that have to match it.
class Channels {
 public:
  Channels(const Input& x, bool dense_samples);
  bool columns() const { return layout_ == ChannelLayout::columns; }
  DType dtype() const { return x_.dtype(); }
  const Input& array() const { return x_; }
  Output like() const { return Output::like(x_, x_.dtype()); }
  Input gradient(const Input& dy) const;  // dy of x's shape in x's layout, copied where it has another
  // The three dimensions of an array of x's layout; a field of run().
  template <class A>
  auto of(const A& a) const {
    return viewed(a, [dense = dense_samples_](const auto& v) {
      auto out = v;
      out.ndim = 0;
      if (v.data) channel_view(v, dense, &out);
      return out;
    });
  }

 private:
  Input x_;
  bool dense_samples_;
  ChannelLayout layout_;
};

}  // namespace ranvier::bind
