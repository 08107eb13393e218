#include <pybind11/numpy.h>

#include <algorithm>
#include <limits>
#include <string>

#include "bindings/index_range.h"
#include "bindings/loss_args.h"
#include "kernels/loss/class_loss.h"

namespace ranvier::bind {
namespace {

using H = py::handle;
using A = py::arg;

constexpr const char* kCrossEntropy = "cross_entropy";
constexpr int64_t kNone = std::numeric_limits<int64_t>::min();  // ignores no index

// The weights of classes, dense; empty for None.
Input class_weights(const char* op, const char* name, H weight, const Input& x) {
  if (weight.is_none()) return Input();
  const Input given = Input::floating(op, name, weight);
  require_same_dtype(op, "x", x, name, given);
  const int64_t classes = x.shape(1);
  require_shape(op, name, given, 1, &classes);
  const py::array dense = py::array::ensure(given.object(), py::array::c_style);
  return Input::floating(op, name, dense);
}

// Scores, what they are compared with, and the settings of one call.
struct ClassArguments {
  const char* op;
  ClassLoss kind;
  Input x, index, probabilities, weight;
  Reduction reduction;
  ClassLossSettings settings;
  int ndim;  // of the losses: x's shape without C
  int64_t shape[kMaxDims];

  ClassArguments(const char* op_name, ClassLoss which, H x_, H target, H weight_, H reduction_name,
                 const ClassLossSettings& s)
      : op(op_name), kind(which), x(Input::floating(op, "x", x_)), settings(s), ndim(x.ndim() - 1), shape{} {
    reduction = reduction_of(op, reduction_name);
    if (x.ndim() < 2 || (x.ndim() > 2 && kind == ClassLoss::multi_margin))
      fail_value(op, "got x of shape " + shown() + "; expected (N, C)" +
                         (kind == ClassLoss::multi_margin ? "" : " or (N, C, d1, ...)"));
    shape[0] = x.shape(0);
    std::copy(x.shape() + 2, x.shape() + x.ndim(), shape + 1);
    weight = class_weights(op, kind == ClassLoss::focal ? "alpha" : "weight", weight_, x);
    if (kind == ClassLoss::cross_entropy && py::isinstance<py::array>(target) &&
        py::reinterpret_borrow<py::array>(target).dtype().kind() == 'f') {
      probabilities = Input::floating(op, "target", target);
      require_same_dtype(op, "x", x, "target", probabilities);
      require_same_shape(op, "x", x, "target", probabilities);
    } else {
      index = Input::integers(op, "target", target);
      check_index();
    }
  }

  std::string shown() const { return shape_text(x.ndim(), x.shape()); }

  void check_index() const {
    if (index.ndim() != ndim || !std::equal(shape, shape + ndim, index.shape()))
      fail_value(op, "got class indices of shape " + shape_text(index.ndim(), index.shape()) +
                         " for x of shape " + shown() + "; expected " + shape_text(ndim, shape));
    require_range(class_range(op, x, index, settings.ignore_index));
  }

  bool has_log_sum_exp() const { return kind == ClassLoss::cross_entropy || kind == ClassLoss::focal; }

  // The loss, the divisor of a mean and, where there is one, the log-sum-exp of each line, for backward.
  py::tuple forward() const {
    Output loss = loss_output(op, py::none(), x.dtype(), reduction, ndim, shape);
    Output divisor = Output::contiguous(x.dtype(), 0, nullptr);
    Output log_sum_exp = has_log_sum_exp() ? Output::contiguous(x.dtype(), ndim, shape) : divisor;
    with_float(x.dtype(), [&](auto tag) {
      using T = decltype(tag);
      ClassLossForward<T> call{kind,
                               reduction,
                               settings,
                               x.view<T>(),
                               index.view<int64_t>(),
                               probabilities.view<T>(),
                               weight.view<T>(),
                               loss.view<T>(),
                               has_log_sum_exp() ? log_sum_exp.view<T>() : TensorView<T>{},
                               divisor.view<T>()};
      invoke_sized(call, kind == ClassLoss::nll ? numel(call.index) : numel(call.x));
    });
    if (!has_log_sum_exp()) return py::make_tuple(loss.release(), divisor.release());
    return py::make_tuple(loss.release(), divisor.release(), log_sum_exp.release());
  }

  py::object backward(H dy_, H divisor_, H log_sum_exp_, bool of_target, H out) const {
    const Input dy = Input::floating(op, "dy", dy_);
    require_same_dtype(op, "dy", dy, "x", x);
    require_shape(op, "dy", dy, reduction == Reduction::none ? ndim : 0, shape);
    const Input divisor = Input::exactly(op, "divisor", divisor_, x.dtype());
    require_shape(op, "divisor", divisor, 0, shape);
    const Input log_sum_exp = Input::optional(op, "log_sum_exp", log_sum_exp_, x.dtype());
    if (has_log_sum_exp()) {
      if (!log_sum_exp) fail_type(op, "got log_sum_exp None; expected the array that forward returned");
      require_shape(op, "log_sum_exp", log_sum_exp, ndim, shape);
    }
    if (of_target && !probabilities)
      fail_value(op, "got class indices, which have no gradient; expected probabilities");
    Output dx =
        given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
    if (given(out))
      for (const Input* a : {&x, &dy, &divisor, &log_sum_exp, &index, &probabilities, &weight})
        dx.apart_from(op, *a);
    with_float(x.dtype(), [&](auto tag) {
      using T = decltype(tag);
      invoke_released(ClassLossBackward<T>{kind, reduction, settings, of_target, dy.view<T>(), x.view<T>(),
                                           index.view<int64_t>(), probabilities.view<T>(), weight.view<T>(),
                                           log_sum_exp.view<T>(), divisor.view<T>(), dx.view<T>()});
    });
    return dx.release();
  }
};

ClassArguments cross_entropy(H x, H target, H reduction, H weight, H ignore_index, H label_smoothing) {
  const double smoothing = real_number(kCrossEntropy, "label_smoothing", label_smoothing);
  if (!(smoothing >= 0 && smoothing <= 1))
    fail_value(kCrossEntropy, "got label_smoothing " + std::string(py::str(label_smoothing)) +
                                  "; expected a number from 0 to 1");
  const int64_t ignored = whole_number(kCrossEntropy, "ignore_index", ignore_index);
  return {kCrossEntropy, ClassLoss::cross_entropy, x, target, weight, reduction, {ignored, smoothing, 0, 0}};
}

ClassArguments nll(H x, H target, H reduction, H weight, H ignore_index) {
  return {"nll",
          ClassLoss::nll,
          x,
          target,
          weight,
          reduction,
          {whole_number("nll", "ignore_index", ignore_index), 0, 0, 0}};
}

ClassArguments focal(H x, H target, H reduction, H gamma, H alpha, H ignore_index) {
  const double exponent = real_number("focal", "gamma", gamma);
  if (!(exponent >= 0))
    fail_value("focal", "got gamma " + std::string(py::str(gamma)) + "; expected a number of at least 0");
  const int64_t ignored = whole_number("focal", "ignore_index", ignore_index);
  return {"focal", ClassLoss::focal, x, target, alpha, reduction, {ignored, 0, exponent, 0}};
}

ClassArguments multi_margin(H x, H target, H reduction, H p, H margin, H weight) {
  const double power = real_number("multi_margin", "p", p);
  if (power != 1 && power != 2)
    fail_value("multi_margin", "got p " + std::string(py::str(p)) + "; expected 1 or 2");
  return {"multi_margin",
          ClassLoss::multi_margin,
          x,
          target,
          weight,
          reduction,
          {kNone, 0, power, real_number("multi_margin", "margin", margin)}};
}

void register_cross_entropy(py::module_& m) {
  m.def(
      kCrossEntropy,
      [](H x, H target, H reduction, H weight, H ignore_index, H label_smoothing) {
        return cross_entropy(x, target, reduction, weight, ignore_index, label_smoothing).forward();
      },
      A("x"), A("target"), A("reduction") = "mean", A("weight") = py::none(), A("ignore_index") = -100,
      A("label_smoothing") = 0.0);
  m.def(
      "cross_entropy_backward",
      [](H dy, H x, H target, H divisor, H log_sum_exp, H reduction, H weight, H ignore_index,
         H label_smoothing, H of_target, H out) {
        return cross_entropy(x, target, reduction, weight, ignore_index, label_smoothing)
            .backward(dy, divisor, log_sum_exp, truth(kCrossEntropy, "of_target", of_target), out);
      },
      A("dy"), A("x"), A("target"), A("divisor"), A("log_sum_exp"), A("reduction") = "mean",
      A("weight") = py::none(), A("ignore_index") = -100, A("label_smoothing") = 0.0, A("of_target") = false,
      A("out") = py::none());
}

void register_nll(py::module_& m) {
  m.def(
      "nll",
      [](H x, H target, H reduction, H weight, H ignore_index) {
        return nll(x, target, reduction, weight, ignore_index).forward();
      },
      A("x"), A("target"), A("reduction") = "mean", A("weight") = py::none(), A("ignore_index") = -100);
  m.def(
      "nll_backward",
      [](H dy, H x, H target, H divisor, H reduction, H weight, H ignore_index, H out) {
        return nll(x, target, reduction, weight, ignore_index).backward(dy, divisor, py::none(), false, out);
      },
      A("dy"), A("x"), A("target"), A("divisor"), A("reduction") = "mean", A("weight") = py::none(),
      A("ignore_index") = -100, A("out") = py::none());
}

void register_focal(py::module_& m) {
  m.def(
      "focal",
      [](H x, H target, H reduction, H gamma, H alpha, H ignore_index) {
        return focal(x, target, reduction, gamma, alpha, ignore_index).forward();
      },
      A("x"), A("target"), A("reduction") = "mean", A("gamma") = 2.0, A("alpha") = py::none(),
      A("ignore_index") = -100);
  m.def(
      "focal_backward",
      [](H dy, H x, H target, H divisor, H log_sum_exp, H reduction, H gamma, H alpha, H ignore_index,
         H out) {
        return focal(x, target, reduction, gamma, alpha, ignore_index)
            .backward(dy, divisor, log_sum_exp, false, out);
      },
      A("dy"), A("x"), A("target"), A("divisor"), A("log_sum_exp"), A("reduction") = "mean", A("gamma") = 2.0,
      A("alpha") = py::none(), A("ignore_index") = -100, A("out") = py::none());
}

void register_multi_margin(py::module_& m) {
  m.def(
      "multi_margin",
      [](H x, H target, H reduction, H p, H margin, H weight) {
        return multi_margin(x, target, reduction, p, margin, weight).forward();
      },
      A("x"), A("target"), A("reduction") = "mean", A("p") = 1, A("margin") = 1.0, A("weight") = py::none());
  m.def(
      "multi_margin_backward",
      [](H dy, H x, H target, H divisor, H reduction, H p, H margin, H weight, H out) {
        return multi_margin(x, target, reduction, p, margin, weight)
            .backward(dy, divisor, py::none(), false, out);
      },
      A("dy"), A("x"), A("target"), A("divisor"), A("reduction") = "mean", A("p") = 1, A("margin") = 1.0,
      A("weight") = py::none(), A("out") = py::none());
}

}  // namespace

void register_class_loss(py::module_& m) {
  register_cross_entropy(m);
  register_nll(m);
  register_focal(m);
  register_multi_margin(m);
}

}  // namespace ranvier::bind
