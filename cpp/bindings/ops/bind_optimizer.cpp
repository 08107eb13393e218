// Binds the steps of the optimizers on lists of parameters, and functions of all parameters together: norms
// of gradients, clipping, averages, penalties, and the loops of L-BFGS. A list has an array for each
// parameter (array_lists.h).
#include "bindings/binder/array_lists.h"
#include "bindings/binder/classes.h"
#include "bindings/binder/held.h"
#include "bindings/binder/numpy_api.h"
#include "bindings/tensors/tensors.h"
#include "kernels/optimizer/clip.h"
#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/lbfgs.h"
#include "kernels/optimizer/move.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier::bind {
namespace {

// An optimizer's rule of update (kernels/optimizer/rules.h). What is read here is the same for float and
// double.
using Rule = OptimizerRule<float>;

const Rule& rule_named(const Name& name) {
  const OptimizerKernels<float>& kernels = optimizer_kernels<float>();
  std::string known;
  for (const Rule* rule = kernels.rules; rule < kernels.rules + kernels.rule_count; ++rule) {
    if (name.text == rule->name) return *rule;
    known += (known.empty() ? "" : ", ") + std::string(rule->name);
  }
  name.fail("one of ", known);
}

// True if no two parameters share memory, so that threads may update them at the same time.
template <class T>
bool are_apart(const OptimizerStep<T>& step) {
  std::pair<const char*, const char*> ranges[kMaxSegments];
  int count = 0;
  for (int i = 0; i < step.count; ++i) {
    const TensorView<T>& p = step.segments[i].parameter;
    if (numel(p) == 0) continue;
    const int64_t item = item_of(p);
    const char* first = reinterpret_cast<const char*>(p.data);
    const char* last = first + item;
    for (int d = 0; d < p.ndim; ++d) {
      const int64_t reach = (p.shape[d] - 1) * p.strides[d] * item;
      if (reach < 0) {
        first += reach;
      } else {
        last += reach;
      }
    }
    ranges[count] = {first, last};
    ++count;
  }
  std::sort(ranges, ranges + count);
  for (int i = 1; i < count; ++i)
    if (ranges[i].first < ranges[i - 1].second) return false;
  return true;
}

// Runs a step as several calls of about kElements elements, since the check of a compiled step copies
// everything that one call changes. Parameters that share memory get a call each.
template <class T>
void run_in_parts(const OptimizerStep<T>& whole) {
  constexpr int64_t kElements = int64_t{1} << 20;
  int64_t elements = 0;
  for (int i = 0; i < whole.count; ++i) elements += numel(whole.segments[i].parameter);
  const bool apart = are_apart(whole);
  if (elements <= kElements && apart) return invoke_released(whole);
  for (int first = 0, end; first < whole.count; first = end) {
    OptimizerStep<T> part = whole;
    elements = 0;
    for (end = first; end < whole.count && elements < kElements && (apart || end == first); ++end) {
      elements += numel(whole.segments[end].parameter);
      part.segments[end - first] = whole.segments[end];
    }
    part.count = end - first;
    invoke_released(part);
  }
}

// The view of array i, which must have one element.
template <class T>
TensorView<T> one_number(const List& list, int64_t i) {
  const TensorView<T> v = list.in_place<T>(i);
  if (numel(v) != 1)
    fail_value(list.op, "got ", list.item(i), " of shape ", Shape(v), "; expected one number");
  return v;
}

// The view of a parameter's state, which must be contiguous and of its shape; data null without a list.
template <class T>
TensorView<T> one_state(const MaybeList& list, int64_t i, const TensorView<T>& parameter) {
  if (!list.given()) return {};
  const TensorView<T> v = list.in_place<T>(i);
  list.expect_shape(i, v, parameter);
  if (numel(v) > 0 && !is_contiguous(v))
    fail_value(list.op, "got ", list.item(i), " that is strided; expected a contiguous array");
  return v;
}

// A list with a list of arrays, or None, for each state that the rule keeps, such as the momentum.
struct States : Arg {
  RANVIER_ANNOTATION("list[list[Array] | None]");
  States(const Arg& arg) : Arg(arg) {
    if (!PyList_Check(value.ptr())) wrong_type("a list");
  }

  std::vector<MaybeList> of(const Rule& rule, int64_t parameters) const {
    constexpr const char* names[kMaxStates] = {"states[0]", "states[1]", "states[2]"};
    const py::tuple given(py::reinterpret_borrow<py::list>(value));
    if (static_cast<int>(given.size()) != rule.states)
      fail_value(rule.name, "got ", static_cast<int64_t>(given.size()), " states; expected ", rule.states);
    std::vector<MaybeList> lists;
    for (int k = 0; k < rule.states; ++k) {
      lists.push_back(MaybeList({rule.name, names[k], PyTuple_GET_ITEM(given.ptr(), k)}));
      lists[k].expect_size(parameters);
      if (k < rule.needed && !lists[k].given()) lists[k].wrong_type("a list");
    }
    return lists;
  }
};

// One step of a rule. steps: for each parameter the number of steps so far; numbers: another number that some
// rules keep for each parameter, or None. If `loss` is given and not finite, nothing is changed.
void optimizer_step(Name name, List parameters, List gradients, List steps, MaybeList numbers, States states_,
                    const Doubles& settings, const MaybeFloats& loss) {
  const Rule& rule = rule_named(name);
  for (List* list : {&parameters, &gradients, &steps, static_cast<List*>(&numbers)}) {
    list->op = rule.name;  // the name that errors begin with
    list->expect_size(parameters.size());
  }
  if (numbers.given() && !rule.next) fail_type(rule.name, "got numbers; expected None");
  if (!numbers.given() && rule.next) numbers.wrong_type("a list");
  std::vector<MaybeList> states = states_.of(rule, parameters.size());
  if (parameters.size() > 0) {
    const DType own = Input::real(parameters.arg(0)).dtype();
    if (stored_as(own) != Stored::whole) parameters.half = gradients.half = own;
    for (MaybeList& list : states) list.half = parameters.half;
  }
  if (!settings.has_shape({rule.settings}) || !settings.is_contiguous())
    fail_value(rule.name, "got settings of shape ", settings.shape(), "; expected (", rule.settings, ",)");
  if (loss && loss.elements() != 1)
    fail_value(rule.name, "got loss of shape ", loss.shape(), "; expected one number");
  run_list<OptimizerStep>(
      parameters,
      [&](auto& call, auto tag, int64_t first, Input* held) {
        using T = decltype(tag);
        call.rule = static_cast<int>(&rule - optimizer_kernels<float>().rules);
        call.settings = settings;
        if (loss && loss.dtype() == DType::float32)
          call.loss = loss;
        else
          call.loss_double = loss;
        for (int k = 0; k < call.count; ++k) {
          const int64_t i = first + k;
          OptimizerSegment<T>& s = call.segments[k];
          s.parameter = parameters.in_place<T>(i);
          s.gradient = held[k] = gradients.read<T>(i);
          gradients.expect_shape(i, s.gradient, s.parameter);
          for (int j = 0; j < rule.states; ++j) s.states[j] = one_state(states[j], i, s.parameter);
          s.step = one_number<double>(steps, i);
          if (!numbers.given()) continue;
          if (Input::real(numbers.arg(i)).dtype() == DType::float32)
            s.single = one_number<float>(numbers, i);
          else
            s.number = one_number<double>(numbers, i);
        }
      },
      [](const auto& call) { run_in_parts(call); });
}

// True if the lists `tensors` and `before` have the same Tensors, whose arrays have these dtypes.
bool are_as_before(const Raw& tensors, const Raw& before, const Raw& dtypes) {
  const auto now = FromPython<py::list>::convert(tensors.value.ptr());
  const auto then = FromPython<py::list>::convert(before.value.ptr());
  const auto kinds = FromPython<py::list>::convert(dtypes.value.ptr());
  if (now.size() != then.size()) return false;
  for (size_t i = 0; i < now.size(); ++i) {
    PyObject* tensor = PyList_GET_ITEM(now.ptr(), i);
    if (tensor != PyList_GET_ITEM(then.ptr(), i)) return false;
    PyObject* array = slot_at(tensor, tensor_slots().array);
    auto* kind = reinterpret_cast<PyArray_Descr*>(PyList_GET_ITEM(kinds.ptr(), i));
    if (PyArray_DESCR(as_array(array)) != kind && !PyArray_EquivTypes(PyArray_DESCR(as_array(array)), kind))
      return false;
  }
  return true;
}

// parameters += factor * values; towards: parameters += factor * (values - parameters).
void move_parameters(List parameters, List values, OneNumber factor, Truth towards) {
  values.expect_size(parameters.size());
  run_list<MoveParameters>(parameters, [&](auto& call, auto tag, int64_t first, Input* held) {
    using T = decltype(tag);
    call.towards = towards;
    call.factor = factor.number();
    for (int i = 0; i < call.count; ++i) {
      call.parameters[i] = parameters.in_place<T>(first + i);
      call.values[i] = held[i] = values.read<T>(first + i);
      values.expect_shape(first + i, call.values[i], call.parameters[i]);
    }
  });
}

// The weight of the next value in a running average of `count` values; adds 1 to count. decay: that of an
// exponential average; None: the plain mean.
Output average_weight(InPlace count_, MaybeReal decay) {
  const double rate = decay.given() ? Real(decay).number : -1;
  const Output count = count_.of(DType::int64, {});
  Output weight = Output::contiguous(DType::float64, {1});
  invoke(AverageWeight{rate, count, weight});
  return weight;
}

// The norm of all gradients as one vector: an array of one element.
Output gradient_norm(List gradients, Real norm_type) {
  const double p = norm_type.above(0);
  Output norm = Output::contiguous(DType::float64, {1});
  const auto view = norm.view<double>();
  *view.data = 0;
  run_list<GradientNorm>(gradients, [&](auto& call, auto tag, int64_t first, Input* held) {
    call.p = p;
    call.norm = view;
    call.first = first == 0;
    call.last = first + call.count == gradients.size();
    for (int i = 0; i < call.count; ++i)
      call.gradients[i] = held[i] = gradients.read<decltype(tag)>(first + i);
  });
  return norm;
}

// Scales the gradients so that their norm is at most `limit`; norm None: clips each element to -limit ...
// limit.
void clip_gradients(List gradients, OneNumber limit, const MaybeExactly<DType::float64>& norm) {
  if (gradients.size() != 0 && norm && norm.elements() != 1) norm.fail("one number");
  run_list<GradientClip>(gradients, [&](auto& call, auto tag, int64_t first, Input*) {
    call.limit = limit.number();
    if (norm) call.norm = as_const(number_view(const_cast<double*>(norm.view<double>().data)));
    for (int i = 0; i < call.count; ++i) call.gradients[i] = gradients.in_place<decltype(tag)>(first + i);
  });
}

// Fails unless a has one number for each of n parameters.
void expect_strengths(const Doubles& a, int64_t n) {
  if (!a.has_shape({n}) || (n > 1 && !a.is_contiguous())) a.fail("one number for each of ", n, " parameters");
}

// The elements [first, first + count) of a vector.
TensorView<const double> part(TensorView<const double> v, int64_t first, int count) {
  v.data += first;
  v.shape[0] = count;
  return v;
}

// The penalty of weights, sums of l1 |w| and l2 w^2, as an array of one element. gradients: None, or they are
// multiplied by `scale`, and the gradients of the penalty are added to them.
Output weight_penalty(List parameters, MaybeList gradients, const Doubles& l1, const Doubles& l2,
                      OneNumber scale) {
  gradients.expect_size(parameters.size());
  expect_strengths(l1, parameters.size());
  expect_strengths(l2, parameters.size());
  Output value = Output::contiguous(DType::float64, {1});
  const auto total = value.view<double>();
  *total.data = 0;
  run_list<WeightPenalty>(parameters, [&](auto& call, auto tag, int64_t first, Input* held) {
    using T = decltype(tag);
    call.first = first == 0;
    call.l1 = part(l1, first, call.count);
    call.l2 = part(l2, first, call.count);
    call.scale = scale.number();
    call.value = total;
    for (int i = 0; i < call.count; ++i) {
      call.parameters[i] = held[i] = parameters.read<T>(first + i);
      if (!gradients.given()) continue;
      call.gradients[i] = gradients.in_place<T>(first + i);
      gradients.expect_shape(first + i, call.gradients[i], call.parameters[i]);
    }
  });
  return value;
}

// x itself; fails unless it is a vector of n contiguous elements.
const Input& flat(const Input& x, int64_t n) {
  if (!x.has_shape({n}) || !x.is_contiguous()) x.fail("(", n, ",), contiguous");
  return x;
}

// a . b, an array of one element.
Output flat_dot(const Floats& a, const Floats& b) {
  const int64_t n = a.ndim() == 1 ? a.shape(0) : 0;
  Output product = Output::contiguous(DType::float64, {1});
  flat(a, n);
  flat(b, n);
  run<FlatDot>(a.dtype(), a, b, product);
  return product;
}

// Runs one of the two loops of L-BFGS (kernels/optimizer/lbfgs.h) on the vector `direction`, in place. Each
// call takes kMaxPairs pairs of changes and steps; the first loop goes from the last pair to the first, the
// second one back.
template <class T>
void run_loop(const List& direction, const List& changes, const List& steps, const double* ros,
              double* alphas, const Input& scale, bool second) {
  LbfgsLoop<T> call{};
  call.direction = direction.in_place<T>(0);
  const int64_t n = numel(call.direction);
  const int64_t pairs = changes.size();
  flat(direction.read<T>(0), n);
  call.second = second;
  call.scale = scale;
  const int64_t calls = std::max<int64_t>(1, (pairs + kMaxPairs - 1) / kMaxPairs);
  for (int64_t k = 0; k < calls; ++k) {
    const int64_t first = (second ? k : calls - 1 - k) * kMaxPairs;
    call.count = static_cast<int>(std::min<int64_t>(kMaxPairs, pairs - first));
    Input held[2 * kMaxPairs];
    for (int i = 0; i < call.count; ++i) {
      held[2 * i] = changes.read<T>(first + i);
      held[2 * i + 1] = steps.read<T>(first + i);
      call.changes[i] = flat(held[2 * i], n);
      call.steps[i] = flat(held[2 * i + 1], n);
    }
    call.ro = as_const(number_view(const_cast<double*>(ros) + first));
    call.alphas = number_view(alphas + first);
    call.ro.shape[0] = call.alphas.shape[0] = call.count;
    invoke_released(call);
    call.scale = {};
  }
}

// A list with this array only; `held` keeps it.
List alone(const Arg& arg, py::list& held) {
  held.append(arg.value);
  return List({arg.op, arg.name, held});
}

void lbfgs_loop(InPlace direction_, List changes, List steps, const Doubles& ro, InPlace alphas_,
                const MaybeExactly<DType::float64>& scale, Truth second) {
  const int64_t pairs = changes.size();
  if (steps.size() != pairs)
    fail_value(ro.op(), "got ", pairs, " changes and ", steps.size(), " steps; expected as many");
  if (scale && scale.elements() != 1) fail_value(ro.op(), "got scale of several numbers; expected one");
  py::list held_alphas, held_direction;
  const TensorView<double> alphas = alone(alphas_, held_alphas).in_place<double>(0);
  if (Shape(alphas) != Shape{pairs} || (pairs > 0 && !is_contiguous(alphas)))
    fail_value(ro.op(), "got alphas of shape ", Shape(alphas), "; expected one for each pair");
  const List direction = alone(direction_, held_direction);
  const double* ros = flat(ro, pairs).view<double>().data;
  with_float(direction.dtype(), [&](auto tag) {
    run_loop<decltype(tag)>(direction, changes, steps, ros, alphas.data, scale, second);
  });
}

}  // namespace

void register_optimizer(Module m) {
  def(m, "optimizer_step(rule, parameters, gradients, steps, numbers, states, settings, loss=None)",
      optimizer_step);
  def(m, "_are_as_before(tensors, before, dtypes)", are_as_before);
  def(m, "move_parameters(parameters, values, factor, towards)", move_parameters);
  def(m, "average_weight(count, decay)", average_weight);
  def(m, "gradient_norm(gradients, norm_type)", gradient_norm);
  def(m, "weight_penalty(parameters, gradients, l1, l2, scale)", weight_penalty);
  def(m, "clip_gradients(gradients, limit, norm)", clip_gradients);
  def(m, "flat_dot(a, b)", flat_dot);
  def(m, "lbfgs_loop(direction, changes, steps, ro, alphas, scale, second)", lbfgs_loop);
}

}  // namespace ranvier::bind
