#include <string>

#include "base/without_axis.h"
#include "bindings/array_args.h"
#include "bindings/loss_args.h"
#include "kernels/distance/distance.h"

namespace ranvier::bind {
namespace {

using H = py::handle;
using A = py::arg;

#define RANVIER_X(name) #name,
constexpr const char* kNames[] = {RANVIER_FOR_EACH_DISTANCE(RANVIER_X)};
#undef RANVIER_X

struct Pair {
  const char* op;
  Distance kind;
  Input x1, x2;
  DistanceSettings settings{};

  Pair(Distance which, H x1_, H x2_, H axis, H eps)
      : op(kNames[static_cast<int>(which)]),
        kind(which),
        x1(Input::floating(op, "x1", x1_)),
        x2(Input::floating(op, "x2", x2_)) {
    require_same_dtype(op, "x1", x1, "x2", x2);
    require_same_shape(op, "x1", x1, "x2", x2);
    settings.axis = axis_number(op, axis, x1.ndim());
    settings.eps = real_number(op, "eps", eps);
  }

  int ndim() const { return x1.ndim() - 1; }
  WithoutAxis shape() const { return WithoutAxis(x1.shape(), x1.ndim(), settings.axis); }

  py::object forward(H out) const {
    Output y = Output::given(op, out, x1.dtype(), ndim(), shape());
    if (given(out)) y.apart_from(op, x1).apart_from(op, x2);
    with_float(x1.dtype(), [&](auto tag) {
      using T = decltype(tag);
      invoke_released(DistanceForward<T>{kind, settings, x1.view<T>(), x2.view<T>(), y.view<T>()});
    });
    return y.release();
  }

  py::object backward(H dy_, bool of_second, H out) const {
    const Input dy = Input::floating(op, "dy", dy_);
    require_same_dtype(op, "dy", dy, "x1", x1);
    require_shape(op, "dy", dy, ndim(), shape());
    Output dx = given(out) ? Output::given(op, out, x1.dtype(), x1.ndim(), x1.shape())
                           : Output::like(of_second ? x2 : x1, x1.dtype());
    if (given(out)) dx.apart_from(op, x1).apart_from(op, x2).apart_from(op, dy);
    with_float(x1.dtype(), [&](auto tag) {
      using T = decltype(tag);
      invoke_released(DistanceBackward<T>{kind, settings, of_second, dy.view<T>(), x1.view<T>(), x2.view<T>(),
                                          dx.view<T>()});
    });
    return dx.release();
  }
};

Pair norm(H x1, H x2, H axis, H p, H eps) {
  Pair pair(Distance::pairwise_distance, x1, x2, axis, eps);
  pair.settings.p = real_number(pair.op, "p", p);
  if (!(pair.settings.p > 0))
    fail_value(pair.op, "got p " + std::string(py::str(p)) + "; expected a number above 0");
  return pair;
}

Pair cosine(H x1, H x2, H axis, H eps) { return Pair(Distance::cosine_similarity, x1, x2, axis, eps); }

}  // namespace

void register_distance(py::module_& m) {
  m.def(
      "cosine_similarity",
      [](H x1, H x2, H axis, H eps, H out) { return cosine(x1, x2, axis, eps).forward(out); }, A("x1"),
      A("x2"), A("axis") = 1, A("eps") = 1e-8, A("out") = py::none());
  m.def(
      "cosine_similarity_backward",
      [](H dy, H x1, H x2, H axis, H eps, H of_second, H out) {
        const Pair pair = cosine(x1, x2, axis, eps);
        return pair.backward(dy, truth(pair.op, "of_second", of_second), out);
      },
      A("dy"), A("x1"), A("x2"), A("axis") = 1, A("eps") = 1e-8, A("of_second") = false,
      A("out") = py::none());
  m.def(
      "pairwise_distance",
      [](H x1, H x2, H axis, H p, H eps, H out) { return norm(x1, x2, axis, p, eps).forward(out); }, A("x1"),
      A("x2"), A("axis") = -1, A("p") = 2.0, A("eps") = 1e-6, A("out") = py::none());
  m.def(
      "pairwise_distance_backward",
      [](H dy, H x1, H x2, H axis, H p, H eps, H of_second, H out) {
        const Pair pair = norm(x1, x2, axis, p, eps);
        return pair.backward(dy, truth(pair.op, "of_second", of_second), out);
      },
      A("dy"), A("x1"), A("x2"), A("axis") = -1, A("p") = 2.0, A("eps") = 1e-6, A("of_second") = false,
      A("out") = py::none());
}

}  // namespace ranvier::bind
