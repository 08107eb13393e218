#include <algorithm>
#include <cstdint>
#include <string>

#include "bindings/image_args.h"
#include "kernels/pad/pad.h"
#include "kernels/resample/resample.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kMost = int64_t{1} << 31;  // sums of such numbers do not overflow

// What stands before and after along each dimension; pairs come from the last dimension to the first.
struct Frame {
  int dimensions;  // that the caller names: the last ones
  int64_t before[kMaxDims], after[kMaxDims];
};

Frame frame_of(const char* op, py::handle pad, int ndim) {
  if (!PyTuple_Check(pad.ptr()) && !PyList_Check(pad.ptr()))
    fail_type(op, "got pad " + std::string(py::repr(pad)) + "; expected a tuple of whole numbers");
  const auto items = py::reinterpret_borrow<py::sequence>(pad);
  const int count = static_cast<int>(std::min<size_t>(items.size(), 1000));
  if (count % 2 != 0 || count > 2 * ndim)
    fail_value(op, "got pad with " + std::to_string(count) + " numbers for " + std::to_string(ndim) +
                       " dimensions; expected a pair for each dimension, from the last on");
  Frame f{count / 2, {}, {}};
  for (int i = 0; i < count; ++i) {
    const int64_t n = whole_number(op, "pad", items[i]);
    if (n <= -kMost || n >= kMost)
      fail_value(op, "got pad " + std::string(py::repr(pad)) + "; expected numbers below 2**31");
    (i % 2 == 0 ? f.before : f.after)[ndim - 1 - i / 2] = n;
  }
  return f;
}

ResampleMap map_of(const char* op, const std::string& mode) {
  if (mode == "reflect") return ResampleMap::reflect;
  if (mode == "replicate") return ResampleMap::replicate;
  if (mode == "circular") return ResampleMap::circular;
  fail_value(op, "got mode '" + mode + "'; expected 'constant', 'reflect', 'replicate' or 'circular'");
}

// Fails unless the frame can be filled from an axis of `in` values, of which `out` come.
void check_axis(const char* op, ResampleMap map, int64_t in, int64_t out, int64_t before, int64_t after) {
  const int64_t kept = in + std::min<int64_t>(before, 0) + std::min<int64_t>(after, 0);
  const int64_t most = map == ResampleMap::reflect ? in - 1 : map == ResampleMap::circular ? kept : kMost;
  if (in < 1 || kept < 1 || out < 1 || out >= kMost)
    fail_value(op, "got an axis of " + std::to_string(in) + ", padded to " + std::to_string(out) +
                       "; expected sizes from 1 to 2**31 - 1");
  if (std::max(before, after) > most)
    fail_value(op, "got a pad of " + std::to_string(std::max(before, after)) + " around an axis of " +
                       std::to_string(in) + "; expected at most " + std::to_string(most));
}

ResampleAxis axis(const char* op, ResampleMap map, int64_t in, int64_t before, int64_t after) {
  check_axis(op, map, in, in + before + after, before, after);
  return {map, in, in + before + after, 1, false, before};
}

// The modes that repeat x's own values: of the last one or two dimensions, after one or two others.
py::object repeat(const char* op, const Input& x, const Frame& f, const std::string& mode, bool transposed) {
  const ResampleMap map = map_of(op, mode);
  const int axes = f.dimensions, ndim = x.ndim();
  if ((axes != 1 && axes != 2) || (ndim != axes + 1 && ndim != axes + 2))
    fail_value(op, "got mode '" + mode + "' with " + std::to_string(2 * axes) + " numbers for " +
                       std::to_string(ndim) +
                       " dimensions; expected 2 numbers for (N, C, L) or 4 for (N, C, H, W)");
  int64_t shape[4];
  std::copy(x.shape(), x.shape() + ndim, shape);
  ResampleAxis along[2] = {{map, 1, 1, 1, false, 0}, {}};
  for (int d = 2 - axes; d < 2; ++d) {
    const int at = ndim - 2 + d;
    const int64_t grown = f.before[at] + f.after[at];
    along[d] = axis(op, map, x.shape(at) - (transposed ? grown : 0), f.before[at], f.after[at]);
    shape[at] = transposed ? along[d].in : along[d].out;
  }
  const bool last = over_channels(as_image(x.view<char>(), axes));
  Output y = new_images(x.dtype(), ndim, axes, last, shape);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Resample<T>{as_image(x.view<T>(), axes), as_image(y.view<T>(), axes), along[0], along[1],
                                transposed, last});
  });
  return y.release();
}

// transposed: the frame is taken away.
py::object surround(const char* op, const Input& x, const Frame& f, double value, bool transposed) {
  int64_t shape[kMaxDims] = {}, before[kMaxDims] = {};
  const int sign = transposed ? -1 : 1;
  for (int d = 0; d < x.ndim(); ++d) {
    shape[d] = x.shape(d) + sign * (f.before[d] + f.after[d]);
    before[d] = sign * f.before[d];
    if (shape[d] < 0)
      fail_value(op, "got shape " + shape_text(x.ndim(), x.shape()) + ", of which pad would leave " +
                         std::to_string(shape[d]) + " along dimension " + std::to_string(d) +
                         "; expected at least 0");
  }
  Output y = Output::like(x, x.dtype(), shape);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Pad<T> call{x.view<T>(), y.view<T>(), {}, static_cast<T>(value)};
    std::copy(before, before + kMaxDims, call.before);
    invoke_released(call);
  });
  return y.release();
}

py::object run(const char* op, const char* name, py::handle x_, py::handle pad, py::handle mode_,
               py::handle value, bool transposed) {
  const Input x = Input::floating(op, name, x_);
  const Frame f = frame_of(op, pad, x.ndim());
  const std::string mode = word(op, "mode", mode_);
  if (mode == "constant") return surround(op, x, f, real_number(op, "value", value), transposed);
  return repeat(op, x, f, mode, transposed);
}

}  // namespace

void register_pad(py::module_& m) {
  using py::arg;
  m.def(
      "pad",
      [](py::handle x, py::handle pad, py::handle mode, py::handle value) {
        return run("pad", "x", x, pad, mode, value, false);
      },
      arg("x"), arg("pad"), arg("mode") = "constant", arg("value") = 0.0,
      "y = x with values around it: pad (before, after) of the last dimension, then of the one before ...");
  m.def(
      "pad_backward",
      [](py::handle dy, py::handle pad, py::handle mode) {
        return run("pad_backward", "dy", dy, pad, mode, py::float_(0.0), true);
      },
      arg("dy"), arg("pad"), arg("mode") = "constant", "dx from dy, the gradient of pad's result");
}

}  // namespace ranvier::bind
