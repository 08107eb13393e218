#include <algorithm>

#include "bindings/array_args.h"
#include "kernels/elementwise/elementwise.h"

namespace ranvier::bind {
namespace {

constexpr int kMaxArrays = 4;

// The operands of one call, arrays or numbers, and the shape that they broadcast to. A number takes the dtype
// of the arrays beside it.
class Operands {
 public:
  Operands(const char* op, std::initializer_list<py::handle> arguments, const char* const* names)
      : op_(op), names_(names), count_(static_cast<int>(arguments.size())) {
    int k = 0;
    for (py::handle h : arguments) add(k++, h);
    if (first_ < 0) fail_type(op, "got numbers only; expected at least one array");
    for (k = first_ + 1; k < count_; ++k)
      require_same_dtype(op, names_[first_], arrays_[first_], names_[k], arrays_[k]);
  }

  DType dtype() const { return arrays_[first_].dtype(); }
  int count() const { return count_; }
  double number(int k) const { return numbers_[k]; }
  const Input& array(int k) const { return arrays_[k]; }

  // Takes another array into the shape (the condition of where).
  void broadcast_with(const Input& x) { widen(x); }

  // A result of this shape, in the memory order of the first operand of the full shape; channels-last if any
  // is.
  Output output(py::handle out, DType dtype, const Input* condition = nullptr) const {
    if (given(out)) {
      Output y = Output::given(op_, out, dtype, ndim_, shape_);
      for (int k = 0; k < count_; ++k) y.apart_from(op_, arrays_[k], true);
      if (condition) y.apart_from(op_, *condition, true);
      return y;
    }
    const Input* like = nullptr;
    for (int k = 0; k < count_; ++k)
      if (arrays_[k] && is_full(arrays_[k]) &&
          (!like || (is_channels_last(arrays_[k]) && !is_channels_last(*like))))
        like = &arrays_[k];
    return like ? Output::like(*like, dtype) : Output::contiguous(dtype, ndim_, shape_);
  }

  int64_t size() const {
    int64_t n = 1;
    for (int d = 0; d < ndim_; ++d) n *= shape_[d];
    return n;
  }

  // v: x repeated to the common shape.
  template <class T>
  void fill(TensorView<const T>& v, const Input& x) const {
    repeat(x.view<T>(), ndim_, shape_, v);
  }

  // All operands; data is null for a number.
  template <class T>
  void fill(TensorView<const T>* x, T* scalar) const {
    for (int k = 0; k < count_; ++k) {
      if (arrays_[k]) fill(x[k], arrays_[k]);
      scalar[k] = static_cast<T>(numbers_[k]);
    }
  }

 private:
  void add(int k, py::handle h) {
    if (PyFloat_CheckExact(h.ptr())) {
      numbers_[k] = PyFloat_AS_DOUBLE(h.ptr());
    } else if (PyLong_CheckExact(h.ptr())) {
      numbers_[k] = real_number(op_, names_[k], h);
    } else {
      arrays_[k] = Input::floating(op_, names_[k], h);
      if (first_ < 0) first_ = k;
      widen(arrays_[k]);
    }
  }

  void widen(const Input& x) {
    const int n = std::max(ndim_, x.ndim()), lead = n - ndim_, own_lead = n - x.ndim();
    int64_t wide[kMaxDims];
    for (int d = 0; d < n; ++d) {
      const int64_t a = d < lead ? 1 : shape_[d - lead], b = d < own_lead ? 1 : x.shape(d - own_lead);
      if (a != b && a != 1 && b != 1) fail_shapes(x);
      wide[d] = a == 1 ? b : a;
    }
    std::copy(wide, wide + n, shape_);
    ndim_ = n;
  }

  [[noreturn]] void fail_shapes(const Input& x) const {
    fail_value(op_, "got shapes " + shape_text(ndim_, shape_) + " and " + shape_text(x.ndim(), x.shape()) +
                        "; expected shapes that broadcast");
  }

  // Repeated elements (stride 0) say nothing about an order of memory.
  bool is_full(const Input& x) const {
    if (x.ndim() != ndim_ || !std::equal(shape_, shape_ + ndim_, x.shape())) return false;
    if (x.is_contiguous()) return true;
    const auto v = x.dtype() == DType::float32 ? strides_of<float>(x) : strides_of<double>(x);
    for (int d = 0; d < ndim_; ++d)
      if (v.strides[d] == 0 && v.shape[d] > 1) return false;
    return true;
  }
  template <class T>
  static TensorView<const char> strides_of(const Input& x) {
    const TensorView<const T> own = x.view<T>();
    TensorView<const char> v;
    std::copy(own.shape, own.shape + kMaxDims, v.shape);
    std::copy(own.strides, own.strides + kMaxDims, v.strides);
    return v;
  }

  const char* op_;
  const char* const* names_;
  int count_, first_ = -1, ndim_ = 0;
  int64_t shape_[kMaxDims] = {};
  Input arrays_[kMaxArrays];
  double numbers_[kMaxArrays] = {};
};

constexpr const char* kUnaryNames[] = {"x", "low", "high"};
constexpr const char* kBinaryNames[] = {"a", "b"};
constexpr const char* kBackwardNames[] = {"dy", "saved", "low", "high"};
constexpr const char* kTernaryNames[] = {"dy", "a", "b"};
constexpr const char* kEqualNames[] = {"x", "y", "dy"};
constexpr const char* kDivisorNames[] = {"dy", "y", "b"};  // y = a / b
constexpr const char* kSlopeNames[] = {"x", "weight"};
constexpr const char* kSlopeBackwardNames[] = {"dy", "x", "weight"};
constexpr const char* kExponentNames[] = {"dy", "a", "y"};  // y = a^b

py::object elementwise(const char* name, const char* const* names, ElementwiseOp op,
                       std::initializer_list<py::handle> arguments, py::handle out) {
  const Operands operands(name, arguments, names);
  Output y = operands.output(out, operands.dtype());
  with_float(operands.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Elementwise<T> call{};
    call.op = op;
    call.operands = operands.count();
    operands.fill(call.x, call.scalar);
    call.y = y.view<T>();
    invoke_sized(call, operands.size());
  });
  return y.release();
}

py::object compare(const char* name, CompareOp op, py::handle a, py::handle b, py::handle out) {
  const Operands operands(name, {a, b}, kBinaryNames);
  Output y = operands.output(out, DType::boolean);
  with_float(operands.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Compare<T> call{};
    call.op = op;
    operands.fill(call.x, call.scalar);
    call.y = y.view<bool>();
    invoke_sized(call, operands.size());
  });
  return y.release();
}

// where(condition, a, b, out)
py::object where(py::handle condition_, py::handle a, py::handle b, py::handle out) {
  const Input condition = Input::exactly("where", "condition", condition_, DType::boolean);
  Operands operands("where", {a, b}, kBinaryNames);
  operands.broadcast_with(condition);
  Output y = operands.output(out, operands.dtype(), &condition);
  with_float(operands.dtype(), [&](auto tag) {
    using T = decltype(tag);
    Where<T> call{};
    operands.fill(call.condition, condition);
    operands.fill(call.x, call.scalar);
    call.y = y.view<T>();
    invoke_sized(call, operands.size());
  });
  return y.release();
}

py::arg_v no_out() { return py::arg("out") = py::none(); }

// f(x, out)
void def_unary(py::module_& m, const char* name, ElementwiseOp op) {
  m.def(
      name, [=](py::handle x, py::handle out) { return elementwise(name, kUnaryNames, op, {x}, out); },
      py::arg("x"), no_out());
}
// f(a, b, out); f_backward(dy, saved, out)
void def_binary(py::module_& m, const char* name, ElementwiseOp op, const char* const* names = kBinaryNames) {
  m.def(
      name,
      [=](py::handle a, py::handle b, py::handle out) { return elementwise(name, names, op, {a, b}, out); },
      py::arg(names[0]), py::arg(names[1]), no_out());
}
void def_backward(py::module_& m, const char* name, ElementwiseOp op) {
  def_binary(m, name, op, kBackwardNames);
}
void def_ternary(py::module_& m, const char* name, ElementwiseOp op,
                 const char* const* names = kTernaryNames) {
  m.def(
      name,
      [=](py::handle a, py::handle b, py::handle c, py::handle out) {
        return elementwise(name, names, op, {a, b, c}, out);
      },
      py::arg(names[0]), py::arg(names[1]), py::arg(names[2]), no_out());
}
void def_compare(py::module_& m, const char* name, CompareOp op) {
  m.def(
      name, [=](py::handle a, py::handle b, py::handle out) { return compare(name, op, a, b, out); },
      py::arg("a"), py::arg("b"), no_out());
}

void register_forward(py::module_& m) {
  using Op = ElementwiseOp;
  def_unary(m, "neg", Op::neg), def_unary(m, "exp", Op::exp), def_unary(m, "expm1", Op::expm1);
  def_unary(m, "log", Op::log), def_unary(m, "log1p", Op::log1p), def_unary(m, "sqrt", Op::sqrt);
  def_unary(m, "abs", Op::abs), def_unary(m, "sin", Op::sin), def_unary(m, "cos", Op::cos);
  def_unary(m, "round", Op::round), def_unary(m, "sign", Op::sign), def_unary(m, "square", Op::square);
  def_unary(m, "reciprocal", Op::reciprocal), def_unary(m, "erf", Op::erf);
  def_ternary(m, "clip", Op::clip, kUnaryNames);
  def_binary(m, "add", Op::add), def_binary(m, "sub", Op::sub), def_binary(m, "mul", Op::mul);
  def_binary(m, "div", Op::div), def_binary(m, "pow", Op::pow), def_binary(m, "maximum", Op::maximum);
  def_binary(m, "minimum", Op::minimum);
  def_compare(m, "eq", CompareOp::eq), def_compare(m, "ne", CompareOp::ne);
  def_compare(m, "lt", CompareOp::lt), def_compare(m, "le", CompareOp::le);
  def_compare(m, "gt", CompareOp::gt), def_compare(m, "ge", CompareOp::ge);
  m.def("where", where, py::arg("condition"), py::arg("a"), py::arg("b"), no_out());
}

void register_backward(py::module_& m) {
  using Op = ElementwiseOp;
  def_backward(m, "expm1_backward", Op::expm1_backward),
      def_backward(m, "log1p_backward", Op::log1p_backward);
  def_backward(m, "sqrt_backward", Op::sqrt_backward), def_backward(m, "abs_backward", Op::abs_backward);
  def_backward(m, "sin_backward", Op::sin_backward), def_backward(m, "cos_backward", Op::cos_backward);
  def_backward(m, "square_backward", Op::square_backward);
  def_backward(m, "reciprocal_backward", Op::reciprocal_backward);
  m.def(
      "clip_backward",
      [](py::handle dy, py::handle x, py::handle low, py::handle high, py::handle out) {
        return elementwise("clip_backward", kBackwardNames, Op::clip_backward, {dy, x, low, high}, out);
      },
      py::arg("dy"), py::arg("x"), py::arg("low"), py::arg("high"), no_out());
  def_ternary(m, "div_backward", Op::div_backward, kDivisorNames);
  def_ternary(m, "pow_backward", Op::pow_backward);
  def_ternary(m, "exponent_backward", Op::exponent_backward, kExponentNames);
  def_ternary(m, "maximum_backward", Op::maximum_backward);
  def_ternary(m, "minimum_backward", Op::minimum_backward);
  def_ternary(m, "where_equal", Op::where_equal, kEqualNames);
}

void register_gated(py::module_& m) {
  using Op = ElementwiseOp;
  def_binary(m, "glu", Op::glu), def_ternary(m, "glu_backward", Op::glu_backward);
  def_binary(m, "prelu", Op::prelu, kSlopeNames);
  def_ternary(m, "prelu_backward", Op::prelu_backward, kSlopeBackwardNames);
  def_binary(m, "prelu_weight_backward", Op::prelu_weight_backward, kSlopeBackwardNames);
}

}  // namespace

void register_elementwise(py::module_& m) {
  register_forward(m);
  register_backward(m);
  register_gated(m);
}

}  // namespace ranvier::bind
