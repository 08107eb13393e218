#include "bindings/array_lists.h"
#include "kernels/optimizer/lbfgs.h"

namespace ranvier::bind {
namespace {

template <class T>
TensorView<const T> flat(const char* op, const char* name, const Input& x, int64_t n) {
  const TensorView<const T> v = x.view<T>();
  if (v.ndim != 1 || v.shape[0] != n || (n > 0 && !is_contiguous(v)))
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(v) + "; expected (" +
                       std::to_string(n) + ",), contiguous");
  return v;
}

// flat_dot(a, b) -> a . b, a float64 array of one element
py::object flat_dot(py::handle a_, py::handle b_) {
  constexpr const char* op = "flat_dot";
  const Input a = Input::floating(op, "a", a_);
  const Input b = Input::exactly(op, "b", b_, a.dtype());
  const int64_t n = a.ndim() == 1 ? a.shape(0) : 0;
  Output product = Output::contiguous(DType::float64, {1});
  with_float(a.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(FlatDot<T>{flat<T>(op, "a", a, n), flat<T>(op, "b", b, n), product.view<double>()});
  });
  return product.release();
}

// lbfgs_loop(direction, changes, steps, ro, alphas, scale, second): in place, kMaxPairs pairs at a time
template <class T>
void run_loop(py::handle direction_, const List& changes, const List& steps, const Input& ro,
              TensorView<double> alphas, const Input& scale, bool second) {
  constexpr const char* op = "lbfgs_loop";
  py::list alone;
  alone.append(direction_);
  LbfgsLoop<T> call{};
  call.direction = in_place<T>(op, List(op, "direction", alone), 0);
  const int64_t n = numel(call.direction), pairs = changes.size();
  flat<T>(op, "direction", Input::exactly(op, "direction", direction_, dtype_of_type<T>::value), n);
  const double* ros = flat<double>(op, "ro", ro, pairs).data;
  call.second = second;
  call.scale = scale.view<double>();
  const int64_t calls = std::max<int64_t>(1, (pairs + kMaxPairs - 1) / kMaxPairs);
  for (int64_t k = 0; k < calls; ++k) {
    const int64_t first = (second ? k : calls - 1 - k) * kMaxPairs;
    call.count = static_cast<int>(std::min<int64_t>(kMaxPairs, pairs - first));
    Input held[2 * kMaxPairs];
    for (int i = 0; i < call.count; ++i) {
      held[2 * i] = Input::exactly(op, "changes", changes[first + i], dtype_of_type<T>::value);
      held[2 * i + 1] = Input::exactly(op, "steps", steps[first + i], dtype_of_type<T>::value);
      call.changes[i] = flat<T>(op, "changes", held[2 * i], n);
      call.steps[i] = flat<T>(op, "steps", held[2 * i + 1], n);
    }
    call.ro = as_const(number_view(const_cast<double*>(ros) + first));
    call.alphas = number_view(alphas.data + first);
    call.ro.shape[0] = call.alphas.shape[0] = call.count;
    invoke_released(call);
    call.scale = {};
  }
}

void lbfgs_loop(py::handle direction, py::handle changes_, py::handle steps_, py::handle ro_,
                const py::object& alphas_, py::handle scale_, bool second) {
  constexpr const char* op = "lbfgs_loop";
  const List changes(op, "changes", changes_), steps(op, "steps", steps_);
  if (!changes.given() || !steps.given()) fail_type(op, "got None; expected lists of changes and steps");
  if (steps.size() != changes.size())
    fail_value(op, "got " + std::to_string(changes.size()) + " changes and " + std::to_string(steps.size()) +
                       " steps; expected as many");
  const Input ro = Input::exactly(op, "ro", ro_, DType::float64);
  const Input scale = Input::optional(op, "scale", scale_, DType::float64);
  if (scale && numel(scale.view<double>()) != 1) fail_value(op, "got scale of several numbers; expected one");
  py::list alone;
  alone.append(alphas_);
  const TensorView<double> alphas = in_place<double>(op, List(op, "alphas", alone), 0);
  if (alphas.ndim != 1 || alphas.shape[0] != changes.size() || (changes.size() > 0 && !is_contiguous(alphas)))
    fail_value(op, "got alphas of shape " + shape_text(alphas) + "; expected one for each pair");
  with_float(Input::floating(op, "direction", direction).dtype(), [&](auto tag) {
    run_loop<decltype(tag)>(direction, changes, steps, ro, alphas, scale, second);
  });
}

}  // namespace

void register_lbfgs(py::module_& m) {
  m.def("flat_dot", flat_dot);
  m.def("lbfgs_loop", lbfgs_loop);
}

}  // namespace ranvier::bind
