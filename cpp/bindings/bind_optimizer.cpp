#include <pybind11/numpy.h>

#include <algorithm>
#include <string>

#include "bindings/array_args.h"
#include "bindings/rooms.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier::bind {
namespace {

// A list of arrays, of which an entry or the whole may be None.
class List {
 public:
  List(const char* op, const char* name, py::handle list) : op_(op), name_(name), list_(list) {
    if (!list.is_none() && !PyList_Check(list.ptr()))
      fail_type(
          op, std::string("got ") + name + " of type " + Py_TYPE(list.ptr())->tp_name + "; expected a list");
  }
  bool given() const { return !list_.is_none(); }
  int64_t size() const { return PyList_GET_SIZE(list_.ptr()); }
  void require_size(int64_t size) const {
    if (given() && this->size() != size)
      fail_value(op_, std::string("got ") + name_ + " with " + std::to_string(this->size()) +
                          " arrays; expected one for each of " + std::to_string(size) + " parameters");
  }
  py::handle operator[](int64_t i) const { return PyList_GET_ITEM(list_.ptr(), i); }
  std::string item(int64_t i) const { return std::string(name_) + "[" + std::to_string(i) + "]"; }
  const char* name() const { return name_; }

 private:
  const char* op_;
  const char* name_;
  py::handle list_;
};

template <class T>
TensorView<T> writable(const TensorView<const T>& v) {
  TensorView<T> w;
  w.data = const_cast<T*>(v.data);
  w.ndim = v.ndim;
  std::copy_n(v.shape, v.ndim, w.shape);
  std::copy_n(v.strides, v.ndim, w.strides);
  return w;
}

// An array that is read where it lies, or also written. (Input copies what is unaligned or byte-swapped: no
// use for an array that must change in place.)
template <class T>
TensorView<T> in_place(const char* op, const List& list, int64_t i) {
  const py::handle array = list[i];
  const Input x = Input::exactly(op, list.name(), array, dtype_of_type<T>::value);
  if (x.object().ptr() != array.ptr())
    fail_value(op, "got " + list.item(i) + " that is byte-swapped or unaligned; expected a native array");
  if (!py::reinterpret_borrow<py::array>(array).writeable())
    fail_value(op, "got " + list.item(i) + " that is read-only; expected a writable array");
  return writable(x.view<T>());
}

template <class A, class B>
void require_same_shape(const char* op, const List& list, int64_t i, const TensorView<A>& v,
                        const TensorView<B>& expected) {
  if (v.ndim != expected.ndim || !std::equal(v.shape, v.shape + v.ndim, expected.shape))
    fail_value(op, "got " + list.item(i) + " of shape " + shape_text(v) + "; expected the parameter's, " +
                       shape_text(expected));
}

// Runs one rule over the lists, kMaxSegments parameters at a time.
struct Step {
  const char* op;
  OptimizerRule rule;
  List parameters, gradients, steps;
  List states[kMaxStates];
  py::handle settings;
  int settings_count;
  bool nesterov = false, decoupled_decay = false, maximize = false;

  template <class T>
  OptimizerSegment<T> segment(int64_t i, Input& gradient) const {
    OptimizerSegment<T> s;
    s.parameter = in_place<T>(op, parameters, i);
    gradient = Input::exactly(op, gradients.name(), gradients[i], dtype_of_type<T>::value);
    s.gradient = gradient.view<T>();
    require_same_shape(op, gradients, i, s.gradient, s.parameter);
    for (int k = 0; k < kMaxStates; ++k) {
      if (!states[k].given()) continue;
      s.states[k] = in_place<T>(op, states[k], i);
      require_same_shape(op, states[k], i, s.states[k], s.parameter);
      if (numel(s.states[k]) > 0 && !is_contiguous(s.states[k]))
        fail_value(op, "got " + states[k].item(i) + " that is strided; expected a contiguous array");
    }
    s.step = in_place<double>(op, steps, i);
    if (numel(s.step) != 1)
      fail_value(op, "got " + steps.item(i) + " of shape " + shape_text(s.step) + "; expected one number");
    return s;
  }

  template <class T>
  void run_as() const {
    const Input numbers = Input::exactly(op, "settings", settings, DType::float64);
    OptimizerStep<T> call;
    call.rule = rule, call.nesterov = nesterov, call.decoupled_decay = decoupled_decay,
    call.maximize = maximize;
    call.settings = numbers.view<double>();
    if (call.settings.ndim != 1 || call.settings.shape[0] != settings_count || !is_contiguous(call.settings))
      fail_value(op, "got settings of shape " + shape_text(call.settings) + "; expected (" +
                         std::to_string(settings_count) + ",)");
    const int64_t count = parameters.size();
    for (int64_t first = 0; first < count; first += kMaxSegments) {
      call.count = static_cast<int>(std::min<int64_t>(kMaxSegments, count - first));
      Input held[kMaxSegments];  // a gradient that had to be copied lives until the kernel is done
      for (int i = 0; i < call.count; ++i) call.segments[i] = segment<T>(first + i, held[i]);
      invoke_released(call);
    }
  }

  void run() const {
    if (!parameters.given() || !gradients.given() || !steps.given())
      fail_type(op, "got None; expected lists of parameters, gradients and steps");
    const int64_t count = parameters.size();
    gradients.require_size(count), steps.require_size(count);
    for (const List& list : states) list.require_size(count);
    if (count == 0) return;
    const Input first = Input::floating(op, "parameters", parameters[0]);
    with_float(first.dtype(), [&](auto tag) { run_as<decltype(tag)>(); });
  }
};

void sgd_step(py::handle parameters, py::handle gradients, py::handle steps, py::handle momentum_buffers,
              py::handle settings, bool nesterov, bool maximize) {
  constexpr const char* op = "sgd_step";
  Step step{op,
            OptimizerRule::sgd,
            {op, "parameters", parameters},
            {op, "gradients", gradients},
            {op, "steps", steps},
            {{op, "momentum_buffer", momentum_buffers}, {op, "", py::none()}, {op, "", py::none()}},
            settings,
            4};
  step.nesterov = nesterov, step.maximize = maximize;
  step.run();
}

void rmsprop_step(py::handle parameters, py::handle gradients, py::handle steps, py::handle square_avgs,
                  py::handle momentum_buffers, py::handle grad_avgs, py::handle settings, bool maximize) {
  constexpr const char* op = "rmsprop_step";
  Step step{op,
            OptimizerRule::rmsprop,
            {op, "parameters", parameters},
            {op, "gradients", gradients},
            {op, "steps", steps},
            {{op, "square_avg", square_avgs},
             {op, "momentum_buffer", momentum_buffers},
             {op, "grad_avg", grad_avgs}},
            settings,
            5};
  if (square_avgs.is_none()) fail_type(op, "got square_avg None; expected a list");
  step.maximize = maximize;
  step.run();
}

void adam_step(py::handle parameters, py::handle gradients, py::handle steps, py::handle exp_avgs,
               py::handle exp_avg_sqs, py::handle max_exp_avg_sqs, py::handle settings, bool decoupled_decay,
               bool maximize) {
  constexpr const char* op = "adam_step";
  Step step{
      op,
      OptimizerRule::adam,
      {op, "parameters", parameters},
      {op, "gradients", gradients},
      {op, "steps", steps},
      {{op, "exp_avg", exp_avgs}, {op, "exp_avg_sq", exp_avg_sqs}, {op, "max_exp_avg_sq", max_exp_avg_sqs}},
      settings,
      5};
  if (exp_avgs.is_none() || exp_avg_sqs.is_none())
    fail_type(op, "got exp_avg or exp_avg_sq None; expected lists");
  step.decoupled_decay = decoupled_decay, step.maximize = maximize;
  step.run();
}

// Gradients of one dtype, in calls of at most kMaxSegments.
template <class F>
void for_each_call(const List& gradients, const F& f) {
  for (int64_t first = 0; first < gradients.size(); first += kMaxSegments)
    f(first, static_cast<int>(std::min<int64_t>(kMaxSegments, gradients.size() - first)));
}

double* one_number(const char* op, const char* name, py::handle array, Input& held) {
  held = Input::exactly(op, name, array, DType::float64);
  const auto v = held.view<double>();
  if (numel(v) != 1)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(v) + "; expected one number");
  return const_cast<double*>(v.data);
}

TensorView<double> number_view(double* p) {
  TensorView<double> v;
  v.data = p, v.ndim = 1, v.shape[0] = 1, v.strides[0] = 1;
  return v;
}

// gradient_norm(gradients, p) -> the norm of all of them together, a float64 array of one element
py::object gradient_norm(py::handle gradients_, py::handle norm_type) {
  constexpr const char* op = "gradient_norm";
  const double p = real_number(op, "norm_type", norm_type);
  const List gradients(op, "gradients", gradients_);
  if (!gradients.given()) fail_type(op, "got gradients None; expected a list");
  if (!(p > 0)) fail_value(op, "got norm_type " + std::to_string(p) + "; expected a number above 0");
  Output norm = Output::contiguous(DType::float64, {1});
  const auto view = norm.view<double>();
  *view.data = 0;
  if (gradients.size() == 0) return norm.release();
  with_float(Input::floating(op, "gradients", gradients[0]).dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_each_call(gradients, [&](int64_t first, int count) {
      GradientNorm<T> call{};
      Input held[kMaxSegments];
      call.p = p, call.norm = view, call.count = count;
      call.first = first == 0, call.last = first + count == gradients.size();
      for (int i = 0; i < count; ++i) {
        held[i] = Input::exactly(op, "gradients", gradients[first + i], dtype_of_type<T>::value);
        call.gradients[i] = held[i].view<T>();
      }
      invoke_released(call);
    });
  });
  return norm.release();
}

// clip_gradients(gradients, limit, norm): by norm, or by value where norm is None
void clip_gradients(py::handle gradients_, py::handle limit_, py::handle norm_) {
  constexpr const char* op = "clip_gradients";
  const List gradients(op, "gradients", gradients_);
  if (!gradients.given()) fail_type(op, "got gradients None; expected a list");
  if (gradients.size() == 0) return;
  Input limit_held, norm_held;
  const TensorView<double> limit = number_view(one_number(op, "limit", limit_, limit_held));
  const TensorView<double> norm =
      norm_.is_none() ? TensorView<double>() : number_view(one_number(op, "norm", norm_, norm_held));
  with_float(Input::floating(op, "gradients", gradients[0]).dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_each_call(gradients, [&](int64_t first, int count) {
      GradientClip<T> call{};
      call.count = count, call.limit = as_const(limit), call.norm = as_const(norm);
      for (int i = 0; i < count; ++i) call.gradients[i] = in_place<T>(op, gradients, first + i);
      invoke_released(call);
    });
  });
}

}  // namespace

void register_optimizer(py::module_& m) {
  m.def("sgd_step", sgd_step);
  m.def("rmsprop_step", rmsprop_step);
  m.def("adam_step", adam_step);
  m.def("gradient_norm", gradient_norm);
  m.def("clip_gradients", clip_gradients);
}

}  // namespace ranvier::bind
