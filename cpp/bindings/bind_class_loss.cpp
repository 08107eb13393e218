#include <limits>

#include "bindings/copied.h"
#include "bindings/index_range.h"
#include "bindings/loss_args.h"
#include "kernels/loss/class_loss.h"

namespace ranvier::bind {
namespace {

constexpr int64_t kNone = std::numeric_limits<int64_t>::min();  // ignores no index

// Class indices, integers; for cross_entropy also probabilities, which are floats.
struct Target : Arg {
  RANVIER_ANNOTATION("Array");
  Target(const Arg& arg) : Arg(arg) {}
  bool is_floating() const { return is_floating_array(value); }
};

// Scores, what they are compared with, and the settings of one call.
struct ClassLossCall {
  ClassLoss kind;
  Input x, index, probabilities, weight;
  Reduction reduction;
  ClassLossSettings settings;
  Shape shape;  // of the losses: x's without C

  ClassLossCall(ClassLoss kind_, const Floats& x_, const Target& target, const MaybeFloats& weight_,
                const Name& reduction_, const ClassLossSettings& settings_)
      : kind(kind_), x(x_), weight(weight_), reduction(reduction_of(reduction_)), settings(settings_) {
    const bool only_lines = kind == ClassLoss::multi_margin;
    if (x.ndim() < 2 || (x.ndim() > 2 && only_lines))
      x.fail(only_lines ? "(N, C)" : "(N, C) or (N, C, d1, ...)");
    shape = x.shape().without(1);
    if (weight) {
      weight.expect_shape({x.shape(1)});
      weight = contiguous(weight);
    }
    if (kind == ClassLoss::cross_entropy && target.is_floating()) {
      probabilities = Input::floating(target);
      x.expect_same_dtype(probabilities);
      x.expect_same_shape(probabilities);
    } else {
      index = Input::integers(target);
      if (!index.has_shape(shape))
        fail_value(x.op(), "got class indices of shape ", index.shape(), " for x of shape ", x.shape(),
                   "; expected ", shape);
      require_classes(x, index, settings.ignore_index);
    }
  }

  // The loss; for backward the divisor of a mean and, where needed, the log-sum-exp of each line.
  template <bool has_log_sum_exp>
  auto forward() const {
    Output loss = Output::contiguous(x.dtype(), loss_shape(reduction, shape));
    Output divisor = Output::contiguous(x.dtype(), {});
    MaybeOutput log_sum_exp;
    if (has_log_sum_exp) log_sum_exp = Output::contiguous(x.dtype(), shape);
    run_sized<ClassLossForward>(kind == ClassLoss::nll ? index.elements() : x.elements(), x.dtype(), kind,
                                reduction, settings, x, index, probabilities, weight, loss, log_sum_exp,
                                divisor);
    if constexpr (has_log_sum_exp)
      return std::tuple(std::move(loss), std::move(divisor), *std::move(log_sum_exp));
    else
      return std::tuple(std::move(loss), std::move(divisor));
  }

  Output backward(const Input& dy, const Input& divisor, const Input& log_sum_exp, bool of_target,
                  const Out& out) const {
    dy.expect_shape(loss_shape(reduction, shape));
    divisor.expect_shape({});
    if (log_sum_exp) log_sum_exp.expect_shape(shape);
    if (of_target && !probabilities)
      fail_value(x.op(), "got class indices, which have no gradient; expected probabilities");
    Output dx = out.like(x, x, dy, divisor, log_sum_exp, index, probabilities, weight);
    run<ClassLossBackward>(x.dtype(), kind, reduction, settings, of_target, dy, x, index, probabilities,
                           weight, log_sum_exp, divisor, dx);
    return dx;
  }
};

ClassLossCall cross_entropy(const Floats& x, const Target& target, const Name& reduction,
                            const MaybeFloats& weight, const Whole& ignore_index,
                            const Real& label_smoothing) {
  if (!(label_smoothing >= 0 && label_smoothing <= 1)) label_smoothing.fail("a number from 0 to 1");
  return {ClassLoss::cross_entropy, x, target, weight, reduction, {ignore_index, label_smoothing, 0, 0}};
}

ClassLossCall nll(const Floats& x, const Target& target, const Name& reduction, const MaybeFloats& weight,
                  const Whole& ignore_index) {
  return {ClassLoss::nll, x, target, weight, reduction, {ignore_index, 0, 0, 0}};
}

ClassLossCall focal(const Floats& x, const Target& target, const Name& reduction, const Real& gamma,
                    const MaybeFloats& alpha, const Whole& ignore_index) {
  return {ClassLoss::focal, x, target, alpha, reduction, {ignore_index, 0, gamma.at_least(0), 0}};
}

ClassLossCall multi_margin(const Floats& x, const Target& target, const Name& reduction, const Real& p,
                           const Real& margin, const MaybeFloats& weight) {
  if (p != 1 && p != 2) p.fail("1 or 2");
  return {ClassLoss::multi_margin, x, target, weight, reduction, {kNone, 0, p, margin}};
}

// name(x, target, reduction, settings); make is one of the functions above.
template <bool has_log_sum_exp, class... S>
void define_forward(Module m, const std::string& name, const std::string& settings,
                    ClassLossCall (*make)(const Floats&, const Target&, const Name&, const S&...)) {
  def(m, name + "(x, target, reduction='mean', " + settings + ")",
      [=](const Floats& x, const Target& target, const Name& reduction, const S&... s) {
        return make(x, target, reduction, s...).template forward<has_log_sum_exp>();
      });
}

// The same with its backward. Saved: Floats where that takes a log-sum-exp, else nothing.
template <class... Saved, class... S>
void define(Module m, const char* name, const std::string& settings,
            ClassLossCall (*make)(const Floats&, const Target&, const Name&, const S&...)) {
  constexpr bool has_log_sum_exp = sizeof...(Saved) > 0;
  define_forward<has_log_sum_exp>(m, name, settings, make);
  def(
      m,
      name + ("_backward(dy, x, target, divisor, " + std::string(has_log_sum_exp ? "log_sum_exp, " : "") +
              "reduction='mean', " + settings + ", out=None)"),
      [=](const Floats& dy, const Floats& x, const Target& target, const Floats& divisor,
          const Saved&... saved, const Name& reduction, const S&... s, const Out& out) {
        return make(x, target, reduction, s...).backward(dy, divisor, Input(saved...), false, out);
      },
      name);
}

Output cross_entropy_backward(const Floats& dy, const Floats& x, const Target& target, const Floats& divisor,
                              const Floats& log_sum_exp, const Name& reduction, const MaybeFloats& weight,
                              const Whole& ignore_index, const Real& label_smoothing, Truth of_target,
                              Out out) {
  return cross_entropy(x, target, reduction, weight, ignore_index, label_smoothing)
      .backward(dy, divisor, log_sum_exp, of_target, out);
}

}  // namespace

void register_class_loss(Module m) {
  define_forward<true>(m, "cross_entropy", "weight=None, ignore_index=-100, label_smoothing=0.0",
                       cross_entropy);
  def(m,
      "cross_entropy_backward(dy, x, target, divisor, log_sum_exp, reduction='mean', weight=None, "
      "ignore_index=-100, label_smoothing=0.0, of_target=False, out=None)",
      cross_entropy_backward, "cross_entropy");
  define<Floats>(m, "focal", "gamma=2.0, alpha=None, ignore_index=-100", focal);
  define(m, "nll", "weight=None, ignore_index=-100", nll);
  define(m, "multi_margin", "p=1, margin=1.0, weight=None", multi_margin);
}

}  // namespace ranvier::bind
