#include <cmath>
#include <cstdint>
#include <string>

#include "bindings/image_args.h"
#include "kernels/resample/resample.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kMostPixels = int64_t{1} << 29;  // along an axis: four inputs of each are counted by int32

struct Mode {
  const char* name;
  ResampleMap map;
  int axes;  // 0: any
};
constexpr Mode kModes[] = {{"nearest", ResampleMap::nearest, 0},
                           {"nearest-exact", ResampleMap::nearest_exact, 0},
                           {"linear", ResampleMap::linear, 1},
                           {"bilinear", ResampleMap::linear, 2},
                           {"bicubic", ResampleMap::cubic, 2}};

int axes_of(const char* op, const char* name, const Input& x) {
  if (x.ndim() != 3 && x.ndim() != 4)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(x.ndim(), x.shape()) +
                       "; expected signals (N, C, L) or images (N, C, H, W)");
  return x.ndim() - 2;
}

ResampleMap map_of(const char* op, py::handle mode_, int axes) {
  const std::string mode = word(op, "mode", mode_);
  for (const Mode& m : kModes)
    if (mode == m.name && (m.axes == 0 || m.axes == axes)) return m.map;
  fail_value(op, "got mode '" + mode + "' for " + std::to_string(axes + 2) +
                     " dimensions; expected 'nearest', 'nearest-exact', " +
                     (axes == 1 ? "'linear'" : "'bilinear' or 'bicubic'"));
}

// Numbers for the axes (h, w): one for all or a sequence with one for each.
template <class Read>
void read_axes(const char* op, const char* name, py::handle value, int axes, const Read& read) {
  const bool sequence = PyTuple_Check(value.ptr()) || PyList_Check(value.ptr());
  if (sequence && static_cast<int>(py::len(value)) != axes)
    fail_value(op, std::string("got ") + name + " " + std::string(py::repr(value)) + "; expected " +
                       (axes == 1 ? "one number" : "a number or a pair of them"));
  for (int d = 0; d < axes; ++d)
    read(2 - axes + d, sequence ? py::object(py::reinterpret_borrow<py::sequence>(value)[d])
                                : py::reinterpret_borrow<py::object>(value));
}

struct Sizes {
  int64_t in[2], out[2];
  double factor[2];  // 0: not given
};

void read_factors(const char* op, py::handle value, int axes, Sizes* s) {
  if (value.is_none()) return;
  read_axes(op, "scale_factor", value, axes, [&](int d, py::handle item) {
    s->factor[d] = real_number(op, "scale_factor", item);
    if (!(s->factor[d] > 0) || !std::isfinite(s->factor[d]))
      fail_value(op, "got scale_factor " + std::string(py::repr(value)) + "; expected numbers above 0");
  });
}

// The output's sizes from `size`, or else from scale_factor.
void read_output(const char* op, py::handle size, int axes, Sizes* s) {
  if (size.is_none() == (s->factor[1] == 0))
    fail_value(op, std::string("got ") + (size.is_none() ? "neither" : "both") +
                       " size and scale_factor; expected one of them");
  if (!size.is_none())
    read_axes(op, "size", size, axes,
              [&](int d, py::handle item) { s->out[d] = whole_number(op, "size", item); });
  for (int d = 2 - axes; d < 2; ++d) {
    const double scaled = std::floor(static_cast<double>(s->in[d]) * s->factor[d]);
    if (size.is_none()) s->out[d] = scaled < kMostPixels ? static_cast<int64_t>(scaled) : kMostPixels;
    if (s->out[d] < 1 || s->out[d] >= kMostPixels)
      fail_value(op, "got an output of " + std::to_string(s->out[d]) + " along an axis of " +
                         std::to_string(s->in[d]) + "; expected sizes from 1 to 2**29 - 1");
  }
}

void check_input(const char* op, const Sizes& s, int axes) {
  for (int d = 2 - axes; d < 2; ++d)
    if (s.in[d] < 1 || s.in[d] >= kMostPixels)
      fail_value(op, "got a size of " + std::to_string(s.in[d]) + "; expected from 1 to 2**29 - 1");
}

// A signal's one row is left as it is.
ResampleAxis axis(const Sizes& s, int d, ResampleMap map, bool align_corners, int axes) {
  if (d < 2 - axes) return {ResampleMap::nearest, 1, 1, 1, false, 0};
  const double in = static_cast<double>(s.in[d]), out = static_cast<double>(s.out[d]);
  double scale = s.factor[d] > 0 ? 1 / s.factor[d] : in / out;
  if (align_corners) scale = s.out[d] > 1 ? (in - 1) / (out - 1) : 0;
  return {map, s.in[d], s.out[d], scale, align_corners, 0};
}

py::object resample(const Input& x, const Sizes& s, ResampleMap map, bool align_corners, bool transposed,
                    int axes) {
  const bool last = over_channels(as_image(x.view<char>(), axes));
  const int64_t* sizes = transposed ? s.in : s.out;
  int64_t shape[4] = {x.shape(0), x.shape(1)};
  for (int d = 0; d < axes; ++d) shape[2 + d] = sizes[2 - axes + d];
  Output y = new_images(x.dtype(), 2 + axes, axes, last, shape);
  const ResampleAxis rows = axis(s, 0, map, align_corners, axes),
                     columns = axis(s, 1, map, align_corners, axes);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Resample<T>{as_image(x.view<T>(), axes), as_image(y.view<T>(), axes), rows, columns,
                                transposed, last});
  });
  return y.release();
}

bool corners(const char* op, py::handle value, ResampleMap map) {
  const bool align = truth(op, "align_corners", value);
  if (align && map <= ResampleMap::nearest_exact)
    fail_value(op, "got align_corners for a nearest mode; expected 'linear', 'bilinear' or 'bicubic'");
  return align;
}

// interpolate(x, size, scale_factor, mode, align_corners)
py::object interpolate(py::handle x_, py::handle size, py::handle scale_factor, py::handle mode,
                       py::handle align_corners) {
  constexpr const char* op = "interpolate";
  const Input x = Input::floating(op, "x", x_);
  const int axes = axes_of(op, "x", x);
  const ResampleMap map = map_of(op, mode, axes);
  const bool align = corners(op, align_corners, map);
  Sizes s{};
  for (int d = 2 - axes; d < 2; ++d) s.in[d] = x.shape(d + axes);
  check_input(op, s, axes);
  read_factors(op, scale_factor, axes, &s);
  read_output(op, size, axes, &s);
  return resample(x, s, map, align, false, axes);
}

// interpolate_backward(dy, shape, scale_factor, mode, align_corners)
py::object interpolate_backward(py::handle dy_, py::handle shape, py::handle scale_factor, py::handle mode,
                                py::handle align_corners) {
  constexpr const char* op = "interpolate_backward";
  const Input dy = Input::floating(op, "dy", dy_);
  const int axes = axes_of(op, "dy", dy);
  const ResampleMap map = map_of(op, mode, axes);
  const bool align = corners(op, align_corners, map);
  if (!PyTuple_Check(shape.ptr()) && !PyList_Check(shape.ptr()))
    fail_type(op, "got shape " + std::string(py::repr(shape)) + "; expected the tuple x.shape");
  const auto items = py::reinterpret_borrow<py::sequence>(shape);
  bool fits = static_cast<int>(items.size()) == dy.ndim();
  for (int d = 0; d < 2 && fits; ++d) fits = whole_number(op, "shape", items[d]) == dy.shape(d);
  if (!fits)
    fail_value(op, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + " for x of shape " +
                       std::string(py::repr(shape)) + "; expected the same N and C");
  Sizes s{};
  for (int d = 2 - axes; d < 2; ++d) {
    s.in[d] = whole_number(op, "shape", items[d + axes]);
    s.out[d] = dy.shape(d + axes);
    if (s.out[d] < 1 || s.out[d] >= kMostPixels)
      fail_value(op,
                 "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + "; expected at least one pixel");
  }
  check_input(op, s, axes);
  read_factors(op, scale_factor, axes, &s);
  return resample(dy, s, map, align, true, axes);
}

}  // namespace

void register_interpolate(py::module_& m) {
  using py::arg;
  m.def("interpolate", interpolate, arg("x"), arg("size") = py::none(), arg("scale_factor") = py::none(),
        arg("mode") = "nearest", arg("align_corners") = false,
        "y = x at other sizes: signals (n, c, l) or images (n, c, h, w)");
  m.def("interpolate_backward", interpolate_backward, arg("dy"), arg("shape"),
        arg("scale_factor") = py::none(), arg("mode") = "nearest", arg("align_corners") = false,
        "dx from dy, the gradient of interpolate's result, and x's shape");
}

}  // namespace ranvier::bind
