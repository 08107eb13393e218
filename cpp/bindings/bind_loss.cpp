#include <algorithm>
#include <string>

#include <pybind11/numpy.h>
#include "base/loop_nest.h"

#include "bindings/array_args.h"
#include "kernels/loss/cross_entropy.h"
#include "kernels/loss/loss.h"

namespace ranvier::bind {
namespace {

#define RANVIER_X(name, op, cost) #name,
constexpr const char* kNames[] = {RANVIER_FOR_EACH_LOSS(RANVIER_X)};
#undef RANVIER_X
constexpr const char* kCrossEntropy = "cross_entropy";

Reduction reduction_of(const char* op, py::handle value) {
  const std::string name = word(op, "reduction", value);
  if (name == "mean") return Reduction::mean;
  if (name == "sum") return Reduction::sum;
  if (name == "none") return Reduction::none;
  fail_value(op, "got reduction '" + name + "'; expected 'mean', 'sum' or 'none'");
}

void require_shape(const char* op, const char* name, const Input& a, int ndim, const int64_t* shape) {
  if (a.ndim() != ndim || !std::equal(shape, shape + ndim, a.shape()))
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(a.ndim(), a.shape()) +
                       "; expected " + shape_text(ndim, shape));
}

// A loss is not broadcast: (n,) against (n, 1) would be n x n differences.
void require_same_shape(const char* op, const Input& x, const Input& target) {
  if (x.ndim() != target.ndim() || !std::equal(x.shape(), x.shape() + x.ndim(), target.shape()))
    fail_value(op, "got x of shape " + shape_text(x.ndim(), x.shape()) + " and target of shape " +
                       shape_text(target.ndim(), target.shape()) + "; expected equal shapes");
}

// The first element that is not inside [low, high], or null.
template <class T>
const T* outside(const TensorView<const T>& x, T low, T high) {
  const LoopNest<1> nest(x.ndim, x.shape, {x.strides});
  const int64_t step = nest.strides[0][nest.ndim - 1];
  const T* found = nullptr;
  nest.walk(0, nest.size, [&](int64_t count, const int64_t(&offsets)[1]) {
    const T* p = x.data + offsets[0];
    bool good = true;
    for (int64_t i = 0; i < count; ++i) good &= p[i * step] >= low && p[i * step] <= high;
    for (int64_t i = 0; !good && !found && i < count; ++i)
      if (!(p[i * step] >= low && p[i * step] <= high)) found = p + i * step;
  });
  return found;
}

void require_probabilities(const char* op, const Input& x) {
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    if (const T* bad = outside<T>(x.view<T>(), 0, 1))
      fail_value(op, "got x with the value " + std::string(py::str(py::float_(static_cast<double>(*bad)))) +
                         "; expected values from 0 to 1");
  });
}

// The loss's shape: that of the elements, or () for a sum or mean.
Output loss_output(const char* op, py::handle out, DType dtype, Reduction reduction, int ndim,
                   const int64_t* shape) {
  return Output::given(op, out, dtype, reduction == Reduction::none ? ndim : 0, shape);
}

template <Loss kind>
py::object forward(py::handle x_, py::handle target_, py::handle reduction_name, py::handle out) {
  const char* op = kNames[static_cast<int>(kind)];
  const Input x = Input::floating(op, "x", x_), target = Input::floating(op, "target", target_);
  require_same_dtype(op, "x", x, "target", target);
  require_same_shape(op, x, target);
  const Reduction reduction = reduction_of(op, reduction_name);
  if (kind == Loss::bce) require_probabilities(op, x);
  Output loss = loss_output(op, out, x.dtype(), reduction, x.ndim(), x.shape());
  if (given(out)) loss.apart_from(op, x).apart_from(op, target);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(LossForward<T>{kind, reduction, x.view<T>(), target.view<T>(), loss.view<T>()});
  });
  return loss.release();
}

template <Loss kind>
py::object backward(py::handle dy_, py::handle x_, py::handle target_, py::handle reduction_name,
                    py::handle of_target_, py::handle out) {
  const char* op = kNames[static_cast<int>(kind)];
  const Input x = Input::floating(op, "x", x_), target = Input::floating(op, "target", target_);
  const Input dy = Input::floating(op, "dy", dy_);
  require_same_dtype(op, "x", x, "target", target);
  require_same_dtype(op, "dy", dy, "x", x);
  require_same_shape(op, x, target);
  const bool of_target = truth(op, "of_target", of_target_);
  const Reduction reduction = reduction_of(op, reduction_name);
  require_shape(op, "dy", dy, reduction == Reduction::none ? x.ndim() : 0, x.shape());
  Output dx =
      given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
  if (given(out)) dx.apart_from(op, x).apart_from(op, target).apart_from(op, dy);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(LossBackward<T>{kind, reduction, of_target, dy.view<T>(), x.view<T>(), target.view<T>(),
                                    dx.view<T>()});
  });
  return dx.release();
}

// What cross_entropy compares x with: class indices (any integers) or probabilities.
struct Classes {
  Input index, probabilities;
  int ndim;  // of the losses: x's shape without C
  int64_t shape[kMaxDims];

  static Classes of(const Input& x, py::handle target) {
    const bool is_float =
        py::isinstance<py::array>(target) && py::reinterpret_borrow<py::array>(target).dtype().kind() == 'f';
    const py::none none;
    Classes c{is_float ? Input::optional(kCrossEntropy, "target", none, DType::int64)
                       : Input::integers(kCrossEntropy, "target", target),
              is_float ? Input::floating(kCrossEntropy, "target", target)
                       : Input::optional(kCrossEntropy, "target", none, x.dtype()),
              x.ndim() - 1,
              {}};
    c.check(x);
    return c;
  }

 private:
  void check(const Input& x) {
    const std::string shown = shape_text(x.ndim(), x.shape());
    if (x.ndim() < 2)
      fail_value(kCrossEntropy, "got x of shape " + shown + "; expected (N, C) or (N, C, d1, ...)");
    shape[0] = x.shape(0);
    std::copy(x.shape() + 2, x.shape() + x.ndim(), shape + 1);
    if (probabilities) {
      require_same_dtype(kCrossEntropy, "x", x, "target", probabilities);
      require_same_shape(kCrossEntropy, x, probabilities);
      return;
    }
    if (index.ndim() != ndim || !std::equal(shape, shape + ndim, index.shape()))
      fail_value(kCrossEntropy, "got class indices of shape " + shape_text(index.ndim(), index.shape()) +
                                    " for x of shape " + shown + "; expected " + shape_text(ndim, shape));
    if (const int64_t* bad = outside<int64_t>(index.view<int64_t>(), 0, x.shape(1) - 1))
      fail_value(kCrossEntropy, "got class index " + std::to_string(*bad) + " for x of shape " + shown +
                                    "; expected 0 <= index < " + std::to_string(x.shape(1)));
  }
};

// The loss, and the log-sum-exp of each line, which backward takes.
py::tuple cross_entropy(py::handle x_, py::handle target, py::handle reduction_name) {
  const Input x = Input::floating(kCrossEntropy, "x", x_);
  const Reduction reduction = reduction_of(kCrossEntropy, reduction_name);
  const Classes classes = Classes::of(x, target);
  Output loss = loss_output(kCrossEntropy, py::none(), x.dtype(), reduction, classes.ndim, classes.shape);
  Output log_sum_exp = Output::contiguous(x.dtype(), classes.ndim, classes.shape);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(CrossEntropyForward<T>{reduction, x.view<T>(), classes.index.view<int64_t>(),
                                           classes.probabilities.view<T>(), loss.view<T>(),
                                           log_sum_exp.view<T>()});
  });
  return py::make_tuple(loss.release(), log_sum_exp.release());
}

py::object cross_entropy_backward(py::handle dy_, py::handle x_, py::handle target, py::handle log_sum_exp_,
                                  py::handle reduction_name, py::handle of_target_, py::handle out) {
  const bool of_target = truth(kCrossEntropy, "of_target", of_target_);
  const Input x = Input::floating(kCrossEntropy, "x", x_), dy = Input::floating(kCrossEntropy, "dy", dy_);
  const Input log_sum_exp = Input::exactly(kCrossEntropy, "log_sum_exp", log_sum_exp_, x.dtype());
  require_same_dtype(kCrossEntropy, "dy", dy, "x", x);
  const Reduction reduction = reduction_of(kCrossEntropy, reduction_name);
  const Classes classes = Classes::of(x, target);
  require_shape(kCrossEntropy, "log_sum_exp", log_sum_exp, classes.ndim, classes.shape);
  require_shape(kCrossEntropy, "dy", dy, reduction == Reduction::none ? classes.ndim : 0, classes.shape);
  if (of_target && !classes.probabilities)
    fail_value(kCrossEntropy, "got class indices, which have no gradient; expected probabilities");
  Output dx = given(out) ? Output::given(kCrossEntropy, out, x.dtype(), x.ndim(), x.shape())
                         : Output::like(x, x.dtype());
  if (given(out))
    dx.apart_from(kCrossEntropy, x)
        .apart_from(kCrossEntropy, dy)
        .apart_from(kCrossEntropy, log_sum_exp)
        .apart_from(kCrossEntropy, classes.index)
        .apart_from(kCrossEntropy, classes.probabilities);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(CrossEntropyBackward<T>{reduction, of_target, dy.view<T>(), x.view<T>(),
                                            classes.index.view<int64_t>(), classes.probabilities.view<T>(),
                                            log_sum_exp.view<T>(), dx.view<T>()});
  });
  return dx.release();
}

template <Loss kind>
void define(py::module_& m) {
  const std::string name = kNames[static_cast<int>(kind)];
  const auto reduction = py::arg("reduction") = "mean";
  const auto out = py::arg("out") = py::none();
  m.def(name.c_str(), forward<kind>, py::arg("x"), py::arg("target"), reduction, out);
  m.def((name + "_backward").c_str(), backward<kind>, py::arg("dy"), py::arg("x"), py::arg("target"),
        reduction, py::arg("of_target") = false, out);
}

}  // namespace

void register_loss(py::module_& m) {
  define<Loss::mse>(m);
  define<Loss::bce>(m);
  define<Loss::bce_with_logits>(m);
  const auto reduction = py::arg("reduction") = "mean";
  m.def("cross_entropy", cross_entropy, py::arg("x"), py::arg("target"), reduction);
  m.def("cross_entropy_backward", cross_entropy_backward, py::arg("dy"), py::arg("x"), py::arg("target"),
        py::arg("log_sum_exp"), reduction, py::arg("of_target") = false, py::arg("out") = py::none());
}

}  // namespace ranvier::bind
