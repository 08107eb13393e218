// Binds pad, with its gradient. Constant padding is a kernel of its own (surrounded()); the modes that repeat
// x's values are resampling with a scale of 1 (repeated()).
#include "bindings/binder/define.h"
#include "bindings/ops/image_args.h"
#include "kernels/pad/pad.h"
#include "kernels/resample/resample.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;  // sizes and pads are below this, so that sums do not overflow

// How many elements are added before and after x along each dimension; negative: are cut off. The argument
// `pad` has pairs from the last dimension to the first.
struct PadFrame {
  int dimensions;  // how many dimensions the caller pads: the last ones
  int64_t before[kMaxDims], after[kMaxDims];
};

PadFrame frame_of(const Sizes& pad, int ndim) {
  const int count = pad.count();
  if (count % 2 != 0 || count > 2 * ndim)
    fail_value(pad.op, "got pad with ", count, " numbers for ", ndim,
               " dimensions; expected a pair for each dimension, from the last on");
  PadFrame f{count / 2, {}, {}};
  for (int i = 0; i < count; ++i) {
    const int64_t n = pad[i];
    if (n <= -kMost || n >= kMost) pad.fail("numbers below 2**31");
    const int d = ndim - 1 - i / 2;  // pairs (before, after), from the last dimension on
    if (i % 2 == 0) {
      f.before[d] = n;
    } else {
      f.after[d] = n;
    }
  }
  return f;
}

// Fails unless an axis of `in` elements can be padded to `out` by this mode, which repeats the axis's own
// values.
void check_axis(const char* op, ResampleMap map, int64_t in, int64_t out, int64_t before, int64_t after) {
  const int64_t kept = in + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0);
  int64_t most = kMost;
  if (map == ResampleMap::reflect) most = in - 1;  // the edge itself is not repeated
  if (map == ResampleMap::circular) most = kept;
  const bool none = kept < 1 && map == ResampleMap::circular;
  if (in < 1 || none || out < 1 || out >= kMost)
    fail_value(op, "got an axis of ", in, ", padded to ", out, "; expected sizes from 1 to 2**31 - 1");
  const int64_t larger = std::max(before, after);
  if (larger > most)
    fail_value(op, "got a pad of ", larger, " around an axis of ", in, "; expected at most ", most);
}

ResampleAxis axis(const char* op, ResampleMap map, int64_t in, int64_t before, int64_t after) {
  check_axis(op, map, in, in + before + after, before, after);
  return {map, in, in + before + after, 1, false, before};
}

// Padding by the modes that repeat x's own values. x has one or two padded dimensions, the last ones, after
// one or two others. transposed: x is the gradient of a padded array, and that of the array before is
// computed.
Output repeated(const Input& x, const PadFrame& f, const Name& mode, bool transposed) {
  constexpr ResampleMap maps[] = {ResampleMap::reflect, ResampleMap::replicate, ResampleMap::circular};
  const ResampleMap map = maps[mode.one_of({"constant", "reflect", "replicate", "circular"}) - 1];
  const int axes = f.dimensions;
  const int ndim = x.ndim();
  if ((axes != 1 && axes != 2) || (ndim != axes + 1 && ndim != axes + 2))
    fail_value(x.op(), "got mode ", mode.value, " with ", 2 * axes, " numbers for ", ndim,
               " dimensions; expected 2 numbers for (N, C, L) or 4 for (N, C, H, W)");
  Shape shape = x.shape();
  ResampleAxis along[2] = {{map, 1, 1, 1, false, 0}, {}};
  for (int d = 2 - axes; d < 2; ++d) {
    const int at = ndim - 2 + d;
    const int64_t grown = f.before[at] + f.after[at];
    along[d] = axis(x.op(), map, x.shape(at) - (transposed ? grown : 0), f.before[at], f.after[at]);
    shape[at] = transposed ? along[d].in : along[d].out;
  }
  const bool last = over_channels(as_image(x.view<char>(), axes));
  Output y = new_images(x.dtype(), axes, last, shape);
  run<Resample>(x.dtype(), image(x, axes), image(y, axes), along[0], along[1], transposed, last);
  return y;
}

// Padding by a constant. transposed: removes the padding, which gives the gradient.
Output surrounded(const Input& x, const PadFrame& f, double value, bool transposed) {
  Shape shape = x.shape();
  int64_t before[kMaxDims] = {};
  const int sign = transposed ? -1 : 1;
  for (int d = 0; d < x.ndim(); ++d) {
    shape[d] += sign * (f.before[d] + f.after[d]);
    before[d] = sign * f.before[d];
    if (shape[d] < 0)
      fail_value(x.op(), "got shape ", x.shape(), ", of which pad would leave ", shape[d],
                 " along dimension ", d, "; expected at least 0");
  }
  Output y = Output::like(x, x.dtype(), shape);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Pad<T> call{x, y, {}, static_cast<T>(value)};
    std::copy(before, before + kMaxDims, call.before);
    invoke_released(call);
  });
  return y;
}

Output pad(const Floats& x, Sizes pad, Name mode, Real value) {
  const PadFrame f = frame_of(pad, x.ndim());
  return mode.text == "constant" ? surrounded(x, f, value, false) : repeated(x, f, mode, false);
}

Output pad_backward(const Floats& dy, Sizes pad, Name mode) {
  const PadFrame f = frame_of(pad, dy.ndim());
  return mode.text == "constant" ? surrounded(dy, f, 0, true) : repeated(dy, f, mode, true);
}

}  // namespace

void register_pad(Module m) {
  def(m, "pad(x, pad, mode='constant', value=0.0)", pad);
  def(m, "pad_backward(dy, pad, mode='constant')", pad_backward);
}

}  // namespace ranvier::bind
