// Images and signals at the boundary: kernels take (n, c, h, w) only. A signal (n, c, l) is an image of one
// row, and one image or signal without the batch's dimension is a batch of one.
#pragma once
#include <array>

#include "bindings/binder/define.h"
#include "kernels/copy/half_images.h"

namespace ranvier::bind {

// A number for all axes, or a sequence with one for each.
struct PerAxis : Arg {
  RANVIER_ANNOTATION("Pair");
  PerAxis(const Arg& arg) : Arg(arg) {}
  // The items given for h and for w (for one axis only w); `one_for_all`: also as a sequence of one.
  std::array<py::object, 2> items(int axes, const char* expected, bool one_for_all = false) const;
};
struct MaybePerAxis : PerAxis {
  RANVIER_ANNOTATION("Pair | None");
  using PerAxis::PerAxis;
};

// axes: 1 for signals, 2 for images; v has 1 + axes or 2 + axes dimensions.
template <class T>
TensorView<T> as_image(const TensorView<T>& v, int axes) {
  const int batch = v.ndim - axes - 1;  // 1 or 0
  TensorView<T> image;
  image.data = v.data, image.ndim = 4, image.stored = v.stored;
  const auto put = [&](int to, int from, int64_t rows_stride) {
    image.shape[to] = from < 0 ? 1 : v.shape[from];
    image.strides[to] = from < 0 ? rows_stride : v.strides[from];
  };
  put(3, v.ndim - 1, 0);
  put(2, axes == 2 ? v.ndim - 2 : -1, image.shape[3] * image.strides[3]);
  put(1, batch, 0);
  put(0, batch ? 0 : -1, 0);
  return image;
}

// The same as a field of run().
template <class A>
auto image(const A& a, int axes) {
  return viewed(a, [axes](const auto& v) { return v.data ? as_image(v, axes) : v; });
}

template <class Call>
constexpr bool of_doubles = false;
template <template <class...> class Call, class... T>
constexpr bool of_doubles<Call<double, T...>> = true;

// invoke_released() and run() of calls on images, which may be halves.
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

bool over_channels(const TensorView<const char>& image);  // its channels are the fastest axis: channels-last
Output new_images(DType dtype, int axes, bool channels_last, const Shape& shape);

}  // namespace ranvier::bind
