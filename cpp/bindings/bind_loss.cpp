#include <string>

#include "bindings/loss_args.h"
#include "kernels/loss/loss.h"

namespace ranvier::bind {
namespace {

void require_probabilities(const char* op, const Input& x) {
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if (const T* bad = outside<T>(x.view<T>(), 0, 1, 0))
      fail_value(op, "got x with the value " + std::string(py::str(py::float_(static_cast<double>(*bad)))) +
                         "; expected values from 0 to 1");
  });
}

// An array that broadcasts to x's shape, as the core's view repeats it; or None.
Input repeatable(const char* op, const char* name, py::handle array, const Input& x) {
  if (!array || array.is_none()) return Input();
  Input a = Input::floating(op, name, array);
  require_same_dtype(op, "x", x, name, a);
  const int lead = x.ndim() - a.ndim();
  bool fits = lead >= 0;
  for (int d = 0; fits && d < a.ndim(); ++d) fits = a.shape(d) == 1 || a.shape(d) == x.shape(lead + d);
  if (!fits)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(a.ndim(), a.shape()) +
                       "; expected one that broadcasts to x's shape " + shape_text(x.ndim(), x.shape()));
  return a;
}

// A call of a loss as Python gives it. What `second` is (the third array) depends on the loss.
struct Given {
  Loss kind;
  const char *op, *x_name, *second_name, *other_name;
  py::handle x, second, reduction, other, weight;
  LossSettings settings;
};

class Call {
 public:
  explicit Call(const Given& g)
      : kind_(g.kind),
        op_(g.op),
        settings_(g.settings),
        x_(Input::floating(g.op, g.x_name, g.x)),
        target_(Input::floating(g.op, g.second_name, g.second)) {
    require_same_dtype(op_, g.x_name, x_, g.second_name, target_);
    require_same_shape(op_, g.x_name, x_, g.second_name, target_);
    if (g.other_name && kind_ != Loss::bce_with_pos_weight) {
      other_ = Input::floating(op_, g.other_name, g.other);
      require_same_dtype(op_, g.x_name, x_, g.other_name, other_);
      require_same_shape(op_, g.x_name, x_, g.other_name, other_);
    } else if (g.other_name) {
      other_ = repeatable(op_, g.other_name, g.other, x_);
    }
    weight_ = repeatable(op_, "weight", g.weight, x_);
    reduction_ = reduction_of(op_, g.reduction, kind_ == Loss::kl_div || kind_ == Loss::kl_div_log);
    if (reduction_ == Reduction::batch_mean && x_.ndim() == 0)
      fail_value(op_, "got reduction 'batchmean' for x of shape (); expected a batch");
    if (kind_ == Loss::bce) require_probabilities(op_, x_);
  }

  py::object forward(py::handle out) const {
    Output loss = loss_output(op_, out, x_.dtype(), reduction_, x_.ndim(), x_.shape());
    if (given(out)) keep_apart(loss);
    with_float(x_.dtype(), [&](auto tag) {
      using T = decltype(tag);
      LossForward<T> call{kind_, reduction_, settings_,     x_.view<T>(), target_.view<T>(),
                          {},    {},         loss.view<T>()};
      call.other = repeated<T>(other_), call.weight = repeated<T>(weight_);
      invoke_released(call);
    });
    return loss.release();
  }

  py::object backward(py::handle dy_, Operand of, py::handle out) const {
    const Input dy = Input::floating(op_, "dy", dy_);
    require_same_dtype(op_, "dy", dy, "x", x_);
    require_shape(op_, "dy", dy, reduction_ == Reduction::none ? x_.ndim() : 0, x_.shape());
    Output dx = given(out) ? Output::given(op_, out, x_.dtype(), x_.ndim(), x_.shape())
                           : Output::like(x_, x_.dtype());
    if (given(out)) keep_apart(dx), dx.apart_from(op_, dy);
    with_float(x_.dtype(), [&](auto tag) {
      using T = decltype(tag);
      LossBackward<T> call{};
      call.kind = kind_, call.reduction = reduction_, call.of = of, call.settings = settings_;
      call.dy = dy.view<T>(), call.x = x_.view<T>(), call.target = target_.view<T>();
      call.other = repeated<T>(other_), call.weight = repeated<T>(weight_), call.dx = dx.view<T>();
      invoke_released(call);
    });
    return dx.release();
  }

 private:
  void keep_apart(const Output& y) const {
    for (const Input* a : {&x_, &target_, &other_, &weight_}) y.apart_from(op_, *a);
  }

  // The view of an array that broadcasts, in x's shape.
  template <class T>
  TensorView<const T> repeated(const Input& a) const {
    TensorView<const T> v;
    if (a) repeat(a.view<T>(), x_.ndim(), x_.shape(), v);
    return v;
  }

  Loss kind_;
  const char* op_;
  LossSettings settings_;
  Input x_, target_, other_, weight_;
  Reduction reduction_;
};

Operand operand(const char* op, py::handle of, const char* x, const char* target, const char* other) {
  const std::string name = word(op, "of", of);
  if (name == x) return Operand::x;
  if (name == target) return Operand::target;
  if (name == other) return Operand::other;
  fail_value(op, "got of '" + name + "'; expected '" + x + "', '" + target + "' or '" + other + "'");
}

double number_of_at_least(const char* op, const char* name, py::handle value, double least, bool or_equal) {
  const double x = real_number(op, name, value);
  if (!(x > least || (or_equal && x == least)))
    fail_value(op, std::string("got ") + name + " " + std::string(py::str(value)) + "; expected a number " +
                       (or_equal ? "of at least " : "above ") + std::to_string(static_cast<int>(least)));
  return x;
}

using H = py::handle;
using A = py::arg;
constexpr const char* kMean = "mean";

Operand two(const char* op, H of_target) {
  return truth(op, "of_target", of_target) ? Operand::target : Operand::x;
}

// f(x, target, reduction, out) and its backward; make(x, target, reduction, settings ...) is the Given.
template <class Make>
void define(py::module_& m, const char* name, const Make& make) {
  m.def(
      name, [=](H x, H target, H reduction, H out) { return Call(make(x, target, reduction)).forward(out); },
      A("x"), A("target"), A("reduction") = kMean, A("out") = py::none());
  m.def((std::string(name) + "_backward").c_str(),
        [=](H dy, H x, H target, H reduction, H of_target, H out) {
          return Call(make(x, target, reduction)).backward(dy, two(name, of_target), out);
        },
        A("dy"), A("x"), A("target"), A("reduction") = kMean, A("of_target") = false, A("out") = py::none());
}

template <class Make>
void define(py::module_& m, const char* name, const py::arg_v& setting, const Make& make) {
  m.def(
      name,
      [=](H x, H target, H reduction, H a, H out) {
        return Call(make(x, target, reduction, a)).forward(out);
      },
      A("x"), A("target"), A("reduction") = kMean, setting, A("out") = py::none());
  m.def((std::string(name) + "_backward").c_str(),
        [=](H dy, H x, H target, H reduction, H of_target, H a, H out) {
          return Call(make(x, target, reduction, a)).backward(dy, two(name, of_target), out);
        },
        A("dy"), A("x"), A("target"), A("reduction") = kMean, A("of_target") = false, setting,
        A("out") = py::none());
}

template <class Make>
void define(py::module_& m, const char* name, const py::arg_v& first, const py::arg_v& second,
            const Make& make) {
  m.def(
      name,
      [=](H x, H target, H reduction, H a, H b, H out) {
        return Call(make(x, target, reduction, a, b)).forward(out);
      },
      A("x"), A("target"), A("reduction") = kMean, first, second, A("out") = py::none());
  m.def((std::string(name) + "_backward").c_str(),
        [=](H dy, H x, H target, H reduction, H of_target, H a, H b, H out) {
          return Call(make(x, target, reduction, a, b)).backward(dy, two(name, of_target), out);
        },
        A("dy"), A("x"), A("target"), A("reduction") = kMean, A("of_target") = false, first, second,
        A("out") = py::none());
}

Given plain(Loss kind, const char* op, H x, H target, H reduction, LossSettings settings = {}) {
  return {kind, op, "x", "target", nullptr, x, target, reduction, {}, {}, settings};
}

void register_regression(py::module_& m) {
  define(m, "mse", [](H x, H t, H r) { return plain(Loss::mse, "mse", x, t, r); });
  define(m, "l1", [](H x, H t, H r) { return plain(Loss::l1, "l1", x, t, r); });
  define(m, "smooth_l1", A("beta") = 1.0, [](H x, H t, H r, H beta) {
    return plain(Loss::smooth_l1, "smooth_l1", x, t, r,
                 {number_of_at_least("smooth_l1", "beta", beta, 0, true), 0, false});
  });
  define(m, "huber", A("delta") = 1.0, [](H x, H t, H r, H delta) {
    return plain(Loss::huber, "huber", x, t, r,
                 {number_of_at_least("huber", "delta", delta, 0, false), 0, false});
  });
}

void register_likelihood(py::module_& m) {
  define(m, "bce", A("weight") = py::none(), [](H x, H t, H r, H weight) {
    Given g = plain(Loss::bce, "bce", x, t, r);
    g.weight = weight;
    return g;
  });
  define(m, "bce_with_logits", A("weight") = py::none(), A("pos_weight") = py::none(),
         [](H x, H t, H r, H weight, H pos_weight) {
           Given g = plain(Loss::bce_with_logits, "bce_with_logits", x, t, r);
           g.weight = weight;
           if (pos_weight.is_none()) return g;
           g.kind = Loss::bce_with_pos_weight, g.other = pos_weight, g.other_name = "pos_weight";
           return g;
         });
  define(m, "kl_div", A("log_target") = false, [](H x, H t, H r, H log_target) {
    const bool log = truth("kl_div", "log_target", log_target);
    return plain(log ? Loss::kl_div_log : Loss::kl_div, "kl_div", x, t, r);
  });
  define(m, "sigmoid_focal", A("alpha") = 0.25, A("gamma") = 2.0, [](H x, H t, H r, H alpha, H gamma) {
    const char* op = "sigmoid_focal";
    return plain(Loss::sigmoid_focal, op, x, t, r,
                 {real_number(op, "alpha", alpha), number_of_at_least(op, "gamma", gamma, 0, true), false});
  });
}

void register_margins(py::module_& m) {
  define(m, "soft_margin", [](H x, H t, H r) { return plain(Loss::soft_margin, "soft_margin", x, t, r); });
  define(m, "hinge_embedding", A("margin") = 1.0, [](H x, H t, H r, H margin) {
    return plain(Loss::hinge_embedding, "hinge_embedding", x, t, r,
                 {real_number("hinge_embedding", "margin", margin), 0, false});
  });
  define(m, "cosine_margin", A("margin") = 0.0, [](H x, H t, H r, H margin) {
    return plain(Loss::cosine_margin, "cosine_margin", x, t, r,
                 {real_number("cosine_margin", "margin", margin), 0, false});
  });
  const auto ranking = [](H x1, H x2, H target, H reduction, H margin) {
    return Given{Loss::margin_ranking,
                 "margin_ranking",
                 "x1",
                 "target",
                 "x2",
                 x1,
                 target,
                 reduction,
                 x2,
                 {},
                 {real_number("margin_ranking", "margin", margin), 0, false}};
  };
  m.def(
      "margin_ranking",
      [=](H x1, H x2, H target, H reduction, H margin, H out) {
        return Call(ranking(x1, x2, target, reduction, margin)).forward(out);
      },
      A("x1"), A("x2"), A("target"), A("reduction") = kMean, A("margin") = 0.0, A("out") = py::none());
  m.def(
      "margin_ranking_backward",
      [=](H dy, H x1, H x2, H target, H reduction, H of, H margin, H out) {
        return Call(ranking(x1, x2, target, reduction, margin))
            .backward(dy, operand("margin_ranking", of, "x1", "target", "x2"), out);
      },
      A("dy"), A("x1"), A("x2"), A("target"), A("reduction") = kMean, A("of") = "x1", A("margin") = 0.0,
      A("out") = py::none());
}

void register_distributions(py::module_& m) {
  const auto poisson = [](H x, H target, H reduction, H log_input, H full, H eps) {
    const char* op = "poisson_nll";
    const bool log = truth(op, "log_input", log_input);
    return plain(log ? Loss::poisson_nll_log : Loss::poisson_nll, op, x, target, reduction,
                 {0, real_number(op, "eps", eps), truth(op, "full", full)});
  };
  m.def(
      "poisson_nll",
      [=](H x, H target, H reduction, H log_input, H full, H eps, H out) {
        return Call(poisson(x, target, reduction, log_input, full, eps)).forward(out);
      },
      A("x"), A("target"), A("reduction") = kMean, A("log_input") = true, A("full") = false, A("eps") = 1e-8,
      A("out") = py::none());
  m.def(
      "poisson_nll_backward",
      [=](H dy, H x, H target, H reduction, H of_target, H log_input, H full, H eps, H out) {
        return Call(poisson(x, target, reduction, log_input, full, eps))
            .backward(dy, two("poisson_nll", of_target), out);
      },
      A("dy"), A("x"), A("target"), A("reduction") = kMean, A("of_target") = false, A("log_input") = true,
      A("full") = false, A("eps") = 1e-8, A("out") = py::none());
  const auto gaussian = [](H x, H target, H var, H reduction, H full, H eps) {
    const char* op = "gaussian_nll";
    return Given{Loss::gaussian_nll,
                 op,
                 "x",
                 "target",
                 "var",
                 x,
                 target,
                 reduction,
                 var,
                 {},
                 {0, number_of_at_least(op, "eps", eps, 0, false), truth(op, "full", full)}};
  };
  m.def(
      "gaussian_nll",
      [=](H x, H target, H var, H reduction, H full, H eps, H out) {
        return Call(gaussian(x, target, var, reduction, full, eps)).forward(out);
      },
      A("x"), A("target"), A("var"), A("reduction") = kMean, A("full") = false, A("eps") = 1e-6,
      A("out") = py::none());
  m.def(
      "gaussian_nll_backward",
      [=](H dy, H x, H target, H var, H reduction, H of, H full, H eps, H out) {
        return Call(gaussian(x, target, var, reduction, full, eps))
            .backward(dy, operand("gaussian_nll", of, "x", "target", "var"), out);
      },
      A("dy"), A("x"), A("target"), A("var"), A("reduction") = kMean, A("of") = "x", A("full") = false,
      A("eps") = 1e-6, A("out") = py::none());
}

}  // namespace

void register_loss(py::module_& m) {
  register_regression(m);
  register_likelihood(m);
  register_margins(m);
  register_distributions(m);
}

}  // namespace ranvier::bind
