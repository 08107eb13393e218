#include <string>

#include "bindings/array_args.h"
#include "kernels/augment/augment.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kFarthest = int64_t{1} << 31;  // what is added to a place stays within int64

void check_images(const char* op, const Input& x) {
  if (x.ndim() != 4)
    fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) + "; expected images (N, C, H, W)");
  if (x.shape(2) >= kFarthest || x.shape(3) >= kFarthest)
    fail_value(
        op, "got x of shape " + shape_text(x.ndim(), x.shape()) + "; expected height and width below 2**31");
}

// f(T{}) for the element type of images.
template <class F>
void with_pixel(DType dtype, F&& f) {
  if (dtype == DType::uint8)
    f(uint8_t{});
  else
    with_float(dtype, f);
}

void check_rows(const char* op, const char* name, const Input& rows, const Input& x, int64_t columns) {
  if (rows.ndim() != 2 || rows.shape(0) != x.shape(0) || rows.shape(1) != columns)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(rows.ndim(), rows.shape()) +
                       " for " + std::to_string(x.shape(0)) + " images; expected (" +
                       std::to_string(x.shape(0)) + ", " + std::to_string(columns) + ")");
}

// Whole numbers (n, 4), one row for each image.
Input places(const char* op, const char* name, py::handle rows_, const Input& x) {
  const Input rows = Input::integers(op, name, rows_);
  check_rows(op, name, rows, x, 4);
  const auto v = rows.view<int64_t>();
  for (int64_t i = 0; i < 4 * v.shape[0]; ++i) {
    const int64_t at = v.data[i / 4 * v.strides[0] + i % 4 * v.strides[1]];
    if (at < -kFarthest || at > kFarthest)
      fail_value(op, std::string("got ") + name + " with the value " + std::to_string(at) +
                         "; expected values from -2**31 to 2**31");
  }
  return rows;
}

// One image of the batch for each image.
Input partners(const char* op, py::handle partner_, const Input& x) {
  const Input partner = Input::integers(op, "partner", partner_);
  if (partner.ndim() != 1 || partner.shape(0) != x.shape(0))
    fail_value(op, "got partner of shape " + shape_text(partner.ndim(), partner.shape()) + "; expected (" +
                       std::to_string(x.shape(0)) + ",)");
  const auto v = partner.view<int64_t>();
  for (int64_t i = 0; i < v.shape[0]; ++i) {
    const int64_t at = v.data[i * v.strides[0]];
    if (at < 0 || at >= x.shape(0))
      fail_value(op, "got partner with the value " + std::to_string(at) + "; expected 0 to " +
                         std::to_string(x.shape(0) - 1));
  }
  return partner;
}

double fill_number(const char* op, py::handle fill_, const Input& x) {
  const double fill = real_number(op, "fill", fill_);
  if (x.dtype() == DType::uint8 && !(fill >= 0 && fill <= 255 && fill == static_cast<int>(fill)))
    fail_value(op, "got fill " + std::string(py::repr(fill_)) + " for images of uint8; expected 0 to 255");
  return fill;
}

Border border_named(const char* op, py::handle mode_) {
  const std::string mode = word(op, "mode", mode_);
  if (mode == "constant") return Border::constant;
  if (mode == "edge") return Border::edge;
  if (mode == "reflect") return Border::reflect;
  if (mode == "symmetric") return Border::symmetric;
  fail_value(op, "got mode '" + mode + "'; expected constant, edge, reflect or symmetric");
}

Output images_like(const char* op, py::handle out, const Input& x, int64_t height, int64_t width) {
  const int64_t shape[] = {x.shape(0), x.shape(1), height, width};
  Output y = !given(out) && is_channels_last(x)
                 ? Output::channels_last(x.dtype(), shape[0], shape[1], height, width)
                 : Output::given(op, out, x.dtype(), 4, shape);
  y.apart_from(op, x);
  return y;
}

// move_images(x, place, height, width, fill, mode, out)
py::object move_images(py::handle x_, py::handle place_, py::handle height_, py::handle width_,
                       py::handle fill_, py::handle mode_, py::handle out) {
  constexpr const char* op = "move_images";
  const Input x = Input::pixels(op, "x", x_);
  check_images(op, x);
  const Input place = places(op, "place", place_, x);
  const double fill = fill_number(op, fill_, x);
  const Border mode = border_named(op, mode_);
  const auto size = [&](const char* name, py::handle value, int64_t own) {
    const int64_t n = value.is_none() ? own : whole_number(op, name, value);
    if (n < 0 || n > kFarthest)
      fail_value(op, std::string("got ") + name + " " + std::to_string(n) + "; expected 0 to 2**31");
    return n;
  };
  const int64_t height = size("height", height_, x.shape(2)), width = size("width", width_, x.shape(3));
  if (mode != Border::constant && (x.shape(2) == 0 || x.shape(3) == 0))
    fail_value(
        op, "got x of shape " + shape_text(4, x.shape()) + "; expected pixels to repeat beyond the border");
  Output y = images_like(op, out, x, height, width);
  y.apart_from(op, place);
  with_pixel(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(MoveImages<T>{mode, fill, place.view<int64_t>(), x.view<T>(), y.view<T>()});
  });
  return y.release();
}

// affine_images(x, matrix, fill, interpolation, out)
py::object affine_images(py::handle x_, py::handle matrix_, py::handle fill_, py::handle interpolation_,
                         py::handle out) {
  constexpr const char* op = "affine_images";
  const Input x = Input::pixels(op, "x", x_);
  check_images(op, x);
  const Input matrix = Input::exactly(op, "matrix", matrix_, DType::float64);
  check_rows(op, "matrix", matrix, x, 6);
  const double fill = fill_number(op, fill_, x);
  const std::string name = word(op, "interpolation", interpolation_);
  if (name != "nearest" && name != "bilinear")
    fail_value(op, "got interpolation '" + name + "'; expected nearest or bilinear");
  const auto interpolation = name == "nearest" ? Interpolation::nearest : Interpolation::bilinear;
  Output y = images_like(op, out, x, x.shape(2), x.shape(3));
  y.apart_from(op, matrix);
  with_pixel(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(AffineImages<T>{interpolation, fill, matrix.view<double>(), x.view<T>(), y.view<T>()});
  });
  return y.release();
}

// erase_images(x, box, partner, fill, out)
py::object erase_images(py::handle x_, py::handle box_, py::handle partner_, py::handle fill_,
                        py::handle out) {
  constexpr const char* op = "erase_images";
  const Input x = Input::pixels(op, "x", x_);
  check_images(op, x);
  const Input box = places(op, "box", box_, x);
  const Input partner = partner_.is_none() ? Input() : partners(op, partner_, x);
  const double fill = fill_number(op, fill_, x);
  Output y = images_like(op, out, x, x.shape(2), x.shape(3));
  y.apart_from(op, box).apart_from(op, partner);
  with_pixel(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(
        EraseImages<T>{fill, box.view<int64_t>(), partner.view<int64_t>(), x.view<T>(), y.view<T>()});
  });
  return y.release();
}

// mix_images(x, partner, weight, out)
py::object mix_images(py::handle x_, py::handle partner_, py::handle weight_, py::handle out) {
  constexpr const char* op = "mix_images";
  const Input x = Input::floating(op, "x", x_);
  if (x.ndim() == 0) fail_value(op, "got x of shape (); expected samples (N, ...)");
  const Input partner = partners(op, partner_, x);
  const Input weight = Input::exactly(op, "weight", weight_, DType::float64);
  if (weight.ndim() != 1 || weight.shape(0) != x.shape(0))
    fail_value(op, "got weight of shape " + shape_text(weight.ndim(), weight.shape()) + "; expected (" +
                       std::to_string(x.shape(0)) + ",)");
  Output y = given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
  y.apart_from(op, x).apart_from(op, weight).apart_from(op, partner);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(MixImages<T>{partner.view<int64_t>(), weight.view<double>(), x.view<T>(), y.view<T>()});
  });
  return y.release();
}

// add_noise(x, key, mean, std, out)
py::object add_noise(py::handle x_, py::handle key_, py::handle mean_, py::handle std_, py::handle out) {
  constexpr const char* op = "add_noise";
  const Input x = Input::floating(op, "x", x_);
  const Input key = Input::exactly(op, "key", key_, DType::int64);
  if (key.ndim() != 1 || key.shape(0) != 2)
    fail_value(op, "got key of shape " + shape_text(key.ndim(), key.shape()) +
                       "; expected (2,): the key and the number of the call");
  const double mean = real_number(op, "mean", mean_), deviation = real_number(op, "std", std_);
  if (!(deviation >= 0)) fail_value(op, "got std " + std::to_string(deviation) + "; expected a number >= 0");
  Output y = given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
  y.apart_from(op, x, true).apart_from(op, key);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(AddNoise<T>{mean, deviation, key.view<int64_t>(), x.view<T>(), y.view<T>()});
  });
  return y.release();
}

}  // namespace

void register_augment(py::module_& m) {
  const auto out = py::arg("out") = py::none();
  const auto fill = py::arg("fill") = 0.0;
  m.def("move_images", move_images, py::arg("x"), py::arg("place"), py::arg("height") = py::none(),
        py::arg("width") = py::none(), fill, py::arg("mode") = "constant", out);
  m.def("affine_images", affine_images, py::arg("x"), py::arg("matrix"), fill,
        py::arg("interpolation") = "bilinear", out);
  m.def("erase_images", erase_images, py::arg("x"), py::arg("box"), py::arg("partner") = py::none(), fill,
        out);
  m.def("mix_images", mix_images, py::arg("x"), py::arg("partner"), py::arg("weight"), out);
  m.def("add_noise", add_noise, py::arg("x"), py::arg("key"), py::arg("mean") = 0.0, py::arg("std") = 0.1,
        out);
}

}  // namespace ranvier::bind
