#include <iterator>

#include "bindings/array_lists.h"
#include "kernels/optimizer/move.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier::bind {
namespace {

struct Rule {
  const char* name;
  OptimizerRule rule;
  int settings;
  const char* states[kMaxStates];
  int required;  // of the states; the others may be None
};

constexpr Rule kRules[] = {
    {"sgd", OptimizerRule::sgd, 4, {"momentum_buffer"}, 0},
    {"rmsprop", OptimizerRule::rmsprop, 5, {"square_avg", "momentum_buffer", "grad_avg"}, 1},
    {"adam", OptimizerRule::adam, 5, {"exp_avg", "exp_avg_sq", "max_exp_avg_sq"}, 2},
    {"adagrad", OptimizerRule::adagrad, 4, {"sum"}, 1},
    {"adadelta", OptimizerRule::adadelta, 4, {"square_avg", "acc_delta"}, 2},
    {"adamax", OptimizerRule::adamax, 5, {"exp_avg", "exp_inf"}, 2},
    {"nadam", OptimizerRule::nadam, 6, {"exp_avg", "exp_avg_sq"}, 2},
    {"radam", OptimizerRule::radam, 5, {"exp_avg", "exp_avg_sq"}, 2},
    {"lion", OptimizerRule::lion, 4, {"exp_avg"}, 1},
};

const Rule& rule_named(const std::string& name) {
  for (const Rule& rule : kRules)
    if (name == rule.name) return rule;
  std::string known;
  for (const Rule& rule : kRules) known += (known.empty() ? "" : ", ") + std::string(rule.name);
  fail_value("optimizer_step", "got rule '" + name + "'; expected one of " + known);
}

// Runs one rule over the lists, kMaxSegments parameters at a time.
struct Step {
  const char* op;
  const Rule& rule;
  List parameters, gradients, steps, products;
  List states[kMaxStates];
  py::handle settings, loss;
  bool maximize, nesterov, decoupled_decay;

  TensorView<double> number(const List& list, int64_t i) const {
    const TensorView<double> v = in_place<double>(op, list, i);
    if (numel(v) != 1)
      fail_value(op, "got " + list.item(i) + " of shape " + shape_text(v) + "; expected one number");
    return v;
  }

  template <class T>
  TensorView<const T> one_element(const Input& number) const {
    const TensorView<const T> v = number.view<T>();
    if (numel(v) != 1) fail_value(op, "got loss of shape " + shape_text(v) + "; expected one number");
    return v;
  }

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
    s.step = number(steps, i);
    if (products.given()) s.product = number(products, i);
    return s;
  }

  template <class T>
  void run_as() const {
    const Input numbers = Input::exactly(op, "settings", settings, DType::float64);
    OptimizerStep<T> call;
    call.rule = rule.rule, call.nesterov = nesterov, call.decoupled_decay = decoupled_decay,
    call.maximize = maximize;
    call.settings = numbers.view<double>();
    if (call.settings.ndim != 1 || call.settings.shape[0] != rule.settings || !is_contiguous(call.settings))
      fail_value(op, "got settings of shape " + shape_text(call.settings) + "; expected (" +
                         std::to_string(rule.settings) + ",)");
    Input loss_held;
    call.loss = {}, call.loss_double = {};
    if (!loss.is_none()) {
      loss_held = Input::floating(op, "loss", loss);
      if (loss_held.dtype() == DType::float32)
        call.loss = one_element<float>(loss_held);
      else
        call.loss_double = one_element<double>(loss_held);
    }
    for_each_call(parameters, [&](int64_t first, int count) {
      Input held[kMaxSegments];  // a gradient that had to be copied lives until the kernel is done
      call.count = count;
      for (int i = 0; i < count; ++i) call.segments[i] = segment<T>(first + i, held[i]);
      invoke_released(call);
    });
  }

  void run() const {
    if (!parameters.given() || !gradients.given() || !steps.given())
      fail_type(op, "got None; expected lists of parameters, gradients and steps");
    const int64_t count = parameters.size();
    gradients.require_size(count), steps.require_size(count), products.require_size(count);
    if (products.given() != (rule.rule == OptimizerRule::nadam))
      fail_type(op, products.given() ? "got products; expected None" : "got products None; expected a list");
    for (int k = 0; k < kMaxStates; ++k) {
      states[k].require_size(count);
      if (k < rule.required && !states[k].given())
        fail_type(op, std::string("got ") + rule.states[k] + " None; expected a list");
    }
    if (count == 0) return;
    const Input first = Input::floating(op, "parameters", parameters[0]);
    with_float(first.dtype(), [&](auto tag) { run_as<decltype(tag)>(); });
  }
};

// optimizer_step(rule, parameters, gradients, steps, products, states, settings, maximize, nesterov,
// decoupled_decay, loss); states has a list, or None, for each state of the rule; where loss is given and not
// finite, nothing is changed
void optimizer_step(const std::string& name, py::handle parameters, py::handle gradients, py::handle steps,
                    py::handle products, const py::list& states, py::handle settings, bool maximize,
                    bool nesterov, bool decoupled_decay, py::handle loss) {
  const Rule& rule = rule_named(name);
  const char* op = rule.name;
  const auto expected = std::count_if(std::begin(rule.states), std::end(rule.states),
                                      [](const char* state) { return state != nullptr; });
  if (static_cast<int64_t>(states.size()) != expected)
    fail_value(op, "got " + std::to_string(states.size()) + " states; expected " + std::to_string(expected));
  const auto state = [&](int k) {
    return k < expected ? List(op, rule.states[k], states[k]) : List(op, "", py::none());
  };
  Step{op,
       rule,
       {op, "parameters", parameters},
       {op, "gradients", gradients},
       {op, "steps", steps},
       {op, "products", products},
       {state(0), state(1), state(2)},
       settings,
       loss,
       maximize,
       nesterov,
       decoupled_decay}
      .run();
}

// move_parameters(parameters, values, factor, towards): parameters += factor values, or factor (values -
// parameters)
void move_parameters(py::handle parameters_, py::handle values_, py::handle factor, bool towards) {
  constexpr const char* op = "move_parameters";
  const List parameters(op, "parameters", parameters_), values(op, "values", values_);
  if (!parameters.given() || !values.given()) fail_type(op, "got None; expected lists");
  values.require_size(parameters.size());
  if (parameters.size() == 0) return;
  Input factor_held;
  const double* number = one_number(op, "factor", factor, factor_held);
  with_float(Input::floating(op, "parameters", parameters[0]).dtype(), [&](auto tag) {
    using T = decltype(tag);
    for_each_call(parameters, [&](int64_t first, int count) {
      MoveParameters<T> call{};
      Input held[kMaxSegments];
      call.towards = towards, call.count = count;
      call.factor = as_const(number_view(const_cast<double*>(number)));
      for (int i = 0; i < count; ++i) {
        call.parameters[i] = in_place<T>(op, parameters, first + i);
        held[i] = Input::exactly(op, "values", values[first + i], dtype_of_type<T>::value);
        call.values[i] = held[i].view<T>();
        require_same_shape(op, values, first + i, call.values[i], call.parameters[i]);
      }
      invoke_released(call);
    });
  });
}

// average_weight(count, decay): how far an average of so many values moves to the next, and one more counted;
// decay None: the plain mean
py::object average_weight(py::handle count_, py::handle decay_) {
  constexpr const char* op = "average_weight";
  const double decay = decay_.is_none() ? -1 : real_number(op, "decay", decay_);
  const Output count = Output::given(op, count_, DType::int64, 0, nullptr, "count");
  Output weight = Output::contiguous(DType::float64, {1});
  invoke(AverageWeight{decay, count.view<int64_t>(), weight.view<double>()});
  return weight.release();
}

}  // namespace

void register_optimizer(py::module_& m) {
  m.def("optimizer_step", optimizer_step, py::arg(), py::arg(), py::arg(), py::arg(), py::arg(), py::arg(),
        py::arg(), py::arg(), py::arg(), py::arg(), py::arg() = py::none());
  m.def("move_parameters", move_parameters);
  m.def("average_weight", average_weight);
}

}  // namespace ranvier::bind
