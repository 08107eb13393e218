// Binds batch_norm and group_norm, with their gradients.
#include "bindings/ops/norm_args.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/group_norm.h"

namespace ranvier::bind {
namespace {

// The argument running_mean or running_var, which may be None. In training the call changes the array in
// place.
struct Running : MaybeFloats {
  Arg arg;
  Running(const Arg& arg_) : MaybeFloats(arg_), arg(arg_) {}

  // Fails unless the array has one number for each channel. written: it must be writable, too.
  void expect_right(const Input& x, bool written) const {
    expect_of_channels(*this, x);
    if (*this && written) Output::given(arg, dtype(), shape());
  }
  template <class T>
  operator TensorView<T>() const {
    return writable(view<T>());
  }
};

// The momentum for the kernel: a number from 0 to 1, or -1 for None. With None a running statistic is the
// average of all batches so far, which needs the argument `batches`, their count.
double momentum_of(const MaybeReal& value, bool has_running, bool has_batches) {
  if (!value.given()) {
    if (has_running && !has_batches)
      fail_value(value.op, "got momentum None without batches; expected a count to average over");
    return -1;
  }
  const Real momentum(value);
  if (!(momentum >= 0 && momentum <= 1)) momentum.fail("a number from 0 to 1, or None");
  return momentum;
}

// Fails unless the running statistics are right, and in training each channel of x has more than one value.
void expect_statistics(const Input& x, const Running& mean, const Running& var, bool training) {
  if (static_cast<bool>(mean) != static_cast<bool>(var))
    fail_value(x.op(), "got one running statistic; expected both or neither");
  if (!training && !mean)
    fail_value(x.op(), "got no running statistics; expected running_mean and running_var when not training");
  if (training && x.elements() == x.shape(1) && x.elements() > 0)
    fail_value(x.op(), "got x of shape ", x.shape(),
               " when training; expected more than 1 value per channel");
  mean.expect_right(x, training);
  var.expect_right(x, training);
}

// y, and for backward mean and rstd = 1 / sqrt(variance + eps) in float64: for each channel, or for each
// group of channels of each sample.
using Forward = std::tuple<Output, Output, Output>;

Forward batch_norm(const Floats& given_x, const MaybeFloats& weight, const MaybeFloats& bias,
                   const Running& running_mean, const Running& running_var, MaybeInPlace batches,
                   Truth training, MaybeReal given_momentum, Real eps) {
  eps.at_least(0);
  const double momentum = momentum_of(given_momentum, static_cast<bool>(running_mean), batches.given());
  expect_channels(given_x);
  expect_statistics(given_x, running_mean, running_var, training);
  expect_of_channels(weight, given_x);
  expect_of_channels(bias, given_x);
  MaybeOutput count;
  if (training && batches.given()) count = batches.of(DType::int64, {});
  const Channels x(given_x, /*dense_samples=*/false);
  Output y = x.like();
  Output mean = Output::contiguous(DType::float64, {given_x.shape(1)});
  Output rstd = Output::contiguous(DType::float64, {given_x.shape(1)});
  run<BatchNormForward>(x.dtype(), x.columns(), training.holds, momentum, eps.number, x.of(x.array()), weight,
                        bias, running_mean, running_var, count, x.of(y), mean, rstd);
  return {std::move(y), std::move(mean), std::move(rstd)};
}

// New arrays for the gradients that are needed.
Gradients gradients_of(const Channels& x, int64_t channels, bool need_dx, bool need_dweight,
                       bool need_dbias) {
  Gradients g;
  if (need_dx) g.dx = x.like();
  if (need_dweight) g.dweight = Output::contiguous(x.dtype(), {channels});
  if (need_dbias) g.dbias = Output::contiguous(x.dtype(), {channels});
  return g;
}

Gradients::All batch_norm_backward(const Floats& given_dy, const Floats& given_x, const MaybeFloats& weight,
                                   const Doubles& given_mean, const Doubles& given_rstd, Truth training,
                                   Truth need_dx, Truth need_dweight, Truth need_dbias) {
  expect_channels(given_x);
  expect_of_channels(weight, given_x);
  const int64_t channels = given_x.shape(1);
  const Input mean = statistic(given_mean, {channels});
  const Input rstd = statistic(given_rstd, {channels});
  const Channels x(given_x, /*dense_samples=*/false);
  const Input dy = x.gradient(given_dy);
  Gradients g = gradients_of(x, channels, need_dx, need_dweight, need_dbias);
  run<BatchNormBackward>(x.dtype(), x.columns(), training.holds, x.of(dy), x.of(x.array()), weight, mean,
                         rstd, x.of(g.dx), g.dweight, g.dbias);
  return g.all();
}

int64_t expect_groups(const Whole& groups, const Input& x) {
  const int64_t channels = x.shape(1);
  if (groups < 1 || channels % groups)
    fail_value(x.op(), "got num_groups ", groups.number, " for x with ", channels,
               " channels; expected a divisor of them");
  return groups;
}

Forward group_norm(const Floats& given_x, Whole num_groups, const MaybeFloats& given_weight,
                   const MaybeFloats& given_bias, Real eps) {
  eps.at_least(0);
  expect_channels(given_x);
  const int64_t groups = expect_groups(num_groups, given_x);
  expect_of_channels(given_weight, given_x);
  expect_of_channels(given_bias, given_x);
  const Input weight = contiguous(given_weight);
  const Input bias = contiguous(given_bias);
  const Channels x(given_x, /*dense_samples=*/true);
  Output y = x.like();
  Output mean = Output::contiguous(DType::float64, {given_x.shape(0), groups});
  Output rstd = Output::contiguous(DType::float64, {given_x.shape(0), groups});
  run<GroupNormForward>(x.dtype(), x.columns(), groups, eps.number, x.of(x.array()), weight, bias, x.of(y),
                        mean, rstd);
  return {std::move(y), std::move(mean), std::move(rstd)};
}

Gradients::All group_norm_backward(const Floats& given_dy, const Floats& given_x, Whole num_groups,
                                   const MaybeFloats& given_weight, const Doubles& given_mean,
                                   const Doubles& given_rstd, Truth need_dx, Truth need_dweight,
                                   Truth need_dbias) {
  expect_channels(given_x);
  const int64_t groups = expect_groups(num_groups, given_x);
  expect_of_channels(given_weight, given_x);
  const Input weight = contiguous(given_weight);
  const Shape lines{given_x.shape(0), groups};
  const Input mean = statistic(given_mean, lines);
  const Input rstd = statistic(given_rstd, lines);
  const Channels x(given_x, /*dense_samples=*/true);
  const Input dy = x.gradient(given_dy);
  Gradients g = gradients_of(x, given_x.shape(1), need_dx, need_dweight, need_dbias);
  run<GroupNormBackward>(x.dtype(), x.columns(), groups, x.of(dy), x.of(x.array()), weight, mean, rstd,
                         x.of(g.dx), g.dweight, g.dbias);
  return g.all();
}

}  // namespace

void register_norm(Module m) {
  def(m,
      "batch_norm(x, weight=None, bias=None, running_mean=None, running_var=None, batches=None, "
      "training=True, "
      "momentum=0.1, eps=1e-5)",
      batch_norm);
  def(m,
      "batch_norm_backward(dy, x, weight, mean, rstd, training=True, need_dx=True, need_dweight=True, "
      "need_dbias=True)",
      batch_norm_backward);
  def(m, "group_norm(x, num_groups, weight=None, bias=None, eps=1e-5)", group_norm);
  def(m,
      "group_norm_backward(dy, x, num_groups, weight, mean, rstd, need_dx=True, need_dweight=True, "
      "need_dbias=True)",
      group_norm_backward);
}

}  // namespace ranvier::bind
