#include "bindings/conv_args.h"

#include <algorithm>
#include <cstdint>

namespace ranvier::bind {
namespace {

constexpr int64_t kMostChannels = int64_t{1} << 30;  // a pixel of so many is counted by int

int64_t integer(const ConvOp& op, const char* name, py::handle value, int64_t least) {
  const int64_t v = whole_number(op.name, name, value, op.sizes());
  if (v < least || v > INT32_MAX)
    fail_value(op.name, std::string("got ") + name + " " + std::string(py::str(value)) +
                            "; expected at least " + std::to_string(least) + " and at most 2147483647");
  return v;
}

// 'valid' is none; 'same' keeps the size: where it is uneven, the larger part comes after, as in PyTorch.
void read_padding_word(const ConvOp& op, const std::string& mode, const Input& w, ConvArguments* a) {
  if (mode != "same" && mode != "valid")
    fail_value(op.name, "got padding '" + mode + "'; expected 'same', 'valid', " + op.sizes());
  for (int d = 0; d < 2; ++d) {
    const bool pads = mode == "same" && w.ndim() == 2 + op.axes;
    const int64_t reach = pads ? a->dilation[d] * (conv_size(op, w, d) - 1) : 0;
    a->before[d] = std::max<int64_t>(reach, 0) / 2;
    a->after[d] = std::max<int64_t>(reach, 0) - a->before[d];
    if (mode == "same" && a->stride[d] != 1)
      fail_value(op.name,
                 "got padding 'same' and stride " + std::to_string(a->stride[d]) + "; expected stride 1");
  }
}

// Output size along one axis.
int64_t output_size(const ConvOp& op, int64_t in, int64_t taps, const ConvArguments& a, int d) {
  const int64_t padded = in + a.before[d] + a.after[d], reach = a.dilation[d] * (taps - 1) + 1;
  const char* unit = op.axes == 1 ? "samples" : "pixels";
  if (reach > padded)
    fail_value(op.name, std::string("got a kernel that reaches over ") + std::to_string(reach) + " " + unit +
                            " along " + op.axis(d) + " and a padded input of " + std::to_string(padded) +
                            "; expected an input at least as large as the kernel");
  const int64_t out = (padded - reach) / a.stride[d] + 1;
  if (out > (int64_t{1} << 40) / taps)
    fail_value(op.name, std::string("got an output of ") + std::to_string(out) + " " + unit + " along " +
                            op.axis(d) + "; expected a size that fits in memory");
  return out;
}

bool writes_directly(const Output& y) {
  const auto v = y.view<char>();
  return v.shape[1] == 1 || v.strides[1] == 1;
}

}  // namespace

// A number for all axes, or one for each.
void read_conv_sizes(const ConvOp& op, const char* name, py::handle value, int64_t least,
                     int64_t (&sizes)[2]) {
  const bool sequence = py::isinstance<py::tuple>(value) || py::isinstance<py::list>(value);
  if (sequence && static_cast<int>(py::len(value)) != op.axes)
    fail_value(op.name,
               std::string("got ") + name + " " + std::string(py::repr(value)) + "; expected " + op.sizes());
  for (int d = 2 - op.axes; d < 2; ++d) {
    if (!sequence) {
      sizes[d] = integer(op, name, value, least);
    } else {
      const auto items = py::reinterpret_borrow<py::sequence>(value);
      sizes[d] = integer(op, name, py::object(items[d - (2 - op.axes)]), least);
    }
  }
}

ConvArguments conv_arguments(const ConvOp& op, const Input& w, py::handle stride, py::handle padding,
                             py::handle dilation, py::handle groups, bool words) {
  ConvArguments a{{1, 1}, {0, 0}, {0, 0}, {1, 1}, 1, {0, 0}};
  read_conv_sizes(op, "stride", stride, 1, a.stride);
  read_conv_sizes(op, "dilation", dilation, 1, a.dilation);
  if (words && py::isinstance<py::str>(padding)) {
    read_padding_word(op, padding.cast<std::string>(), w, &a);
  } else {
    read_conv_sizes(op, "padding", padding, 0, a.before);
    std::copy(a.before, a.before + 2, a.after);
  }
  a.groups = integer(op, "groups", groups, 1);
  return a;
}

void require_conv_dimensions(const ConvOp& op, const char* name, const Input& x, const char* dimensions) {
  if (x.ndim() != 2 + op.axes)
    fail_value(op.name, std::string("got ") + name + " of shape " + shape_text(x.ndim(), x.shape()) +
                            "; expected " + std::to_string(2 + op.axes) + " dimensions " + dimensions);
  if (x.shape(1) > kMostChannels)
    fail_value(op.name, std::string("got ") + name + " of shape " + shape_text(x.ndim(), x.shape()) +
                            "; expected at most 2**30 channels");
}

void require_conv_taps(const ConvOp& op, const Input& w, ConvShapes* s) {
  s->r = conv_size(op, w, 0), s->s = conv_size(op, w, 1);
  if (s->r < 1 || s->s < 1 || s->r > INT32_MAX || s->s > INT32_MAX)
    fail_value(op.name, "got weight of shape " + shape_text(w.ndim(), w.shape()) +
                            "; expected a kernel of at least " + (op.axes == 1 ? "1" : "1 x 1"));
}

void require_conv_bias(const ConvOp& op, const Input& bias, int64_t channels) {
  if (bias && (bias.ndim() != 1 || bias.shape(0) != channels))
    fail_value(op.name, "got bias of shape " + shape_text(bias.ndim(), bias.shape()) + "; expected (" +
                            std::to_string(channels) + ",)");
}

ConvShapes conv_shapes(const ConvOp& op, const Input& x, const Input& w, const ConvArguments& a) {
  require_conv_dimensions(op, "x", x, op.image());
  require_conv_dimensions(op, "weight", w, op.axes == 1 ? "(k, c / groups, s)" : "(k, c / groups, r, s)");
  ConvShapes s{x.shape(0), x.shape(1), conv_size(op, x, 0), conv_size(op, x, 1), w.shape(0), 0, 0, 0, 0};
  const std::string channels = std::to_string(s.c), groups = std::to_string(a.groups);
  if (s.c % a.groups != 0)
    fail_value(op.name, "got x with " + channels + " channels and groups " + groups +
                            "; expected channels divisible by groups");
  if (w.shape(1) != s.c / a.groups)
    fail_value(op.name, "got x with " + channels + " channels and weight for " +
                            std::to_string(w.shape(1) * a.groups) + "; expected weight of shape (K, " +
                            std::to_string(s.c / a.groups) + ", " + op.taps() + ")");
  if (s.k > kMostChannels)
    fail_value(op.name,
               "got weight with " + std::to_string(s.k) + " output channels; expected at most 2**30");
  if (s.k % a.groups != 0)
    fail_value(op.name, "got weight with " + std::to_string(s.k) + " output channels and groups " + groups +
                            "; expected output channels divisible by groups");
  require_conv_taps(op, w, &s);
  s.p = output_size(op, s.h, s.r, a, 0);
  s.q = output_size(op, s.w, s.s, a, 1);
  return s;
}

Conv2dActivation conv_activation(const ConvOp& op, py::handle value) {
  const std::string name = word(op.name, "activation", value);
  if (name == "none") return Conv2dActivation::none;
  if (name == "relu") return Conv2dActivation::relu;
  fail_value(op.name, "got activation '" + name + "'; expected 'none' or 'relu'");
}

PoolWindow pool_window(const ConvOp& op, py::handle window, const ConvShapes& s) {
  PoolWindow v{{1, 1}, 0, 0};
  read_conv_sizes(op, "window", window, 1, v.size);
  const auto text = [](int64_t h, int64_t w) { return std::to_string(h) + " x " + std::to_string(w); };
  const std::string got = "got a window of " + text(v.size[0], v.size[1]);
  if (v.size[0] * v.size[1] > 256) fail_value(op.name, got + "; expected at most 256 elements");
  if (v.size[0] > s.p || v.size[1] > s.q)
    fail_value(op.name, got + " and a convolution's result of " + text(s.p, s.q) +
                            "; expected a result of at least one window");
  v.rows = s.p / v.size[0], v.columns = s.q / v.size[1];
  return v;
}

Output conv_output(const ConvOp& op, DType dtype, const ConvShape& s) {
  return new_images(dtype, s.ndim, op.axes, true, s.shape);
}

void require_conv_gradient(const ConvOp& op, const Input& dy, const ConvShape& expected) {
  if (dy.ndim() != expected.ndim || !std::equal(dy.shape(), dy.shape() + dy.ndim(), expected.shape))
    fail_value(op.name, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + "; expected " +
                            shape_text(expected.ndim, expected.shape));
}

ConvResult::ConvResult(const ConvOp& op, py::handle out, DType dtype, const ConvShape& shape,
                       std::initializer_list<const Input*> inputs)
    : axes(op.axes), out(out), direct(false), y([&] {
        if (given(out)) {
          Output wanted = Output::given(op.name, out, dtype, shape.ndim, shape.shape);
          for (const Input* x : inputs) wanted.apart_from(op.name, *x);
          direct = writes_directly(wanted);
          if (direct) return wanted;
        }
        return conv_output(op, dtype, shape);
      }()) {}

py::object ConvResult::release() {
  if (!given(out) || direct) return y.release();
  out.attr("__setitem__")(py::ellipsis(), y.release());
  return py::reinterpret_borrow<py::object>(out);
}

}  // namespace ranvier::bind
