#include <algorithm>
#include <cstdint>

#include "bindings/array_args.h"
#include "bindings/rooms.h"
#include "kernels/conv2d/conv2d.h"

namespace ranvier::bind {
namespace {

// What the caller asks for; along h and along w.
struct Arguments {
  int64_t stride[2], before[2], after[2], dilation[2], groups;

  Conv2dGeometry geometry() const {
    return {{stride[0], stride[1]}, {before[0], before[1]}, {dilation[0], dilation[1]}, groups};
  }
};

struct Shapes {
  int64_t n, c, h, w, k, r, s, p, q;
};

int64_t integer(const char* op, const char* name, py::handle value, int64_t least) {
  const int64_t v = whole_number(op, name, value, "an integer or a pair of integers");
  if (v < least || v > INT32_MAX)
    fail_value(op, std::string("got ") + name + " " + std::string(py::str(value)) + "; expected at least " +
                       std::to_string(least) + " and at most 2147483647");
  return v;
}

// A number for both axes, or one for each.
void read_pair(const char* op, const char* name, py::handle value, int64_t least, int64_t (&pair)[2]) {
  const bool sequence = py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value);
  if (!sequence) {
    pair[0] = pair[1] = integer(op, name, value, least);
    return;
  }
  if (py::len(value) != 2)
    fail_value(op, std::string("got ") + name + " " + std::string(py::repr(value)) +
                       "; expected an integer or a pair of integers");
  const auto items = py::reinterpret_borrow<py::sequence>(value);
  for (int d = 0; d < 2; ++d) pair[d] = integer(op, name, py::object(items[d]), least);
}

// 'valid' is none; 'same' keeps the size: where it is uneven, the larger part comes after, as in PyTorch.
void read_padding(const char* op, py::handle padding, const Input& w, Arguments* a) {
  if (!py::isinstance<py::str>(padding)) {
    read_pair(op, "padding", padding, 0, a->before);
    std::copy(a->before, a->before + 2, a->after);
    return;
  }
  const std::string mode = padding.cast<std::string>();
  if (mode != "same" && mode != "valid")
    fail_value(op, "got padding '" + mode + "'; expected 'same', 'valid', an integer or a pair of integers");
  for (int d = 0; d < 2; ++d) {
    const int64_t reach = mode == "same" && w.ndim() == 4 ? a->dilation[d] * (w.shape(2 + d) - 1) : 0;
    a->before[d] = std::max<int64_t>(reach, 0) / 2;
    a->after[d] = std::max<int64_t>(reach, 0) - a->before[d];
    if (mode == "same" && a->stride[d] != 1)
      fail_value(op, "got padding 'same' and stride " + std::to_string(a->stride[d]) + "; expected stride 1");
  }
}

Arguments arguments(const char* op, const Input& w, py::handle stride, py::handle padding,
                    py::handle dilation, py::handle groups) {
  Arguments a{};
  read_pair(op, "stride", stride, 1, a.stride);
  read_pair(op, "dilation", dilation, 1, a.dilation);
  read_padding(op, padding, w, &a);
  a.groups = integer(op, "groups", groups, 1);
  return a;
}

void require_image(const char* op, const char* name, const Input& x, const char* dimensions) {
  if (x.ndim() != 4)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(x.ndim(), x.shape()) +
                       "; expected 4 dimensions " + dimensions);
}

// Output size along one axis.
int64_t output_size(const char* op, const char* axis, int64_t in, int64_t taps, const Arguments& a, int d) {
  const int64_t padded = in + a.before[d] + a.after[d], reach = a.dilation[d] * (taps - 1) + 1;
  if (reach > padded)
    fail_value(op, std::string("got a kernel that reaches over ") + std::to_string(reach) + " pixels along " +
                       axis + " and a padded input of " + std::to_string(padded) +
                       "; expected an input at least as large as the kernel");
  const int64_t out = (padded - reach) / a.stride[d] + 1;
  if (out > (int64_t{1} << 40) / taps)
    fail_value(op, std::string("got an output of ") + std::to_string(out) + " pixels along " + axis +
                       "; expected a size that fits in memory");
  return out;
}

Shapes shapes_of(const char* op, const Input& x, const Input& w, const Arguments& a) {
  require_image(op, "x", x, "(n, c, h, w)");
  require_image(op, "weight", w, "(k, c / groups, r, s)");
  Shapes s{x.shape(0), x.shape(1), x.shape(2), x.shape(3), w.shape(0), w.shape(2), w.shape(3), 0, 0};
  const std::string channels = std::to_string(s.c), groups = std::to_string(a.groups);
  if (s.c % a.groups != 0)
    fail_value(op, "got x with " + channels + " channels and groups " + groups +
                       "; expected channels divisible by groups");
  if (w.shape(1) != s.c / a.groups)
    fail_value(op, "got x with " + channels + " channels and weight for " +
                       std::to_string(w.shape(1) * a.groups) + "; expected weight of shape (K, " +
                       std::to_string(s.c / a.groups) + ", R, S)");
  if (s.k % a.groups != 0)
    fail_value(op, "got weight with " + std::to_string(s.k) + " output channels and groups " + groups +
                       "; expected output channels divisible by groups");
  if (s.r < 1 || s.s < 1 || s.r > INT32_MAX || s.s > INT32_MAX)
    fail_value(op, "got weight of shape " + shape_text(w.ndim(), w.shape()) +
                       "; expected a kernel of at least 1 x 1");
  s.p = output_size(op, "h", s.h, s.r, a, 0);
  s.q = output_size(op, "w", s.w, s.s, a, 1);
  return s;
}

Conv2dActivation activation_of(const char* op, py::handle value) {
  const std::string name = word(op, "activation", value);
  if (name == "none") return Conv2dActivation::none;
  if (name == "relu") return Conv2dActivation::relu;
  fail_value(op, "got activation '" + name + "'; expected 'none' or 'relu'");
}

// The kernel writes contiguous channels: an `out` of another layout is filled from such a result.
bool writes_directly(const Output& y) {
  const auto v = y.view<char>();
  return v.shape[1] == 1 || v.strides[1] == 1;
}

py::object conv2d(py::handle x_, py::handle w_, py::handle bias_, py::handle stride, py::handle padding,
                  py::handle dilation, py::handle groups, py::handle activation, py::handle out) {
  constexpr const char* kOp = "conv2d";
  const Input x = Input::floating(kOp, "x", x_), w = Input::floating(kOp, "weight", w_);
  require_same_dtype(kOp, "x", x, "weight", w);
  const Input bias = Input::optional(kOp, "bias", bias_, x.dtype());
  const Arguments a = arguments(kOp, w, stride, padding, dilation, groups);
  const Shapes s = shapes_of(kOp, x, w, a);
  if (bias && (bias.ndim() != 1 || bias.shape(0) != s.k))
    fail_value(kOp, "got bias of shape " + shape_text(bias.ndim(), bias.shape()) + "; expected (" +
                        std::to_string(s.k) + ",)");
  const Conv2dActivation act = activation_of(kOp, activation);
  const int64_t shape[] = {s.n, s.k, s.p, s.q};
  if (given(out)) {
    const Output y = Output::given(kOp, out, x.dtype(), 4, shape);
    y.apart_from(kOp, x).apart_from(kOp, w).apart_from(kOp, bias);
  }
  const bool direct = given(out) && writes_directly(Output::given(kOp, out, x.dtype(), 4, shape));
  Output y = direct ? Output::given(kOp, out, x.dtype(), 4, shape)
                    : Output::channels_last(x.dtype(), s.n, s.k, s.p, s.q);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(
        Conv2dForward<T>{x.view<T>(), w.view<T>(), bias.view<T>(), y.view<T>(), a.geometry(), act});
  });
  if (!given(out) || direct) return y.release();
  out.attr("__setitem__")(py::ellipsis(), y.release());
  return py::reinterpret_borrow<py::object>(out);
}

py::tuple conv2d_backward(py::handle dy_, py::handle x_, py::handle w_, py::handle stride, py::handle padding,
                          py::handle dilation, py::handle groups, py::handle need_dx_, py::handle need_dw_,
                          py::handle need_db_) {
  constexpr const char* kOp = "conv2d_backward";
  const bool need_dx = truth(kOp, "need_dx", need_dx_), need_dw = truth(kOp, "need_dw", need_dw_),
             need_db = truth(kOp, "need_db", need_db_);
  const Input x = Input::floating(kOp, "x", x_), w = Input::floating(kOp, "weight", w_);
  const Input dy = Input::floating(kOp, "dy", dy_);
  require_same_dtype(kOp, "x", x, "weight", w);
  require_same_dtype(kOp, "x", x, "dy", dy);
  const Arguments a = arguments(kOp, w, stride, padding, dilation, groups);
  const Shapes s = shapes_of(kOp, x, w, a);
  const int64_t expected[] = {s.n, s.k, s.p, s.q};
  if (dy.ndim() != 4 || !std::equal(expected, expected + 4, dy.shape()))
    fail_value(kOp, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + "; expected " +
                        shape_text(4, expected));
  py::object dx = py::none(), dw = py::none(), db = py::none();
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if (need_dx) {
      Output out = Output::channels_last(x.dtype(), s.n, s.c, s.h, s.w);
      invoke_released(Conv2dBackwardInput<T>{dy.view<T>(), w.view<T>(), out.view<T>(), a.geometry()});
      dx = out.release();
    }
    if (!need_dw && !need_db) return;
    Output weight = Output::contiguous(x.dtype(), {need_dw ? s.k : 0, s.c / a.groups, s.r, s.s});
    Output bias = Output::contiguous(x.dtype(), {need_db ? s.k : 0});
    Conv2dBackwardWeight<T> call{dy.view<T>(), x.view<T>(), {}, {}, a.geometry(), {s.r, s.s}};
    if (need_dw) call.dw = weight.view<T>();
    if (need_db) call.db = bias.view<T>();
    invoke_released(call);
    if (need_dw) dw = weight.release();
    if (need_db) db = bias.release();
  });
  return py::make_tuple(dx, dw, db);
}

}  // namespace

void register_conv2d(py::module_& m) {
  const py::int_ zero(0), one(1);
  m.def("conv2d", conv2d, py::arg("x"), py::arg("w"), py::arg("bias") = py::none(), py::arg("stride") = one,
        py::arg("padding") = zero, py::arg("dilation") = one, py::arg("groups") = one,
        py::arg("activation") = "none", py::arg("out") = py::none(),
        "y = activation(x * w + bias): (n, c, h, w) with (k, c / groups, r, s) gives (n, k, p, q)");
  m.def("conv2d_backward", conv2d_backward, py::arg("dy"), py::arg("x"), py::arg("w"),
        py::arg("stride") = one, py::arg("padding") = zero, py::arg("dilation") = one,
        py::arg("groups") = one, py::arg("need_dx") = true, py::arg("need_dw") = true,
        py::arg("need_db") = true,
        "(dx, dw, db) from dy, the gradient of conv2d's result; None for those not needed");
}

}  // namespace ranvier::bind
