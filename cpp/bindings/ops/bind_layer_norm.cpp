// Binds layer_norm and rms_norm, with their gradients.
#include "bindings/ops/norm_args.h"
#include "kernels/norm/layer_norm.h"

namespace ranvier::bind {
namespace {

// x as lines. A line is the elements that are normalized together: those along the last axes of x, whose
// sizes are normalized_shape.
struct NormLines {
  Input x;
  int axes;           // how many axes a line has; limited to kMaxDims + 1, more than any x has
  int64_t count = 1;  // the number of lines
  int64_t size = 1;   // the elements of a line

  NormLines(const Input& x_, const Sizes& shape) : x(x_), axes(std::min(shape.count(), kMaxDims + 1)) {
    bool fits = axes >= 1 && axes <= x.ndim();
    for (int d = 0; d < axes && fits; ++d) fits = shape[d] == x.shape(leading() + d);
    if (!fits)
      fail_value(x.op(), "got x of shape ", x.shape(), " and normalized_shape ", shape.value,
                 "; expected the last sizes of x, at least one");
    for (int d = 0; d < leading(); ++d) count *= x.shape(d);
    for (int d = leading(); d < x.ndim(); ++d) size *= x.shape(d);
  }

  Shape of_line() const { return x.shape().part(leading(), x.ndim()); }
  Shape of_statistic() const { return x.shape().part(0, leading()); }

  // The number of axes before those of a line. A statistic, one number for each line, has these axes only.
  int leading() const { return x.ndim() - axes; }

  // v as a matrix (count, size), if its lines are contiguous and evenly spaced; else a view with 0 dimensions
  // and null data.
  template <class E>
  TensorView<E> as_matrix(const TensorView<E>& v) const {
    TensorView<E> m;
    int64_t expected = 1;
    int64_t lines = 1;
    int64_t step = size;
    bool fits = true;
    for (int d = v.ndim - 1; d >= 0; --d) {
      if (v.shape[d] == 1) continue;
      if (d >= leading()) {
        fits = fits && v.strides[d] == expected;
        expected *= v.shape[d];
      } else {
        if (lines == 1) step = v.strides[d];
        fits = fits && v.strides[d] == step * lines;
        lines *= v.shape[d];
      }
    }
    if (!fits && numel(v) > 0) return m;
    m.data = v.data;
    m.ndim = 2;
    m.stored = v.stored;
    m.shape[0] = count;
    m.shape[1] = size;
    m.strides[0] = step;
    m.strides[1] = 1;
    return m;
  }

  // as_matrix() of an array, as a field of run().
  template <class A>
  auto of(const A& a) const {
    return viewed(a, [this](const auto& v) { return this->as_matrix(v); });
  }

  // The array itself if as_matrix() can view it; else a contiguous copy.
  Input lined(const Input& a) const {
    return as_matrix(a.view<char>()).ndim == 2 ? a : copied(a, Output::contiguous(a.dtype(), a.shape()));
  }

  // weight or bias as a contiguous array; fails unless it is empty or has a line's shape.
  Input parameter(const Input& p) const {
    if (p && !p.has_shape(of_line())) p.fail("normalized_shape, ", of_line());
    return contiguous(p);
  }
};

struct Results {
  Output y, rstd;
  MaybeOutput mean;
};

// centered: layer_norm, which subtracts the mean; else rms_norm.
Results forward(bool centered, const NormLines& lines, const Input& given_weight, const Input& given_bias,
                const Real& eps) {
  eps.at_least(0);
  const Input weight = lines.parameter(given_weight);
  const Input bias = lines.parameter(given_bias);
  const Input x = lines.lined(lines.x);
  Results r{
      Output::contiguous(x.dtype(), x.shape()), Output::contiguous(DType::float64, lines.of_statistic()), {}};
  if (centered) r.mean = Output::contiguous(DType::float64, lines.of_statistic());
  run<LayerNormForward>(x.dtype(), centered, eps.number, lines.of(x), weight, bias, lines.of(r.y), r.mean,
                        r.rstd);
  return r;
}

Gradients backward(bool centered, const Floats& given_dy, const NormLines& lines,
                   const MaybeFloats& given_weight, const Input& given_mean, const Doubles& given_rstd,
                   bool need_dx, bool need_dweight, bool need_dbias) {
  const Input weight = lines.parameter(given_weight);
  const Input mean = centered ? statistic(given_mean, lines.of_statistic()) : Input();
  const Input rstd = statistic(given_rstd, lines.of_statistic());
  expect_shape_of(given_dy, lines.x);
  const Input x = lines.lined(lines.x);
  const Input dy = lines.lined(given_dy);
  Gradients g;
  if (need_dx) g.dx = Output::contiguous(x.dtype(), x.shape());
  if (need_dweight) g.dweight = Output::contiguous(x.dtype(), lines.of_line());
  if (need_dbias) g.dbias = Output::contiguous(x.dtype(), lines.of_line());
  run<LayerNormBackward>(x.dtype(), centered, lines.of(dy), lines.of(x), weight, mean, rstd, lines.of(g.dx),
                         g.dweight, g.dbias);
  return g;
}

// Returns (y, mean, rstd). mean and rstd: a float64 for each line, for backward; rstd: 1 / sqrt(variance +
// eps).
std::tuple<Output, Output, Output> layer_norm(const Reals& x, Sizes shape, const MaybeReals& weight,
                                              const MaybeReals& bias, Real eps) {
  Results r = forward(true, NormLines(x, shape), weight, bias, eps);
  return {std::move(r.y), *std::move(r.mean), std::move(r.rstd)};
}

Gradients::All layer_norm_backward(const Floats& dy, const Floats& x, Sizes shape, const MaybeFloats& weight,
                                   const Doubles& mean, const Doubles& rstd, Truth need_dx,
                                   Truth need_dweight, Truth need_dbias) {
  return backward(true, dy, NormLines(x, shape), weight, mean, rstd, need_dx, need_dweight, need_dbias).all();
}

// Returns (y, rstd).
std::tuple<Output, Output> rms_norm(const Reals& x, Sizes shape, const MaybeReals& weight, Real eps) {
  Results r = forward(false, NormLines(x, shape), weight, Input(), eps);
  return {std::move(r.y), std::move(r.rstd)};
}

std::tuple<MaybeOutput, MaybeOutput> rms_norm_backward(const Floats& dy, const Floats& x, Sizes shape,
                                                       const MaybeFloats& weight, const Doubles& rstd,
                                                       Truth need_dx, Truth need_dweight) {
  Gradients g = backward(false, dy, NormLines(x, shape), weight, Input(), rstd, need_dx, need_dweight, false);
  return {std::move(g.dx), std::move(g.dweight)};
}

}  // namespace

void register_layer_norm(Module m) {
  def(m, "layer_norm(x, normalized_shape, weight=None, bias=None, eps=1e-5)", layer_norm);
  def(m,
      "layer_norm_backward(dy, x, normalized_shape, weight, mean, rstd, need_dx=True, need_dweight=True, "
      "need_dbias=True)",
      layer_norm_backward);
  def(m, "rms_norm(x, normalized_shape, weight=None, eps=1e-5)", rms_norm);
  def(m, "rms_norm_backward(dy, x, normalized_shape, weight, rstd, need_dx=True, need_dweight=True)",
      rms_norm_backward);
}

}  // namespace ranvier::bind
