#include <string>

#include "bindings/array_args.h"
#include "kernels/dropout/dropout.h"

namespace ranvier::bind {
namespace {

TensorView<const int64_t> key_view(const char* op, const Input& key) {
  const auto v = key.view<int64_t>();
  if (v.ndim != 1 || v.shape[0] != 2)
    fail_value(op,
               "got key of shape " + shape_text(v) + "; expected (2,): the key and the number of the call");
  return v;
}

// next_key(state) -> key (2): state (2) holds the seed and the number of keys given, which is raised
py::object next_key(py::handle state_) {
  constexpr const char* op = "next_key";
  const int64_t two = 2;
  const auto state = Output::given(op, state_, DType::int64, 1, &two, "state").view<int64_t>();
  if (state.strides[0] != 1) fail_value(op, "got a strided state; expected a contiguous one");
  Output key = Output::contiguous(DType::int64, {2});
  invoke(NextKey{state, key.view<int64_t>()});
  return key.release();
}

// dropout(x, p, key, out): the same call with dy for x is the gradient
py::object dropout(py::handle x_, py::handle p_, py::handle key_, py::handle out) {
  constexpr const char* op = "dropout";
  const double p = real_number(op, "p", p_);
  const Input x = Input::floating(op, "x", x_);
  const Input key = Input::exactly(op, "key", key_, DType::int64);
  if (!(p >= 0 && p <= 1)) fail_value(op, "got p " + std::to_string(p) + "; expected a probability, 0 to 1");
  Output y = given(out) ? Output::given(op, out, x.dtype(), x.ndim(), x.shape()) : Output::like(x, x.dtype());
  y.apart_from(op, x, true);
  with_float(x.dtype(), [&](auto tag) {
    using T = decltype(tag);
    invoke_released(Dropout<T>{p, key_view(op, key), x.view<T>(), y.view<T>()});
  });
  return y.release();
}

py::object fill(const char* op, Distribution distribution, const py::tuple& shape, const std::string& dtype,
                double a, double b, py::handle key_) {
  const Input key = Input::exactly(op, "key", key_, DType::int64);
  if (dtype != "float32" && dtype != "float64")
    fail_type(op, "got dtype " + dtype + "; expected float32 or float64");
  if (shape.size() > kMaxDims)
    fail_value(op, "got shape " + std::string(py::repr(shape)) + "; expected at most " +
                       std::to_string(kMaxDims) + " dimensions");
  int64_t sizes[kMaxDims];
  for (size_t d = 0; d < shape.size(); ++d) {
    sizes[d] = whole_number(op, "a size", shape[d]);
    if (sizes[d] < 0) fail_value(op, "got shape " + std::string(py::repr(shape)) + "; expected sizes >= 0");
  }
  const DType type = dtype == "float32" ? DType::float32 : DType::float64;
  Output y = Output::contiguous(type, static_cast<int>(shape.size()), sizes);
  with_float(type, [&](auto tag) {
    using T = decltype(tag);
    invoke_released(RandomFill<T>{distribution, a, b, key_view(op, key), y.view<T>()});
  });
  return y.release();
}

// random_uniform(shape, dtype, low, high, key)
py::object random_uniform(const py::tuple& shape, const std::string& dtype, double low, double high,
                          py::handle key) {
  if (!(low <= high))
    fail_value("random_uniform", "got low " + std::to_string(low) + " and high " + std::to_string(high) +
                                     "; expected low <= high");
  return fill("random_uniform", Distribution::uniform, shape, dtype, low, high, key);
}

// random_normal(shape, dtype, mean, deviation, key)
py::object random_normal(const py::tuple& shape, const std::string& dtype, double mean, double deviation,
                         py::handle key) {
  if (!(deviation >= 0))
    fail_value("random_normal", "got std " + std::to_string(deviation) + "; expected a number >= 0");
  return fill("random_normal", Distribution::normal, shape, dtype, mean, deviation, key);
}

}  // namespace

void register_dropout(py::module_& m) {
  m.def("next_key", next_key);
  m.def("dropout", dropout, py::arg("x"), py::arg("p"), py::arg("key"), py::arg("out") = py::none());
  m.def("random_uniform", random_uniform);
  m.def("random_normal", random_normal);
}

}  // namespace ranvier::bind
