// Binds interpolate (images and signals resampled to other sizes) and grid_sample (images read at the points
// of a grid), with their gradients.
#include <cmath>

#include "bindings/binder/copied.h"
#include "bindings/ops/image_args.h"
#include "kernels/resample/grid/grid.h"
#include "kernels/resample/resample.h"

namespace ranvier::bind {
namespace {

// The limit of pixels along an axis: kernels count four inputs for each with int32.
constexpr int64_t kMostPixels = int64_t{1} << 29;

struct Mode {
  const char* name;
  ResampleMap map;
  int axes;  // 1: of signals, 2: of images, 0: of both
};
constexpr Mode kModes[] = {{"nearest", ResampleMap::nearest, 0},
                           {"nearest-exact", ResampleMap::nearest_exact, 0},
                           {"linear", ResampleMap::linear, 1},
                           {"bilinear", ResampleMap::linear, 2},
                           {"bicubic", ResampleMap::cubic, 2}};

struct Factors : PerAxis {
  RANVIER_ANNOTATION("float | Sequence[float] | None");
  using PerAxis::PerAxis;
};
const char* number_for(int axes) { return axes == 1 ? "one number" : "a number or a pair of them"; }

// The sizes of x and of the result, and scale_factor, along h and w. Of a signal, those along h are not used.
struct Sizes2d {
  int64_t in[2], out[2];
  double factor[2];  // 0: not given
};

// The settings of a call of interpolate, checked.
struct Interpolation {
  int axes;
  ResampleMap map;
  bool align_corners;

  Interpolation(const Input& x, const Name& mode, const Truth& align)
      : axes(x.ndim() - 2), align_corners(align) {
    if (x.ndim() != 3 && x.ndim() != 4) x.fail("signals (N, C, L) or images (N, C, H, W)");
    const Mode* found = nullptr;
    for (const Mode& m : kModes)
      if (mode.text == m.name && (m.axes == 0 || m.axes == axes)) found = &m;
    if (!found) {
      const char* const others = axes == 1 ? "'linear'" : "'bilinear' or 'bicubic'";
      fail_value(x.op(), "got mode ", mode.value, " for ", axes + 2,
                 " dimensions; expected 'nearest', 'nearest-exact', ", others);
    }
    map = found->map;
    if (align_corners && map <= ResampleMap::nearest_exact)
      fail_value(x.op(), "got align_corners for a nearest mode; expected 'linear', 'bilinear' or 'bicubic'");
  }

  // How axis d (0: h, 1: w) is resampled. A signal's h, which has one row, is left as it is.
  ResampleAxis axis(const Sizes2d& s, int d) const {
    if (d < 2 - axes) return {ResampleMap::nearest, 1, 1, 1, false, 0};
    const double in = static_cast<double>(s.in[d]);
    const double out = static_cast<double>(s.out[d]);
    double scale = in / out;  // elements of the input for one of the result
    if (s.factor[d] > 0) scale = 1 / s.factor[d];
    if (align_corners) scale = s.out[d] > 1 ? (in - 1) / (out - 1) : 0;
    return {map, s.in[d], s.out[d], scale, align_corners, 0};
  }
};

void read_factors(const Factors& factors, int axes, Sizes2d* s) {
  if (!factors.given()) return;
  const auto items = factors.items(axes, number_for(axes));
  for (int d = 2 - axes; d < 2; ++d) {
    s->factor[d] = Real({factors.op, factors.name, items[d]});
    if (!(s->factor[d] > 0) || !std::isfinite(s->factor[d])) factors.fail("numbers above 0");
  }
}

// Sets the sizes of the result, from `size` or from scale_factor, of which exactly one must be given.
void read_output(const MaybePerAxis& size, int axes, Sizes2d* s) {
  const bool has_factor = s->factor[1] != 0;
  if (size.given() && has_factor) fail_value(size.op, "got both size and scale_factor; expected one of them");
  if (!size.given() && !has_factor)
    fail_value(size.op, "got neither size and scale_factor; expected one of them");
  std::array<py::object, 2> items;
  if (size.given()) items = size.items(axes, number_for(axes));
  for (int d = 2 - axes; d < 2; ++d) {
    if (size.given()) {
      s->out[d] = Whole({size.op, size.name, items[d]});
    } else {
      const double scaled = std::floor(static_cast<double>(s->in[d]) * s->factor[d]);
      s->out[d] = kMostPixels;  // refused below
      if (scaled < kMostPixels) s->out[d] = static_cast<int64_t>(scaled);
    }
    if (s->out[d] < 1 || s->out[d] >= kMostPixels)
      fail_value(size.op, "got an output of ", s->out[d], " along an axis of ", s->in[d],
                 "; expected sizes from 1 to 2**29 - 1");
  }
}

void expect_input(const char* op, const Sizes2d& s, int axes) {
  for (int d = 2 - axes; d < 2; ++d)
    if (s.in[d] < 1 || s.in[d] >= kMostPixels)
      fail_value(op, "got a size of ", s.in[d], "; expected from 1 to 2**29 - 1");
}

// x resampled. transposed: x is the gradient of a result, and the gradient of the input is computed.
Output resampled(const Input& x, const Sizes2d& s, const Interpolation& setting, bool transposed) {
  const int axes = setting.axes;
  const bool last = over_channels(as_image(x.view<char>(), axes));
  Shape shape = x.shape();
  const int64_t* const sizes = transposed ? s.in : s.out;
  for (int d = 0; d < axes; ++d) shape[2 + d] = sizes[2 - axes + d];
  Output y = new_images(x.dtype(), axes, last, shape);
  run<Resample>(x.dtype(), image(x, axes), image(y, axes), setting.axis(s, 0), setting.axis(s, 1), transposed,
                last);
  return y;
}

// x at other sizes: signals (n, c, l) or images (n, c, h, w).
Output interpolate(const Floats& x, MaybePerAxis size, Factors scale_factor, Name mode, Truth align_corners) {
  const Interpolation setting(x, mode, align_corners);
  const int axes = setting.axes;
  Sizes2d s{};
  for (int d = 2 - axes; d < 2; ++d) s.in[d] = x.shape(d + axes);
  expect_input(x.op(), s, axes);
  read_factors(scale_factor, axes, &s);
  read_output(size, axes, &s);
  return resampled(x, s, setting, false);
}

// dx from dy, the gradient of interpolate's result, and x's shape.
Output interpolate_backward(const Floats& dy, ShapeOfX shape, Factors scale_factor, Name mode,
                            Truth align_corners) {
  const Interpolation setting(dy, mode, align_corners);
  const int axes = setting.axes;
  if (shape.count() != dy.ndim() || shape[0] != dy.shape(0) || shape[1] != dy.shape(1))
    fail_value(dy.op(), "got dy of shape ", dy.shape(), " for x of shape ", shape.value,
               "; expected the same N and C");
  Sizes2d s{};
  for (int d = 2 - axes; d < 2; ++d) {
    s.in[d] = shape[d + axes];
    s.out[d] = dy.shape(d + axes);
    if (s.out[d] < 1 || s.out[d] >= kMostPixels) dy.fail("at least one pixel");
  }
  expect_input(dy.op(), s, axes);
  read_factors(scale_factor, axes, &s);
  return resampled(dy, s, setting, true);
}

// x in C order or in channels-last order without gaps; copied if it has another order.
Input dense(const Input& x, bool channels_last) {
  if (!channels_last) return contiguous(x);
  const TensorView<const char> v = x.view<char>();
  TensorView<const char> last = v;
  for (int d = 1; d < 4; ++d) {
    last.shape[d] = v.shape[d % 3 + 1];
    last.strides[d] = v.strides[d % 3 + 1];
  }
  return is_contiguous(last) ? x : copied(x, Output::channels_last(x.dtype(), x.shape()));
}

// The arguments of grid_sample, checked: x (n, c, h, w), grid (n, p, q, 2).
struct Grid {
  GridSettings settings;
  Input x, points;
  Shape shape;  // the shape of the result

  Grid(const Input& x, const Input& grid, const Name& mode, const Name& padding, const Truth& align,
       const Truth& pixels)
      : points(contiguous(grid)) {
    settings.mode = GridMode(mode.one_of({"bilinear", "nearest", "bicubic"}));
    settings.padding = GridPadding(padding.one_of({"zeros", "border", "reflection"}));
    settings.align_corners = align;
    settings.in_pixels = pixels;
    if (x.ndim() != 4 || grid.ndim() != 4 || grid.shape(3) != 2 || grid.shape(0) != x.shape(0))
      fail_value(x.op(), "got x of shape ", x.shape(), " and grid of ", grid.shape(),
                 "; expected (n, c, h, w) and (n, p, q, 2)");
    const int64_t area = x.shape(2) * x.shape(3);
    const int64_t channels = x.shape(1);
    if (area == 0 || area > INT32_MAX) x.fail("images of at least one pixel, and of fewer than 2**31");
    settings.channels_last = over_channels(x.view<char>()) && channels > 1 && area <= INT32_MAX / channels;
    this->x = dense(x, settings.channels_last);
    shape = {x.shape(0), channels, grid.shape(1), grid.shape(2)};
  }
};

Output grid_sample(const Floats& x, const Floats& grid, Name mode, Name padding_mode, Truth align_corners,
                   Truth in_pixels) {
  const Grid g(x, grid, mode, padding_mode, align_corners, in_pixels);
  Output y = new_images(x.dtype(), 2, g.settings.channels_last, g.shape);
  run<GridSample>(x.dtype(), g.settings, g.x, g.points, y);
  return y;
}

std::tuple<MaybeOutput, MaybeOutput> grid_sample_backward(const Floats& dy, const Floats& x,
                                                          const Floats& grid, Name mode, Name padding_mode,
                                                          Truth align_corners, Truth needs_x,
                                                          Truth needs_grid, Truth in_pixels) {
  const Grid g(x, grid, mode, padding_mode, align_corners, in_pixels);
  dy.expect_shape(g.shape);
  MaybeOutput dx, dgrid;
  if (needs_x) dx = new_images(x.dtype(), 2, g.settings.channels_last, x.shape());
  if (needs_grid) dgrid = Output::contiguous(x.dtype(), grid.shape());
  run<GridSampleBackward>(x.dtype(), g.settings, dense(dy, g.settings.channels_last), g.x, g.points, dx,
                          dgrid);
  return {std::move(dx), std::move(dgrid)};
}

}  // namespace

void register_interpolate(Module m) {
  def(m, "grid_sample(x, grid, mode='bilinear', padding_mode='zeros', align_corners=False, in_pixels=False)",
      grid_sample);
  def(m,
      "grid_sample_backward(dy, x, grid, mode='bilinear', padding_mode='zeros', align_corners=False, "
      "needs_x=True, needs_grid=True, in_pixels=False)",
      grid_sample_backward, "grid_sample");
  def(m, "interpolate(x, size=None, scale_factor=None, mode='nearest', align_corners=False)", interpolate);
  def(m, "interpolate_backward(dy, shape, scale_factor=None, mode='nearest', align_corners=False)",
      interpolate_backward);
}

}  // namespace ranvier::bind
