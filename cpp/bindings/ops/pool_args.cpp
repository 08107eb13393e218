// Reads and checks the windows of pooling, and counts them (pool_args.h).
#include "bindings/ops/pool_args.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kMostSize = int64_t{1}
                              << 31;  // sizes are below this, so that sums and products fit in int64

int64_t size_number(const PoolOp& op, const Arg& arg) { return Whole(arg, op.number()); }

// A setting along h and w. row: its value along h for a signal, whose h has one row.
HeightWidth read_pair(const PoolOp& op, const PerAxis& arg, int64_t row) {
  const auto items = arg.items(op.axes, op.number(), /*one_for_all=*/true);
  const auto number = [&](int d) { return size_number(op, {arg.op, arg.name, items[d]}); };
  if (op.axes == 1) return {row, number(1)};
  const int64_t along_h = number(0);
  return {along_h, number(1)};
}

void expect_windows(const PoolOp& op, const Window& h, const Window& w) {
  const auto expect = [&](bool right, const char* name, int64_t a, int64_t b, const char* expected) {
    if (!right) fail_value(op.name, "got ", name, " ", op.sizes(a, b), "; expected ", expected);
  };
  const auto within = [](int64_t a, int64_t b, int64_t least) {
    return a >= least && b >= least && a < kMostSize && b < kMostSize;
  };
  expect(within(h.kernel, w.kernel, 1), "kernel_size", h.kernel, w.kernel, op.at_least(true));
  expect(within(h.stride, w.stride, 1), "stride", h.stride, w.stride, op.at_least(true));
  expect(within(h.dilation, w.dilation, 1), "dilation", h.dilation, w.dilation, op.at_least(true));
  expect(within(h.padding, w.padding, 0), "padding", h.padding, w.padding, op.at_least(false));
  expect(h.kernel * w.kernel < kMostSize, "kernel_size", h.kernel, w.kernel,
         "windows of at most 2**31 - 1 elements");
  const int64_t most_h = ((h.kernel - 1) * h.dilation + 1) / 2;
  const int64_t most_w = ((w.kernel - 1) * w.dilation + 1) / 2;
  if (h.padding > most_h || w.padding > most_w)
    fail_value(op.name, "got padding ", op.sizes(h.padding, w.padding),
               "; expected at most half of the window, ", op.sizes(most_h, most_w));
}

// The number of windows along an axis of size `in`: floor((in + 2 padding - extent) / stride) + 1, where a
// window's extent is (kernel - 1) * dilation + 1. With ceil_mode it is rounded up, but a last window that
// would begin in the padding after the image is left out.
int64_t windows_along(int64_t in, const Window& w, bool ceil_mode) {
  const int64_t extent = (w.kernel - 1) * w.dilation + 1;
  const int64_t spare = in + 2 * w.padding - extent;  // what is left beside the first window
  if (spare < 0 && !(ceil_mode && spare + w.stride > 0)) return 0;
  const int64_t rounded_up = ceil_mode ? w.stride - 1 : 0;
  int64_t out = (spare + rounded_up) / w.stride + 1;
  if (ceil_mode && (out - 1) * w.stride >= in + w.padding) --out;
  return out;
}

PoolAxis axis(int64_t in, const Window& w, bool ceil_mode) {
  const int64_t out = windows_along(in, w, ceil_mode);
  // With one window the stride has no effect, with one tap the dilation: small values keep buffers small.
  const int64_t stride = out > 1 ? w.stride : std::min(w.stride, in + w.kernel);
  const int64_t dilation = w.kernel > 1 ? w.dilation : 1;
  return {in, out, w.kernel, stride, w.padding, dilation};
}

}  // namespace

Windows read_windows(const PoolOp& op, const PerAxis& kernel, const MaybePerAxis& stride,
                     const PerAxis& padding, const PerAxis* dilation) {
  const HeightWidth k = read_pair(op, kernel, 1);
  const HeightWidth s = stride.given() ? read_pair(op, stride, 1) : k;
  const HeightWidth p = read_pair(op, padding, 0);
  const HeightWidth d = dilation ? read_pair(op, *dilation, 1) : HeightWidth{1, 1};
  const Windows found{{k.h, s.h, p.h, d.h}, {k.w, s.w, p.w, d.w}};
  expect_windows(op, found.h, found.w);
  return found;
}

PoolAxes pool_axes(const PoolOp& op, const HeightWidth& in, const Windows& windows, bool ceil_mode) {
  const auto [h, w] = windows;
  const PoolAxes found{axis(in.h, h, ceil_mode), axis(in.w, w, ceil_mode)};
  if (found.rows.out < 1 || found.columns.out < 1)
    fail_value(op.name, "got ", op.images(), " of ", op.sizes(in.h, in.w), " for windows of ",
               op.sizes((h.kernel - 1) * h.dilation + 1, (w.kernel - 1) * w.dilation + 1), " and padding ",
               op.sizes(h.padding, w.padding), "; expected ", op.images(),
               " that at least one window fits into");
  return found;
}

PoolAxes adaptive_axes(const PoolOp& op, const Input& x, const OutputSize& arg) {
  const HeightWidth in = image_size(op, x);
  const auto items = arg.items(op.axes, op.number());
  const auto size = [&](int d, int64_t own) {
    return items[d].is_none() ? own : size_number(op, {arg.op, arg.name, items[d]});
  };
  int64_t rows = 1;
  if (op.axes == 2) rows = size(0, in.h);
  return adaptive_axes(op, in, {rows, size(1, in.w)});
}

PoolAxes adaptive_axes(const PoolOp& op, const HeightWidth& in, const HeightWidth& out) {
  if (out.h < 0 || out.w < 0 || out.h >= kMostSize || out.w >= kMostSize)
    fail_value(op.name, "got output_size ", op.sizes(out.h, out.w), "; expected ", op.at_least(false));
  if (in.h < 1 || in.w < 1) {
    const char* const element = op.axes == 1 ? "sample" : "pixel";
    fail_value(op.name, "got ", op.images(), " of ", op.sizes(in.h, in.w), "; expected at least one ",
               element);
  }
  const PoolAxes found{{in.h, out.h, 0, 1, 0, 1}, {in.w, out.w, 0, 1, 0, 1}};
  const int64_t h = pool_longest_window(found.rows);
  const int64_t w = pool_longest_window(found.columns);
  if (h >= kMostSize || w >= kMostSize || h * w >= kMostSize)
    fail_value(op.name, "got output_size ", op.sizes(out.h, out.w), " for ", op.images(), " of ",
               op.sizes(in.h, in.w), "; expected windows of at most 2**31 - 1 elements");
  return found;
}

HeightWidth image_size(const PoolOp& op, const Input& x) {
  return op.axes == 1 ? HeightWidth{1, x.shape(2)} : HeightWidth{x.shape(2), x.shape(3)};
}

HeightWidth size_of_shape(const PoolOp& op, const Sizes& shape, const Input& dy) {
  if (shape.count() != 2 + op.axes) shape.fail(op.dimensions());
  if (shape[0] != dy.shape(0) || shape[1] != dy.shape(1))
    fail_value(op.name, "got dy of shape ", dy.shape(), " for x of shape ", shape.value,
               "; expected the same N and C");
  const HeightWidth size = op.axes == 1 ? HeightWidth{1, shape[2]} : HeightWidth{shape[2], shape[3]};
  if (size.h < 0 || size.w < 0 || size.h >= kMostSize || size.w >= kMostSize)
    shape.fail("sizes from 0 to 2**31 - 1");
  return size;
}

void expect_pooled(const PoolOp& op, const Input& dy, const PoolAxes& axes) {
  Shape expected{0, 0};  // (n, c) are dy's own
  for (int d = 0; d < std::min(dy.ndim(), 2); ++d) expected[d] = dy.shape(d);
  if (op.axes == 2) expected.append(axes.rows.out);
  expected.append(axes.columns.out);
  dy.expect_shape(expected);
}

bool pools_over_channels(const PoolOp& op, const Input& x) {
  return over_channels(as_image(x.view<char>(), op.axes));
}

Output pooled_output(const PoolOp& op, DType dtype, bool channels_last, const Input& like,
                     const HeightWidth& size) {
  Shape shape{like.shape(0), like.shape(1)};
  if (op.axes == 2) shape.append(size.h);
  shape.append(size.w);
  return new_images(dtype, op.axes, channels_last, shape);
}

}  // namespace ranvier::bind
