// What the bindings of the normalisations share: checks of parameters and statistics, and the memory layouts
// that their kernels read.
#pragma once
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"

namespace ranvier::bind {

// Fails unless x has at least two dimensions, (n, c, ...).
void expect_channels(const Input& x);
// Fails unless a is empty, or has one number for each channel of x.
void expect_of_channels(const Input& a, const Input& x);
// A statistic that forward has returned, as a contiguous array. Fails unless it has this shape.
Input statistic(const Input& a, const Shape& shape);
void expect_shape_of(const Input& a, const Input& x);

// The layouts of arrays (n, c, ...) that the kernels of channels read (kernels/norm/batch_norm.h). The
// dimensions after the channels count as one, of size s. planes: s is contiguous. columns: channels are
// contiguous, and all n * s pixels are rows of one matrix. other: neither; the array has to be copied.
enum class ChannelLayout { columns, planes, other };
// The layout of an array, with its shape and strides as (n, c, s). dense_samples: `planes` also means that
// the c planes of a sample follow one another without gaps.
ChannelLayout channel_layout(int ndim, const int64_t* shape, const int64_t* strides, bool dense_samples,
                             int64_t (&shape3)[3], int64_t (&strides3)[3]);

// The same, with the view (n, c, s) in `out`.
template <class E>
ChannelLayout channel_view(const TensorView<E>& v, bool dense_samples, TensorView<E>* out) {
  int64_t shape[3], strides[3];
  const ChannelLayout layout = channel_layout(v.ndim, v.shape, v.strides, dense_samples, shape, strides);
  out->data = v.data;
  out->ndim = 3;
  for (int d = 0; d < 3; ++d) {
    out->shape[d] = shape[d];
    out->strides[d] = strides[d];
  }
  return layout;
}

// x in the layout `columns` or `planes` (a copy if it has neither), and other arrays in the same layout.
class Channels {
 public:
  Channels(const Input& x, bool dense_samples);
  bool columns() const { return layout_ == ChannelLayout::columns; }
  DType dtype() const { return x_.dtype(); }
  const Input& array() const { return x_; }
  Output like() const { return Output::like(x_, x_.dtype()); }
  Input gradient(const Input& dy) const;  // dy, of x's shape, in x's layout: a copy if it has another
  // The view (n, c, s) of an array in x's layout, as a field of run().
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
