#include <algorithm>
#include <string>

#include "bindings/array_args.h"
#include "kernels/activation/activation.h"

namespace ranvier::bind {
namespace {

#define RANVIER_X(name, op, cost) #name,
constexpr const char* kNames[] = {RANVIER_FOR_EACH_ACTIVATION(RANVIER_X)};
#undef RANVIER_X

py::object forward(Activation kind, py::handle x_, double alpha, double beta, py::handle out) {
  const char* op = kNames[static_cast<int>(kind)];
  const Input x = Input::floating(op, "x", x_);
  Output y = given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
  if (given(out)) y.apart_from(op, x, true);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const ActivationForward<T> call{kind, alpha, beta, x.view<T>(), y.view<T>()};
    invoke_sized(call, numel(call.y));
  });
  return y.release();
}

py::object backward(Activation kind, const char* saved_name, py::handle dy_, py::handle saved_, double alpha,
                    double beta, py::handle out) {
  const char* op = kNames[static_cast<int>(kind)];
  const Input dy = Input::floating(op, "dy", dy_), saved = Input::floating(op, saved_name, saved_);
  require_same_dtype(op, "dy", dy, saved_name, saved);
  if (dy.ndim() != saved.ndim() || !std::equal(dy.shape(), dy.shape() + dy.ndim(), saved.shape()))
    fail_value(op, "got dy of shape " + shape_text(dy.ndim(), dy.shape()) + " and " + saved_name +
                       " of shape " + shape_text(saved.ndim(), saved.shape()) + "; expected equal shapes");
  Output dx = given(out) ? Output::given(op, out, dy.dtype(), dy.ndim(), dy.shape())
                         : Output::like(saved, dy.dtype());
  if (given(out)) dx.apart_from(op, dy, true).apart_from(op, saved, true);
  with_float(dy.dtype(), [&](auto tag) {
    using T = decltype(tag);
    const ActivationBackward<T> call{kind, alpha, beta, dy.view<T>(), saved.view<T>(), dx.view<T>()};
    invoke_sized(call, numel(call.dx));
  });
  return dx.release();
}

// name(x, [attributes], out=None) and name_backward(dy, x or y, [attributes], out=None)
template <Activation kind>
void define(py::module_& m, const char* saved) {
  const std::string name = kNames[static_cast<int>(kind)], back = name + "_backward";
  m.def(
      name.c_str(), [](py::handle x, py::handle out) { return forward(kind, x, 0, 0, out); }, py::arg("x"),
      py::arg("out") = py::none());
  m.def(
      back.c_str(),
      [saved](py::handle dy, py::handle s, py::handle out) {
        return backward(kind, saved, dy, s, 0, 0, out);
      },
      py::arg("dy"), py::arg(saved), py::arg("out") = py::none());
}

template <Activation kind>
void define(py::module_& m, const char* alpha_name, double alpha_default) {
  const std::string name = kNames[static_cast<int>(kind)], back = name + "_backward";
  const auto attribute = [alpha_name](py::handle alpha) {
    return real_number(kNames[static_cast<int>(kind)], alpha_name, alpha);
  };
  m.def(
      name.c_str(),
      [attribute](py::handle x, py::handle alpha, py::handle out) {
        return forward(kind, x, attribute(alpha), 0, out);
      },
      py::arg("x"), py::arg(alpha_name) = alpha_default, py::arg("out") = py::none());
  m.def(
      back.c_str(),
      [attribute](py::handle dy, py::handle x, py::handle alpha, py::handle out) {
        return backward(kind, "x", dy, x, attribute(alpha), 0, out);
      },
      py::arg("dy"), py::arg("x"), py::arg(alpha_name) = alpha_default, py::arg("out") = py::none());
}

template <Activation kind>
void define(py::module_& m, const char* alpha_name, double alpha_default, const char* beta_name,
            double beta_default) {
  const std::string name = kNames[static_cast<int>(kind)], back = name + "_backward";
  const auto attribute = [](const char* of, py::handle value) {
    return real_number(kNames[static_cast<int>(kind)], of, value);
  };
  m.def(
      name.c_str(),
      [=](py::handle x, py::handle alpha, py::handle beta, py::handle out) {
        return forward(kind, x, attribute(alpha_name, alpha), attribute(beta_name, beta), out);
      },
      py::arg("x"), py::arg(alpha_name) = alpha_default, py::arg(beta_name) = beta_default,
      py::arg("out") = py::none());
  m.def(
      back.c_str(),
      [=](py::handle dy, py::handle x, py::handle alpha, py::handle beta, py::handle out) {
        return backward(kind, "x", dy, x, attribute(alpha_name, alpha), attribute(beta_name, beta), out);
      },
      py::arg("dy"), py::arg("x"), py::arg(alpha_name) = alpha_default, py::arg(beta_name) = beta_default,
      py::arg("out") = py::none());
}

}  // namespace

void register_activation(py::module_& m) {
  define<Activation::relu>(m, "y");
  define<Activation::leaky_relu>(m, "negative_slope", 0.01);
  define<Activation::elu>(m, "alpha", 1.0);
  define<Activation::sigmoid>(m, "y");
  define<Activation::tanh>(m, "y");
  define<Activation::gelu>(m, "x");
  define<Activation::gelu_tanh>(m, "x");
  define<Activation::silu>(m, "x");
  define<Activation::softplus>(m, "beta", 1.0, "threshold", 20.0);
  define<Activation::heaviside>(m, "values", 0.0);
  define<Activation::hardtanh>(m, "min_val", -1.0, "max_val", 1.0);
  define<Activation::selu>(m, "x");
  define<Activation::celu>(m, "alpha", 1.0);
  define<Activation::mish>(m, "x");
  define<Activation::hardswish>(m, "x");
  define<Activation::hardsigmoid>(m, "x");
  define<Activation::logsigmoid>(m, "x");
  define<Activation::softsign>(m, "x");
  define<Activation::tanhshrink>(m, "x");
  define<Activation::softshrink>(m, "lambd", 0.5);
  define<Activation::hardshrink>(m, "lambd", 0.5);
}

}  // namespace ranvier::bind
