// Reads and checks the arguments of convolutions (conv_args.h).
#include "bindings/ops/conv_args.h"

#include "kernels/copy/copy.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kMostChannels = int64_t{1} << 30;  // kernels count the channels of a pixel with an int

// A whole number of at least `least` that an int holds.
int64_t integer(const ConvOp& op, const Arg& arg, int64_t least) {
  const Whole v(arg, op.sizes());
  if (v < least || v > INT32_MAX) arg.fail("at least ", least, " and at most 2147483647");
  return v;
}

// 'valid': no padding. 'same': y has the size of x. If the padding of an axis is odd, the larger part comes
// after x, as in PyTorch.
void read_padding_name(const ConvOp& op, const Name& mode, const Input& w, ConvArguments* a) {
  if (mode.text != "same" && mode.text != "valid") mode.fail("'same', 'valid', ", op.sizes());
  const bool same = mode.text == "same";
  for (int d = 0; d < 2; ++d) {
    const bool pads = same && w.ndim() == 2 + op.axes;
    const int64_t reach = pads ? a->dilation[d] * (conv_size(op, w, d) - 1) : 0;
    a->before[d] = std::max<int64_t>(reach, 0) / 2;
    a->after[d] = std::max<int64_t>(reach, 0) - a->before[d];
    if (same && a->stride[d] != 1)
      fail_value(op.name, "got padding 'same' and stride ", a->stride[d], "; expected stride 1");
  }
}

// The size of y along axis d. Fails if y would be empty or too large.
int64_t output_size(const ConvOp& op, int64_t in, int64_t taps, const ConvArguments& a, int d) {
  const int64_t padded = in + a.before[d] + a.after[d];
  const int64_t reach = a.dilation[d] * (taps - 1) + 1;
  const char* unit = op.axes == 1 ? " samples along " : " pixels along ";
  if (reach > padded)
    fail_value(op.name, "got a kernel that reaches over ", reach, unit, op.axis(d), " and a padded input of ",
               padded, "; expected an input at least as large as the kernel");
  const int64_t out = (padded - reach) / a.stride[d] + 1;
  if (out > (int64_t{1} << 40) / taps)
    fail_value(op.name, "got an output of ", out, unit, op.axis(d), "; expected a size that fits in memory");
  return out;
}

}  // namespace

void read_conv_sizes(const ConvOp& op, const PerAxis& arg, int64_t least, int64_t (&sizes)[2]) {
  const auto items = arg.items(op.axes, op.sizes(), true);
  for (int d = 2 - op.axes; d < 2; ++d) sizes[d] = integer(op, {arg.op, arg.name, items[d]}, least);
}

ConvArguments conv_arguments(const ConvOp& op, const Input& w, const PerAxis& stride, const PerAxis& padding,
                             const PerAxis& dilation, bool names) {
  ConvArguments a;
  read_conv_sizes(op, stride, 1, a.stride);
  read_conv_sizes(op, dilation, 1, a.dilation);
  if (names && PyUnicode_Check(padding.value.ptr())) {
    read_padding_name(op, Name(padding), w, &a);
  } else {
    read_conv_sizes(op, padding, 0, a.before);
    std::copy(a.before, a.before + 2, a.after);
  }
  return a;
}

int64_t read_groups(const ConvOp& op, const Arg& groups) { return integer(op, groups, 1); }

void expect_conv_dimensions(const ConvOp& op, const Input& x, const char* dimensions) {
  if (x.ndim() != 2 + op.axes) x.fail(2 + op.axes, " dimensions ", dimensions);
  if (x.shape(1) > kMostChannels) x.fail("at most 2**30 channels");
}

void read_conv_taps(const ConvOp& op, const Input& w, ConvShapes* s) {
  s->r = conv_size(op, w, 0);
  s->s = conv_size(op, w, 1);
  if (s->r < 1 || s->s < 1 || s->r > INT32_MAX || s->s > INT32_MAX) {
    const char* const least = op.axes == 1 ? "1" : "1 x 1";
    w.fail("a kernel of at least ", least);
  }
}

ConvShapes conv_shapes(const ConvOp& op, const Input& x, const Input& w, const ConvArguments& a) {
  expect_conv_dimensions(op, x, op.image());
  const char* const dimensions_of_w = op.axes == 1 ? "(k, c / groups, s)" : "(k, c / groups, r, s)";
  expect_conv_dimensions(op, w, dimensions_of_w);
  ConvShapes s{x.shape(0), x.shape(1), conv_size(op, x, 0), conv_size(op, x, 1), w.shape(0), 0, 0, 0, 0};
  if (s.c % a.groups != 0)
    fail_value(op.name, "got x with ", s.c, " channels and groups ", a.groups,
               "; expected channels divisible by groups");
  if (w.shape(1) != s.c / a.groups)
    fail_value(op.name, "got x with ", s.c, " channels and weight for ", w.shape(1) * a.groups,
               "; expected weight of shape (K, ", s.c / a.groups, ", ", op.taps(), ")");
  if (s.k > kMostChannels)
    fail_value(op.name, "got weight with ", s.k, " output channels; expected at most 2**30");
  if (s.k % a.groups != 0)
    fail_value(op.name, "got weight with ", s.k, " output channels and groups ", a.groups,
               "; expected output channels divisible by groups");
  read_conv_taps(op, w, &s);
  s.p = output_size(op, s.h, s.r, a, 0);
  s.q = output_size(op, s.w, s.s, a, 1);
  return s;
}

Conv2dActivation conv_activation(const Name& name) {
  constexpr Conv2dActivation kinds[] = {Conv2dActivation::none, Conv2dActivation::relu};
  return kinds[name.one_of({"none", "relu"})];
}

ResultWindow result_window(const ConvOp& op, const PerAxis& window, const ConvShapes& s) {
  ResultWindow v{{1, 1}, 0, 0};
  read_conv_sizes(op, window, 1, v.size);
  const auto text = [](int64_t h, int64_t w) { return std::to_string(h) + " x " + std::to_string(w); };
  if (v.size[0] * v.size[1] > 256)
    fail_value(op.name, "got a window of ", text(v.size[0], v.size[1]), "; expected at most 256 elements");
  if (v.size[0] > s.p || v.size[1] > s.q)
    fail_value(op.name, "got a window of ", text(v.size[0], v.size[1]), " and a convolution's result of ",
               text(s.p, s.q), "; expected a result of at least one window");
  v.rows = s.p / v.size[0];
  v.columns = s.q / v.size[1];
  return v;
}

bool ConvResult::writes_directly() const {
  const auto v = y_.view<char>();
  return v.shape[1] == 1 || v.strides[1] == 1;
}

Output ConvResult::finish() {
  const auto copy = [&](auto tag) {
    using T = decltype(tag);
    if (temporary_) invoke_released(Copy<T>{as_const(temporary_->view<T>()), y_});
  };
  if (stored_as(dtype_) == Stored::whole) {
    with_float(dtype_, copy);
  } else {
    copy(BFloat16{});
  }
  return std::move(y_);
}

}  // namespace ranvier::bind
