// Images and signals as arguments of kernels, which take views (n, c, h, w) only. as_image() makes such a
// view: a signal (n, c, l) becomes images with one row, and a single image or signal without the dimension n
// a batch of one.
#pragma once
#include <array>

#include "bindings/binder/define.h"
#include "kernels/copy/half_images.h"

namespace ranvier::bind {

// A setting with a number for all axes, or a sequence with one for each axis.
struct PerAxis : Arg {
  RANVIER_ANNOTATION("Pair");
  PerAxis(const Arg& arg) : Arg(arg) {}
  // The items for h and for w; with axes = 1 only the second counts. one_for_all: a sequence of one number
  // counts for all axes.
  std::array<py::object, 2> items(int axes, const char* expected, bool one_for_all = false) const;
};
struct MaybePerAxis : PerAxis {
  RANVIER_ANNOTATION("Pair | None");
  using PerAxis::PerAxis;
};

// v as a view (n, c, h, w). axes: 1 for signals, 2 for images; v has 1 + axes or 2 + axes dimensions.
template <class T>
TensorView<T> as_image(const TensorView<T>& v, int axes) {
  const int batch = v.ndim - axes - 1;  // 1: v has the dimension n; 0: it has not
  TensorView<T> image;
  image.data = v.data;
  image.ndim = 4;
  image.stored = v.stored;
  // Dimension `to` of the image is dimension `from` of v; from < 0: it has the size 1, and this stride.
  const auto put = [&](int to, int from, int64_t rows_stride) {
    image.shape[to] = from < 0 ? 1 : v.shape[from];
    image.strides[to] = from < 0 ? rows_stride : v.strides[from];
  };
  constexpr int kNone = -1;
  const int rows = axes == 2 ? v.ndim - 2 : kNone;
  const int images = batch == 1 ? 0 : kNone;
  put(3, v.ndim - 1, 0);
  put(2, rows, image.shape[3] * image.strides[3]);  // a signal is one row, as long as its samples
  put(1, batch, 0);                                 // the channels: dimension 1, or 0 without n
  put(0, images, 0);
  return image;
}

// The same for an array, as a field of run() (viewed() in array_args.h).
template <class A>
auto image(const A& a, int axes) {
  return viewed(a, [axes](const auto& v) { return v.data ? as_image(v, axes) : v; });
}

// True for calls of double, which have no form for halves.
template <class Call>
constexpr bool of_doubles = false;
template <template <class...> class Call, class... T>
constexpr bool of_doubles<Call<double, T...>> = true;

// invoke_released() and run() (array_args.h) for calls on images of this dtype. Halves run as OfHalves<Call>,
// which converts blocks of images to float (kernels/copy/half_images.h).
template <class Call>
void invoke_images(DType dtype, const Call& call) {
  if constexpr (!of_doubles<Call>)
    if (stored_as(dtype) != Stored::whole) return invoke_released(OfHalves<Call>{call});
  invoke_released(call);
}
template <template <class> class Call, class... A>
void run_images(DType dtype, const A&... fields) {
  with_float(dtype, [&](auto tag) { invoke_images(dtype, Call<decltype(tag)>{fields...}); });
}

// True if channels have the least stride: the image is channels-last.
bool over_channels(const TensorView<const char>& image);
// A new array of this shape, (n, c, ...) or (c, ...) with `axes` dimensions after the channels: channels-last
// or in C order.
Output new_images(DType dtype, int axes, bool channels_last, const Shape& shape);

}  // namespace ranvier::bind
