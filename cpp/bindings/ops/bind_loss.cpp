// Binds the loss functions, with their gradients: losses of elements (LossCall: mse, bce and others), losses
// of classes (ClassLossCall: cross_entropy, nll), and ctc_loss.
#include "base/loop_nest.h"
#include "bindings/binder/copied.h"
#include "bindings/binder/define.h"
#include "bindings/ops/index_range.h"
#include "kernels/loss/class_loss.h"
#include "kernels/loss/ctc.h"
#include "kernels/loss/loss.h"

namespace ranvier::bind {
namespace {

Reduction reduction_of(const Name& name) {
  constexpr Reduction kinds[] = {Reduction::mean, Reduction::sum, Reduction::none};
  return kinds[name.one_of({"mean", "sum", "none"})];
}

// The loss's shape: that of the elements, or () for a sum or mean.
Shape loss_shape(Reduction reduction, const Shape& elements) {
  return reduction == Reduction::none ? elements : Shape();
}

// The arguments of a loss of elements.
struct LossCall {
  Loss kind;
  Input x, target;
  double setting = 0;       // beta of smooth_l1, delta of huber
  Input other{}, weight{};  // other: pos_weight of bce_with_logits; both broadcast to x, or are empty
  Reduction reduction{};

  // The view of an array broadcast to x's shape; data null for an empty one.
  template <class T>
  TensorView<const T> repeated(const Input& a) const {
    TensorView<const T> v;
    if (a) repeat(a.view<T>(), x.shape(), v);
    return v;
  }
};

// The first element that is not inside [0, 1], or null.
template <class T>
const T* not_a_probability(const TensorView<const T>& x) {
  const LoopNest<1> nest(x.ndim, x.shape, {x.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const T* found = nullptr;
  nest.walk(0, nest.size, [&](int64_t count, const int64_t(&offsets)[1]) {
    const T* p = x.data + offsets[0];
    for (int64_t i = 0; !found && i < count; ++i)
      if (!(p[i * step] >= 0 && p[i * step] <= 1)) found = p + i * step;
  });
  return found;
}

void expect_probabilities(const Input& x) {
  if (floats_are_inside(x, 0, 1)) return;  // by vectors, on the team; the search below is for the error
  with_float(x.dtype(), [&](auto tag) {
    if (const auto* bad = not_a_probability(x.view<decltype(tag)>()))
      fail_value(x.op(), "got ", x.name(), " with the value ", static_cast<double>(*bad),
                 "; expected values from 0 to 1");
  });
}

void expect_broadcasts(const Input& a, const Input& x) {
  if (a && !a.shape().broadcasts_to(x.shape())) a.fail("one that broadcasts to x's shape ", x.shape());
}

// Checks a call and sets its reduction. x and target must have one shape; they are not broadcast, since (n,)
// and (n, 1) would give n x n differences.
LossCall checked_call(LossCall call, const Name& reduction) {
  const Input& x = call.x;
  x.expect_same_shape(call.target);
  expect_broadcasts(call.other, x);
  expect_broadcasts(call.weight, x);
  if ((call.kind == Loss::kl_div || call.kind == Loss::kl_div_log) && reduction.text == "batchmean")
    call.reduction = Reduction::batch_mean;
  else
    call.reduction = reduction_of(reduction);
  if (call.reduction == Reduction::batch_mean && x.ndim() == 0)
    fail_value(x.op(), "got reduction 'batchmean' for x of shape (); expected a batch");
  if (call.kind == Loss::bce) {
    expect_probabilities(x);
    expect_probabilities(call.target);
  }
  return call;
}

Output forward(const LossCall& c, const Out& out) {
  Output loss =
      out.shaped(c.x.dtype(), loss_shape(c.reduction, c.x.shape()), c.x, c.target, c.other, c.weight);
  with_float(c.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    LossForward<T> call{c.kind, c.reduction, c.setting, c.x, c.target, {}, {}, loss};
    call.other = c.repeated<T>(c.other);
    call.weight = c.repeated<T>(c.weight);
    invoke_released(call);
  });
  return loss;
}

// The gradient of x, or with of_target that of target.
Output backward(const LossCall& c, const Input& dy, bool of_target, const Out& out) {
  dy.expect_shape(loss_shape(c.reduction, c.x.shape()));
  Output dx = out.like(c.x, c.x, c.target, c.other, c.weight, dy);
  with_float(c.x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    LossBackward<T> call{c.kind, c.reduction, of_target, c.setting, dy, c.x, c.target, {}, {}, dx};
    call.other = c.repeated<T>(c.other);
    call.weight = c.repeated<T>(c.weight);
    invoke_released(call);
  });
  return dx;
}

// Binds name(x, target, reduction, settings, out) and its backward. S: the types of the settings; settings:
// their text in the signature; configure(call, s ...) puts them into the call.
template <class... S, class F>
void define(Module m, const char* name, Loss kind, const std::string& settings, F configure) {
  def(m, name + ("(x, target, reduction='mean', " + settings + "out=None)"),
      [=](const Floats& x, const Floats& target, Name reduction, S... s, Out out) {
        LossCall call{kind, x, target};
        configure(call, s...);
        return forward(checked_call(call, reduction), out);
      });
  def(
      m, name + ("_backward(dy, x, target, reduction='mean', of_target=False, " + settings + "out=None)"),
      [=](const Floats& dy, const Floats& x, const Floats& target, Name reduction, Truth of_target, S... s,
          Out out) {
        LossCall call{kind, x, target};
        configure(call, s...);
        return backward(checked_call(call, reduction), dy, of_target, out);
      },
      name);
}

void register_regression(Module m) {
  const auto plain = [](LossCall&) {};
  define(m, "mse", Loss::mse, "", plain);
  define(m, "l1", Loss::l1, "", plain);
  define<Real>(m, "smooth_l1", Loss::smooth_l1, "beta=1.0, ",
               [](LossCall& c, const Real& beta) { c.setting = beta.at_least(0); });
  define<Real>(m, "huber", Loss::huber, "delta=1.0, ",
               [](LossCall& c, const Real& delta) { c.setting = delta.above(0); });
}

void register_likelihood(Module m) {
  define<MaybeFloats>(m, "bce", Loss::bce, "weight=None, ",
                      [](LossCall& c, const MaybeFloats& weight) { c.weight = weight; });
  define<MaybeFloats, MaybeFloats>(m, "bce_with_logits", Loss::bce_with_logits,
                                   "weight=None, pos_weight=None, ",
                                   [](LossCall& c, const MaybeFloats& weight, const MaybeFloats& pos_weight) {
                                     c.weight = weight;
                                     c.other = pos_weight;
                                     if (pos_weight) c.kind = Loss::bce_with_pos_weight;
                                   });
  define<Truth>(m, "kl_div", Loss::kl_div, "log_target=False, ", [](LossCall& c, const Truth& log_target) {
    if (log_target) c.kind = Loss::kl_div_log;
  });
}

// The target of a loss of classes: class indices (integers), or for cross_entropy also probabilities
// (floats).
struct Target : Arg {
  RANVIER_ANNOTATION("Array");
  Target(const Arg& arg) : Arg(arg) {}
  bool is_floating() const { return is_floating_array(value); }
};

// The arguments of a loss of classes: x (N, C, ...) has scores of C classes. Each line, the C scores of one
// place, gives a loss.
struct ClassLossCall {
  ClassLoss kind;
  Input x, index, probabilities, weight;  // index or probabilities: the target; the other one is empty
  Reduction reduction;
  ClassLossSettings settings;
  Shape shape;  // the shape of the losses: x's without C

  ClassLossCall(ClassLoss kind_, const Floats& x_, const Target& target, const MaybeFloats& weight_,
                const Name& reduction_, const ClassLossSettings& settings_)
      : kind(kind_), x(x_), weight(weight_), reduction(reduction_of(reduction_)), settings(settings_) {
    if (x.ndim() < 2) x.fail("(N, C) or (N, C, d1, ...)");
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

  Shape two_of_each_line() const {
    Shape two{2};
    for (int64_t size : shape) two.append(size);
    return two;
  }

  // Returns the loss, and for backward the divisor of a mean and, for cross_entropy, an array (2, ...) with
  // max(x) and sum(exp(x - max(x))) of each line.
  template <bool has_tops_and_sums>
  auto forward() const {
    Output loss = Output::contiguous(x.dtype(), loss_shape(reduction, shape));
    Output divisor = Output::contiguous(x.dtype(), {});
    MaybeOutput tops_and_sums;
    if (has_tops_and_sums) tops_and_sums = Output::contiguous(x.dtype(), two_of_each_line());
    int64_t work = x.elements();
    if (kind == ClassLoss::nll) work = index.elements();  // it reads one element of x for each index
    run_sized<ClassLossForward>(work, x.dtype(), kind, reduction, settings, x, index, probabilities, weight,
                                loss, tops_and_sums, divisor);
    if constexpr (has_tops_and_sums)
      return std::tuple(std::move(loss), std::move(divisor), *std::move(tops_and_sums));
    else
      return std::tuple(std::move(loss), std::move(divisor));
  }

  Output backward(const Input& dy, const Input& divisor, const Input& tops_and_sums, bool of_target,
                  const Out& out) const {
    dy.expect_shape(loss_shape(reduction, shape));
    divisor.expect_shape({});
    if (tops_and_sums) tops_and_sums.expect_shape(two_of_each_line());
    if (of_target && !probabilities)
      fail_value(x.op(), "got class indices, which have no gradient; expected probabilities");
    Output dx = out.like(x, x, dy, divisor, tops_and_sums, index, probabilities, weight);
    run<ClassLossBackward>(x.dtype(), kind, reduction, settings, of_target, dy, x, index, probabilities,
                           weight, tops_and_sums, divisor, dx);
    return dx;
  }
};

ClassLossCall cross_entropy_of(const Floats& x, const Target& target, const Name& reduction,
                               const MaybeFloats& weight, const Whole& ignore_index,
                               const Real& label_smoothing) {
  if (!(label_smoothing >= 0 && label_smoothing <= 1)) label_smoothing.fail("a number from 0 to 1");
  return {ClassLoss::cross_entropy, x, target, weight, reduction, {ignore_index, label_smoothing}};
}

auto cross_entropy(const Floats& x, const Target& target, const Name& reduction, const MaybeFloats& weight,
                   const Whole& ignore_index, const Real& label_smoothing) {
  return cross_entropy_of(x, target, reduction, weight, ignore_index, label_smoothing).forward<true>();
}

Output cross_entropy_backward(const Floats& dy, const Floats& x, const Target& target, const Floats& divisor,
                              const Floats& tops_and_sums, const Name& reduction, const MaybeFloats& weight,
                              const Whole& ignore_index, const Real& label_smoothing, Truth of_target,
                              Out out) {
  return cross_entropy_of(x, target, reduction, weight, ignore_index, label_smoothing)
      .backward(dy, divisor, tops_and_sums, of_target, out);
}

ClassLossCall nll_of(const Floats& x, const Target& target, const Name& reduction, const MaybeFloats& weight,
                     const Whole& ignore_index) {
  return {ClassLoss::nll, x, target, weight, reduction, {ignore_index, 0}};
}

auto nll(const Floats& x, const Target& target, const Name& reduction, const MaybeFloats& weight,
         const Whole& ignore_index) {
  return nll_of(x, target, reduction, weight, ignore_index).forward<false>();
}

Output nll_backward(const Floats& dy, const Floats& x, const Target& target, const Floats& divisor,
                    const Name& reduction, const MaybeFloats& weight, const Whole& ignore_index, Out out) {
  return nll_of(x, target, reduction, weight, ignore_index).backward(dy, divisor, Input(), false, out);
}

void register_class_loss(Module m) {
  def(m, "cross_entropy(x, target, reduction='mean', weight=None, ignore_index=-100, label_smoothing=0.0)",
      cross_entropy);
  def(m,
      "cross_entropy_backward(dy, x, target, divisor, tops_and_sums, reduction='mean', weight=None, "
      "ignore_index=-100, label_smoothing=0.0, of_target=False, out=None)",
      cross_entropy_backward, "cross_entropy");
  def(m, "nll(x, target, reduction='mean', weight=None, ignore_index=-100)", nll);
  def(m, "nll_backward(dy, x, target, divisor, reduction='mean', weight=None, ignore_index=-100, out=None)",
      nll_backward, "nll");
}

// The losses (n) of n sequences: x (t, n, c) has log-probabilities of c classes at t times, labels (n, s).
// lengths and sizes (n): how many times, and how many labels, a sequence has. dx: None, or an array that
// holds exp(x) and gets the gradient of each loss. at_infinity: the gradient of a sequence whose loss is
// infinite.
Output ctc_loss(const Floats& x, const Integers& labels, const Integers& lengths, const Integers& sizes,
                Whole blank, Real at_infinity, MaybeInPlace dx) {
  if (x.ndim() != 3 || labels.ndim() != 2) x.fail("(t, n, c), and labels (n, s)");
  const Shape batch{x.shape(1)};
  lengths.expect_shape(batch);
  sizes.expect_shape(batch);
  labels.expect_shape({x.shape(1), labels.shape(1)});
  if (blank < 0 || blank >= x.shape(2)) blank.fail("one of the classes");
  Output loss = Output::contiguous(x.dtype(), batch);
  MaybeOutput slopes;
  if (dx.given()) {
    slopes = dx.of(x.dtype(), x.shape()).apart_from(x);
    if (!is_contiguous(slopes.view<char>())) dx.fail("a C-contiguous array");
  }
  run<CtcLoss>(x.dtype(), blank.number, at_infinity.number, x, labels, lengths, sizes, loss, slopes);
  return loss;
}

}  // namespace

void register_loss(Module m) {
  def(m, "ctc_loss(x, labels, lengths, sizes, blank=0, at_infinity=0.0, dx=None)", ctc_loss);
  register_regression(m);
  register_likelihood(m);
  register_class_loss(m);
}

}  // namespace ranvier::bind
