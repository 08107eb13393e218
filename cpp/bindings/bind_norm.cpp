#include <algorithm>
#include <string>

#include "bindings/array_args.h"
#include "bindings/copied.h"
#include "bindings/norm_args.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/group_norm.h"
#include "kernels/norm/layer_norm.h"

namespace ranvier::bind {
namespace {

// None: the cumulative average, which the kernel is told with -1.
double momentum_of(const char* op, py::handle value, bool has_running, bool has_batches) {
  if (value.is_none()) {
    if (has_running && !has_batches)
      fail_value(op, "got momentum None without batches; expected a count to average over");
    return -1;
  }
  const double momentum = real_number(op, "momentum", value);
  if (!(momentum >= 0 && momentum <= 1))
    fail_value(op, "got momentum " + std::to_string(momentum) + "; expected a number from 0 to 1, or None");
  return momentum;
}

void check_running(const char* op, const Input& x, bool has_mean, bool has_var, bool training) {
  if (has_mean != has_var) fail_value(op, "got one running statistic; expected both or neither");
  if (!training && !has_mean)
    fail_value(op, "got no running statistics; expected running_mean and running_var when not training");
  const int64_t channels = x.shape(1);
  int64_t size = 1;
  for (int d = 0; d < x.ndim(); ++d) size *= x.shape(d);
  if (training && size == channels && size > 0)
    fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) +
                       " when training; expected more than 1 value per channel");
}

// batch_norm(x, weight, bias, running_mean, running_var, batches, training, momentum, eps)
py::tuple batch_norm(py::handle x_, py::handle weight_, py::handle bias_, py::handle running_mean_,
                     py::handle running_var_, py::handle batches_, py::handle training_, py::handle momentum_,
                     py::handle eps_) {
  constexpr const char* op = "batch_norm";
  const bool training = truth(op, "training", training_);
  const double eps = epsilon(op, eps_),
               momentum = momentum_of(op, momentum_, given(running_mean_), given(batches_));
  const Input given_x = Input::floating(op, "x", x_);
  require_channels(op, "x", given_x);
  check_running(op, given_x, given(running_mean_), given(running_var_), training);
  const int64_t channels = given_x.shape(1);
  const Input weight = of_channels(op, "weight", weight_, given_x),
              bias = of_channels(op, "bias", bias_, given_x);
  const DType dtype = given_x.dtype();
  if (given(running_mean_)) {
    of_channels(op, "running_mean", running_mean_, given_x);
    of_channels(op, "running_var", running_var_, given_x);
  }
  const Channels x(given_x, false);
  Output y = x.like();
  Output mean = Output::contiguous(DType::float64, {channels});
  Output rstd = Output::contiguous(DType::float64, {channels});
  with_float(dtype, [&](auto tag) {
    using T = decltype(tag);
    BatchNormForward<T> call{};
    call.columns = x.columns(), call.training = training, call.momentum = momentum, call.eps = eps;
    call.x = x.view<T>(), call.weight = weight.view<T>(), call.bias = bias.view<T>(),
    call.y = x.of(y.view<T>());
    call.mean = mean.view<double>(), call.rstd = rstd.view<double>();
    if (given(running_mean_)) {
      call.running_mean = running<T>(op, "running_mean", running_mean_, channels, training);
      call.running_var = running<T>(op, "running_var", running_var_, channels, training);
    }
    if (given(batches_) && training)
      call.batches = Output::given(op, batches_, DType::int64, 0, nullptr, "batches").view<int64_t>();
    invoke_released(call);
  });
  return py::make_tuple(y.release(), mean.release(), rstd.release());
}

// batch_norm_backward(dy, x, weight, mean, rstd, training, need_dx, need_dweight, need_dbias)
py::tuple batch_norm_backward(py::handle dy_, py::handle x_, py::handle weight_, py::handle mean_,
                              py::handle rstd_, py::handle training_, py::handle need_dx,
                              py::handle need_dweight, py::handle need_dbias) {
  constexpr const char* op = "batch_norm_backward";
  const bool training = truth(op, "training", training_);
  const Input given_x = Input::floating(op, "x", x_);
  require_channels(op, "x", given_x);
  const Input weight = of_channels(op, "weight", weight_, given_x);
  const int64_t channels = given_x.shape(1);
  const Input mean = statistic(op, "mean", mean_, {channels}),
              rstd = statistic(op, "rstd", rstd_, {channels});
  const Channels x(given_x, false);
  const Input dy = x.gradient(op, dy_);
  OptionalOutput dx, dweight, dbias;
  if (truth(op, "need_dx", need_dx)) dx.make(x.like());
  if (truth(op, "need_dweight", need_dweight)) dweight.make(Output::contiguous(x.dtype(), {channels}));
  if (truth(op, "need_dbias", need_dbias)) dbias.make(Output::contiguous(x.dtype(), {channels}));
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(BatchNormBackward<T>{x.columns(), training, x.of(dy.view<T>()), x.view<T>(),
                                         weight.view<T>(), mean.view<double>(), rstd.view<double>(),
                                         x.of(dx.view<T>()), dweight.view<T>(), dbias.view<T>()});
  });
  return py::make_tuple(dx.release(), dweight.release(), dbias.release());
}

int64_t group_count(const char* op, py::handle value, const Input& x) {
  const int64_t groups = whole_number(op, "num_groups", value), channels = x.shape(1);
  if (groups < 1 || channels % groups)
    fail_value(op, "got num_groups " + std::to_string(groups) + " for x with " + std::to_string(channels) +
                       " channels; expected a divisor of them");
  return groups;
}

// group_norm(x, num_groups, weight, bias, eps)
py::tuple group_norm(py::handle x_, py::handle groups_, py::handle weight_, py::handle bias_,
                     py::handle eps_) {
  constexpr const char* op = "group_norm";
  const double eps = epsilon(op, eps_);
  const Input given_x = Input::floating(op, "x", x_);
  require_channels(op, "x", given_x);
  const int64_t groups = group_count(op, groups_, given_x);
  const Input weight = contiguous(of_channels(op, "weight", weight_, given_x)),
              bias = contiguous(of_channels(op, "bias", bias_, given_x));
  const Channels x(given_x, true);
  Output y = x.like();
  Output mean = Output::contiguous(DType::float64, {given_x.shape(0), groups});
  Output rstd = Output::contiguous(DType::float64, {given_x.shape(0), groups});
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(GroupNormForward<T>{x.columns(), groups, eps, x.view<T>(), weight.view<T>(),
                                        bias.view<T>(), x.of(y.view<T>()), mean.view<double>(),
                                        rstd.view<double>()});
  });
  return py::make_tuple(y.release(), mean.release(), rstd.release());
}

// group_norm_backward(dy, x, num_groups, weight, mean, rstd, need_dx, need_dweight, need_dbias)
py::tuple group_norm_backward(py::handle dy_, py::handle x_, py::handle groups_, py::handle weight_,
                              py::handle mean_, py::handle rstd_, py::handle need_dx, py::handle need_dweight,
                              py::handle need_dbias) {
  constexpr const char* op = "group_norm_backward";
  const Input given_x = Input::floating(op, "x", x_);
  require_channels(op, "x", given_x);
  const int64_t groups = group_count(op, groups_, given_x), channels = given_x.shape(1);
  const Input weight = contiguous(of_channels(op, "weight", weight_, given_x));
  const Input mean = statistic(op, "mean", mean_, {given_x.shape(0), groups});
  const Input rstd = statistic(op, "rstd", rstd_, {given_x.shape(0), groups});
  const Channels x(given_x, true);
  const Input dy = x.gradient(op, dy_);
  OptionalOutput dx, dweight, dbias;
  if (truth(op, "need_dx", need_dx)) dx.make(x.like());
  if (truth(op, "need_dweight", need_dweight)) dweight.make(Output::contiguous(x.dtype(), {channels}));
  if (truth(op, "need_dbias", need_dbias)) dbias.make(Output::contiguous(x.dtype(), {channels}));
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(GroupNormBackward<T>{x.columns(), groups, x.of(dy.view<T>()), x.view<T>(),
                                         weight.view<T>(), mean.view<double>(), rstd.view<double>(),
                                         x.of(dx.view<T>()), dweight.view<T>(), dbias.view<T>()});
  });
  return py::make_tuple(dx.release(), dweight.release(), dbias.release());
}

}  // namespace

void register_norm(py::module_& m) {
  using py::arg;
  const auto none = [](const char* name) { return arg(name) = py::none(); };
  const auto wanted = [](const char* name) { return arg(name) = true; };
  m.def("batch_norm", batch_norm, arg("x"), none("weight"), none("bias"), none("running_mean"),
        none("running_var"), none("batches"), arg("training") = true, arg("momentum") = 0.1,
        arg("eps") = 1e-5);
  m.def("batch_norm_backward", batch_norm_backward, arg("dy"), arg("x"), arg("weight"), arg("mean"),
        arg("rstd"), arg("training") = true, wanted("need_dx"), wanted("need_dweight"), wanted("need_dbias"));
  m.def("group_norm", group_norm, arg("x"), arg("num_groups"), none("weight"), none("bias"),
        arg("eps") = 1e-5);
  m.def("group_norm_backward", group_norm_backward, arg("dy"), arg("x"), arg("num_groups"), arg("weight"),
        arg("mean"), arg("rstd"), wanted("need_dx"), wanted("need_dweight"), wanted("need_dbias"));
  register_layer_norm(m);
}

}  // namespace ranvier::bind
