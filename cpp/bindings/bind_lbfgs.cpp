#include "bindings/array_lists.h"
#include "kernels/optimizer/lbfgs.h"

namespace ranvier::bind {
namespace {

// x, where it is a vector of n contiguous elements.
const Input& flat(const Input& x, int64_t n) {
  if (!x.has_shape({n}) || !x.is_contiguous()) x.fail("(", n, ",), contiguous");
  return x;
}

// a . b, an array of one element.
Output flat_dot(Floats a, Floats b) {
  const int64_t n = a.ndim() == 1 ? a.shape(0) : 0;
  Output product = Output::contiguous(DType::float64, {1});
  flat(a, n), flat(b, n);
  run<FlatDot>(a.dtype(), a, b, product);
  return product;
}

// In place, kMaxPairs pairs at a time.
template <class T>
void run_loop(const List& direction, const List& changes, const List& steps, const double* ros,
              double* alphas, const Input& scale, bool second) {
  LbfgsLoop<T> call{};
  call.direction = direction.in_place<T>(0);
  const int64_t n = numel(call.direction), pairs = changes.size();
  flat(direction.read<T>(0), n);
  call.second = second;
  call.scale = scale;
  const int64_t calls = std::max<int64_t>(1, (pairs + kMaxPairs - 1) / kMaxPairs);
  for (int64_t k = 0; k < calls; ++k) {
    const int64_t first = (second ? k : calls - 1 - k) * kMaxPairs;
    call.count = static_cast<int>(std::min<int64_t>(kMaxPairs, pairs - first));
    Input held[2 * kMaxPairs];
    for (int i = 0; i < call.count; ++i) {
      held[2 * i] = changes.read<T>(first + i), held[2 * i + 1] = steps.read<T>(first + i);
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

// A list of this array alone.
List alone(const Arg& arg, py::list& held) {
  held.append(arg.value);
  return List({arg.op, arg.name, held});
}

void lbfgs_loop(InPlace direction_, List changes, List steps, Doubles ro, InPlace alphas_,
                MaybeExactly<DType::float64> scale, Truth second) {
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

void register_lbfgs(Module m) {
  def(m, "flat_dot(a, b)", flat_dot);
  def(m, "lbfgs_loop(direction, changes, steps, ro, alphas, scale, second)", lbfgs_loop);
}

}  // namespace ranvier::bind
