#include <string>

#include "bindings/array_args.h"
#include "kernels/pooling/pooling.h"

namespace ranvier::bind {
namespace {

// The window along one axis, as the caller gives it.
struct Window {
  int64_t kernel, stride, padding, dilation;
};

// A number for both axes, or a pair (height, width).
struct Pair {
  int64_t h, w;
};

int64_t size_number(const char* op, const char* name, py::handle value) {
  return whole_number(op, name, value, "a whole number or a pair of them");
}

Pair pair(const char* op, const char* name, py::handle value) {
  if (!PyTuple_Check(value.ptr()) && !PyList_Check(value.ptr())) {
    const int64_t n = size_number(op, name, value);
    return {n, n};
  }
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  const size_t size = items.size();
  if (size != 1 && size != 2)
    fail_value(op,
               std::string("got ") + name + " with " + std::to_string(size) + " numbers; expected 1 or 2");
  return {size_number(op, name, items[0]), size_number(op, name, items[size - 1])};
}

std::string pair_text(int64_t h, int64_t w) {
  return "(" + std::to_string(h) + ", " + std::to_string(w) + ")";
}

void check_images(const char* op, const char* name, const Input& x) {
  if (x.ndim() != 4)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(x.ndim(), x.shape()) +
                       "; expected images (N, C, H, W)");
}

struct Windows {
  Window h, w;
};

void check_windows(const char* op, const Window& h, const Window& w) {
  const auto expect = [&](bool right, const char* name, int64_t a, int64_t b, const std::string& expected) {
    if (!right) fail_value(op, std::string("got ") + name + " " + pair_text(a, b) + "; expected " + expected);
  };
  constexpr int64_t kMost = int64_t{1} << 31;  // sums of such numbers do not overflow
  const auto within = [](int64_t a, int64_t b, int64_t least) {
    return a >= least && b >= least && a < kMost && b < kMost;
  };
  expect(within(h.kernel, w.kernel, 1), "kernel_size", h.kernel, w.kernel, "whole numbers of at least 1");
  expect(within(h.stride, w.stride, 1), "stride", h.stride, w.stride, "whole numbers of at least 1");
  expect(within(h.dilation, w.dilation, 1), "dilation", h.dilation, w.dilation,
         "whole numbers of at least 1");
  expect(within(h.padding, w.padding, 0), "padding", h.padding, w.padding, "whole numbers of at least 0");
  const int64_t most_h = ((h.kernel - 1) * h.dilation + 1) / 2,
                most_w = ((w.kernel - 1) * w.dilation + 1) / 2;
  expect(h.padding <= most_h && w.padding <= most_w, "padding", h.padding, w.padding,
         "at most half of the window, " + pair_text(most_h, most_w));
}

Windows windows(const char* op, py::handle kernel, py::handle stride, py::handle padding,
                py::handle dilation) {
  const Pair k = pair(op, "kernel_size", kernel);
  const Pair s = stride.is_none() ? k : pair(op, "stride", stride);
  const Pair p = pair(op, "padding", padding);
  const Pair d = dilation.is_none() ? Pair{1, 1} : pair(op, "dilation", dilation);
  const Windows found{{k.h, s.h, p.h, d.h}, {k.w, s.w, p.w, d.w}};
  check_windows(op, found.h, found.w);
  return found;
}

// Height and width of an image batch's shape (n, c, h, w).
Pair image_size(const char* op, py::handle shape, const Input& dy) {
  if (!PyTuple_Check(shape.ptr()) && !PyList_Check(shape.ptr()))
    fail_type(op, "got shape " + std::string(py::repr(shape)) + "; expected the tuple x.shape");
  const auto items = py::reinterpret_borrow<py::sequence>(shape);
  if (items.size() != 4)
    fail_value(op, "got shape " + std::string(py::repr(shape)) + "; expected (N, C, H, W)");
  const int64_t n = size_number(op, "shape", items[0]), c = size_number(op, "shape", items[1]);
  if (dy.ndim() != 4 || n != dy.shape(0) || c != dy.shape(1))
    fail_value(op, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + " for x of shape " +
                       std::string(py::repr(shape)) + "; expected the same N and C");
  const Pair size{size_number(op, "shape", items[2]), size_number(op, "shape", items[3])};
  constexpr int64_t kMost = int64_t{1} << 31;
  if (size.h < 0 || size.w < 0 || size.h >= kMost || size.w >= kMost)
    fail_value(op, "got shape " + std::string(py::repr(shape)) + "; expected sizes from 0 to 2**31 - 1");
  return size;
}

// The number of windows: floor or ceil((in + 2 padding - extent) / stride) + 1, where with ceil_mode a last
// window that would begin in the padding after the image is left out.
int64_t windows_along(int64_t in, const Window& w, bool ceil_mode) {
  const int64_t room = in + 2 * w.padding - (w.kernel - 1) * w.dilation - 1;
  if (room < 0 && !(ceil_mode && room + w.stride > 0)) return 0;
  int64_t out = (room + (ceil_mode ? w.stride - 1 : 0)) / w.stride + 1;
  if (ceil_mode && (out - 1) * w.stride >= in + w.padding) --out;
  return out;
}

PoolAxis axis(int64_t in, const Window& w, bool ceil_mode) {
  return {in, windows_along(in, w, ceil_mode), w.kernel, w.stride, w.padding, w.dilation};
}

void check_sizes(const char* op, const PoolAxis& rows, const PoolAxis& columns) {
  if (rows.out < 1 || columns.out < 1)
    fail_value(op, "got images of " + pair_text(rows.in, columns.in) + " for windows of " +
                       pair_text((rows.kernel - 1) * rows.dilation + 1,
                                 (columns.kernel - 1) * columns.dilation + 1) +
                       " and padding " + pair_text(rows.padding, columns.padding) +
                       "; expected images that at least one window fits into");
}

// Channels-last where the channels are the fastest axis that has more than one element.
bool over_channels(const Input& x) {
  const auto v = x.view<char>();
  if (x.shape(1) <= 1) return false;
  if (is_channels_last(x)) return x.shape(2) * x.shape(3) > 1;
  const auto faster = [&](int d) {
    return x.shape(d) <= 1 || std::abs(v.strides[1]) < std::abs(v.strides[d]);
  };
  return faster(2) && faster(3);
}

Output images(DType dtype, bool channels_last, int64_t n, int64_t c, int64_t h, int64_t w) {
  if (channels_last) return Output::channels_last(dtype, n, c, h, w);
  return Output::contiguous(dtype, {n, c, h, w});
}

template <class F>
auto with_offset(const PoolAxis& rows, const PoolAxis& columns, F&& f) {
  return rows.kernel * columns.kernel <= 256 ? f(uint8_t{}) : f(int64_t{});
}

// max_pool2d(x, kernel_size, stride, padding, dilation, ceil_mode) -> (y, where)
py::tuple max_pool2d(py::handle x_, py::handle kernel, py::handle stride, py::handle padding,
                     py::handle dilation, py::handle ceil_mode_) {
  constexpr const char* op = "max_pool2d";
  const bool ceil_mode = truth(op, "ceil_mode", ceil_mode_);
  const Input x = Input::floating(op, "x", x_);
  check_images(op, "x", x);
  const auto [h, w] = windows(op, kernel, stride, padding, dilation);
  const PoolAxis rows = axis(x.shape(2), h, ceil_mode), columns = axis(x.shape(3), w, ceil_mode);
  check_sizes(op, rows, columns);
  const bool last = over_channels(x);
  return with_offset(rows, columns, [&](auto offset) {
    using Offset = decltype(offset);
    Output y = images(x.dtype(), last, x.shape(0), x.shape(1), rows.out, columns.out);
    Output where = images(dtype_of_type<Offset>::value, last, x.shape(0), x.shape(1), rows.out, columns.out);
    with_float(x.dtype(), [&](auto tag) {
      using T = decltype(tag);
      invoke_released(
          MaxPool2dForward<T, Offset>{x.view<T>(), y.view<T>(), where.view<Offset>(), rows, columns, last});
    });
    return py::make_tuple(y.release(), where.release());
  });
}

void check_gradient(const char* op, const char* name, const Input& dy, const PoolAxis& rows,
                    const PoolAxis& columns) {
  check_images(op, name, dy);
  if (dy.shape(2) != rows.out || dy.shape(3) != columns.out)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(dy.ndim(), dy.shape()) +
                       "; expected (" + std::to_string(dy.shape(0)) + ", " + std::to_string(dy.shape(1)) +
                       ", " + std::to_string(rows.out) + ", " + std::to_string(columns.out) + ")");
}

// max_pool2d_backward(dy, where, shape, kernel_size, stride, padding, dilation, ceil_mode)
py::object max_pool2d_backward(py::handle dy_, py::handle where_, py::handle shape, py::handle kernel,
                               py::handle stride, py::handle padding, py::handle dilation,
                               py::handle ceil_mode_) {
  constexpr const char* op = "max_pool2d_backward";
  const bool ceil_mode = truth(op, "ceil_mode", ceil_mode_);
  const Input dy = Input::floating(op, "dy", dy_);
  const auto [h, w] = windows(op, kernel, stride, padding, dilation);
  const Pair size = image_size(op, shape, dy);
  const PoolAxis rows = axis(size.h, h, ceil_mode), columns = axis(size.w, w, ceil_mode);
  check_sizes(op, rows, columns);
  check_gradient(op, "dy", dy, rows, columns);
  return with_offset(rows, columns, [&](auto offset) {
    using Offset = decltype(offset);
    const Input where = Input::exactly(op, "where", where_, dtype_of_type<Offset>::value);
    check_gradient(op, "where", where, rows, columns);
    if (where.shape(0) != dy.shape(0) || where.shape(1) != dy.shape(1))
      fail_value(op, "got where of shape " + shape_text(where.ndim(), where.shape()) + "; expected dy's, " +
                         shape_text(dy.ndim(), dy.shape()));
    const bool last = over_channels(where);
    Output dx = images(dy.dtype(), last, dy.shape(0), dy.shape(1), size.h, size.w);
    with_float(dy.dtype(), [&](auto tag) {
      using T = decltype(tag);
      invoke_released(MaxPool2dBackward<T, Offset>{dy.view<T>(), where.view<Offset>(), dx.view<T>(), rows,
                                                   columns, last});
    });
    return dx.release();
  });
}

py::object run_average(const Input& x, const PoolAxis& rows, const PoolAxis& columns, bool include_pad,
                       int64_t divisor) {
  const bool last = over_channels(x);
  Output y = images(x.dtype(), last, x.shape(0), x.shape(1), rows.out, columns.out);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(AvgPool2dForward<T>{x.view<T>(), y.view<T>(), rows, columns, last, include_pad, divisor});
  });
  return y.release();
}

py::object run_average_backward(const Input& dy, const PoolAxis& rows, const PoolAxis& columns,
                                bool channels_last, bool include_pad, int64_t divisor) {
  Output dx = images(dy.dtype(), channels_last, dy.shape(0), dy.shape(1), rows.in, columns.in);
  with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(
        AvgPool2dBackward<T>{dy.view<T>(), dx.view<T>(), rows, columns, channels_last, include_pad, divisor});
  });
  return dx.release();
}

int64_t divisor_of(const char* op, py::handle value) {
  if (value.is_none()) return 0;
  const int64_t divisor = size_number(op, "divisor_override", value);
  if (divisor < 1)
    fail_value(op, "got divisor_override " + std::to_string(divisor) + "; expected at least 1, or None");
  return divisor;
}

// avg_pool2d(x, kernel_size, stride, padding, ceil_mode, count_include_pad, divisor_override)
py::object avg_pool2d(py::handle x_, py::handle kernel, py::handle stride, py::handle padding,
                      py::handle ceil_mode_, py::handle include_pad_, py::handle divisor_) {
  constexpr const char* op = "avg_pool2d";
  const bool ceil_mode = truth(op, "ceil_mode", ceil_mode_);
  const bool include_pad = truth(op, "count_include_pad", include_pad_);
  const Input x = Input::floating(op, "x", x_);
  check_images(op, "x", x);
  const auto [h, w] = windows(op, kernel, stride, padding, py::none());
  const int64_t divisor = divisor_of(op, divisor_);
  const PoolAxis rows = axis(x.shape(2), h, ceil_mode), columns = axis(x.shape(3), w, ceil_mode);
  check_sizes(op, rows, columns);
  return run_average(x, rows, columns, include_pad, divisor);
}

// avg_pool2d_backward(dy, shape, kernel_size, ..., divisor_override, channels_last)
py::object avg_pool2d_backward(py::handle dy_, py::handle shape, py::handle kernel, py::handle stride,
                               py::handle padding, py::handle ceil_mode_, py::handle include_pad_,
                               py::handle divisor_, py::handle channels_last_) {
  constexpr const char* op = "avg_pool2d_backward";
  const bool ceil_mode = truth(op, "ceil_mode", ceil_mode_);
  const bool include_pad = truth(op, "count_include_pad", include_pad_);
  const bool channels_last = truth(op, "channels_last", channels_last_);
  const Input dy = Input::floating(op, "dy", dy_);
  const auto [h, w] = windows(op, kernel, stride, padding, py::none());
  const int64_t divisor = divisor_of(op, divisor_);
  const auto [in_h, in_w] = image_size(op, shape, dy);
  const PoolAxis rows = axis(in_h, h, ceil_mode), columns = axis(in_w, w, ceil_mode);
  check_sizes(op, rows, columns);
  check_gradient(op, "dy", dy, rows, columns);
  return run_average_backward(dy, rows, columns, channels_last, include_pad, divisor);
}

void check_adaptive(const char* op, int64_t in_h, int64_t in_w, int64_t out_h, int64_t out_w) {
  if (out_h < 0 || out_w < 0 || out_h >= int64_t{1} << 31 || out_w >= int64_t{1} << 31)
    fail_value(op, "got output_size " + pair_text(out_h, out_w) + "; expected whole numbers of at least 0");
  if (in_h < 1 || in_w < 1)
    fail_value(op, "got images of " + pair_text(in_h, in_w) + "; expected at least one pixel");
}

// output_size: a number for both axes or a pair; None keeps the image's own size.
Pair adaptive_size(const char* op, py::handle value, const Input& x) {
  const auto size = [&](py::handle item, int d) {
    return item.is_none() ? x.shape(d) : size_number(op, "output_size", item);
  };
  if (!PyTuple_Check(value.ptr()) && !PyList_Check(value.ptr())) return {size(value, 2), size(value, 3)};
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  if (items.size() != 2)
    fail_value(op, "got output_size with " + std::to_string(items.size()) + " numbers; expected 1 or 2");
  return {size(items[0], 2), size(items[1], 3)};
}

py::object adaptive_avg_pool2d(py::handle x_, py::handle output_size) {
  constexpr const char* op = "adaptive_avg_pool2d";
  const Input x = Input::floating(op, "x", x_);
  check_images(op, "x", x);
  const auto [out_h, out_w] = adaptive_size(op, output_size, x);
  check_adaptive(op, x.shape(2), x.shape(3), out_h, out_w);
  return run_average(x, {x.shape(2), out_h, 0, 1, 0, 1}, {x.shape(3), out_w, 0, 1, 0, 1}, false, 0);
}

py::object adaptive_avg_pool2d_backward(py::handle dy_, py::handle shape, py::handle channels_last_) {
  constexpr const char* op = "adaptive_avg_pool2d_backward";
  const bool channels_last = truth(op, "channels_last", channels_last_);
  const Input dy = Input::floating(op, "dy", dy_);
  check_images(op, "dy", dy);
  const auto [in_h, in_w] = image_size(op, shape, dy);
  check_adaptive(op, in_h, in_w, dy.shape(2), dy.shape(3));
  return run_average_backward(dy, {in_h, dy.shape(2), 0, 1, 0, 1}, {in_w, dy.shape(3), 0, 1, 0, 1},
                              channels_last, false, 0);
}

// Whether pooling x gives channels-last images: what a gradient's layout is taken from.
bool pools_over_channels(py::handle x_) {
  const Input x = Input::floating("pooling", "x", x_);
  check_images("pooling", "x", x);
  return over_channels(x);
}

}  // namespace

void register_pooling(py::module_& m) {
  using py::arg;
  m.def("max_pool2d", max_pool2d, arg("x"), arg("kernel_size"), arg("stride") = py::none(),
        arg("padding") = 0, arg("dilation") = 1, arg("ceil_mode") = false);
  m.def("max_pool2d_backward", max_pool2d_backward, arg("dy"), arg("where"), arg("shape"), arg("kernel_size"),
        arg("stride") = py::none(), arg("padding") = 0, arg("dilation") = 1, arg("ceil_mode") = false);
  m.def("avg_pool2d", avg_pool2d, arg("x"), arg("kernel_size"), arg("stride") = py::none(),
        arg("padding") = 0, arg("ceil_mode") = false, arg("count_include_pad") = true,
        arg("divisor_override") = py::none());
  m.def("avg_pool2d_backward", avg_pool2d_backward, arg("dy"), arg("shape"), arg("kernel_size"),
        arg("stride") = py::none(), arg("padding") = 0, arg("ceil_mode") = false,
        arg("count_include_pad") = true, arg("divisor_override") = py::none(), arg("channels_last") = false);
  m.def("adaptive_avg_pool2d", adaptive_avg_pool2d, arg("x"), arg("output_size"));
  m.def("adaptive_avg_pool2d_backward", adaptive_avg_pool2d_backward, arg("dy"), arg("shape"),
        arg("channels_last") = false);
  m.def("pools_over_channels", pools_over_channels);
}

}  // namespace ranvier::bind
