// What the bindings of the normalisations share: layouts that their kernels read, parameters, statistics.
#pragma once
#include <initializer_list>
#include <optional>

#include "bindings/array_args.h"

namespace ranvier::bind {

void register_layer_norm(py::module_& m);  // called by register_norm

double epsilon(const char* op, py::handle value);  // at least 0
// x has at least two dimensions, (n, c, ...).
void require_channels(const char* op, const char* name, const Input& x);
// None, or an array of x's dtype with one number for each channel.
Input of_channels(const char* op, const char* name, py::handle array, const Input& x);
// What forward returned: float64 of this shape.
Input statistic(const char* op, const char* name, py::handle array, std::initializer_list<int64_t> shape);
void require_shape_of(const char* op, const char* name, const Input& a, const Input& x);

// A running statistic, of which the checks of an argument are done: read as it is, or also written.
template <class T>
TensorView<T> running(const char* op, const char* name, py::handle array, int64_t channels, bool written) {
  if (written) {
    const Output out = Output::given(op, array, dtype_of_type<T>::value, 1, &channels, name);
    return out.view<T>();
  }
  const TensorView<const T> v = Input::floating(op, name, array).view<T>();
  TensorView<T> w;
  w.data = const_cast<T*>(v.data), w.ndim = 1, w.shape[0] = v.shape[0], w.strides[0] = v.strides[0];
  return w;
}

// The two layouts of (n, c, ...) that the kernels of channels read: see kernels/norm/batch_norm.h.
enum class ChannelLayout { columns, planes, other };
// `dense_samples`: planes lie one after another, c s contiguous. v becomes (n, c, s).
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
  Output like() const { return Output::like(x_, x_.dtype()); }
  // dy of x's shape, dtype and layout, copied where it has another.
  Input gradient(const char* op, py::handle dy) const;
  template <class T>
  TensorView<const T> view() const {
    return of(x_.view<T>());
  }
  template <class E>
  TensorView<E> of(const TensorView<E>& v) const {
    TensorView<E> out;
    if (v.data) channel_view(v, dense_samples_, &out);
    return out;
  }

 private:
  Input x_;
  bool dense_samples_;
  ChannelLayout layout_;
};

// What backward returns: an array, or None where it is not wanted.
class OptionalOutput {
 public:
  void make(Output out) { out_.emplace(std::move(out)); }
  py::object release() { return out_ ? out_->release() : py::none(); }
  template <class T>
  TensorView<T> view() const {
    return out_ ? out_->view<T>() : TensorView<T>{};
  }

 private:
  std::optional<Output> out_;
};

}  // namespace ranvier::bind
