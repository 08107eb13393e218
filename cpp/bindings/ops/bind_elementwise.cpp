// Binds the element-wise ops on arrays and numbers, comparisons and where, with broadcasting.
#include "bindings/binder/define.h"
#include "kernels/elementwise/elementwise.h"

namespace ranvier::bind {
namespace {

constexpr int kMaxArrays = 4;  // the most operands of an op

// A parameter that takes an array or a number. At least one operand of a call is an array.
struct Operand : Arg {
  RANVIER_ANNOTATION("Number");
  Operand(const Arg& arg) : Arg(arg) {}
};
struct ArrayArg : Arg {
  RANVIER_ANNOTATION("Array");
  ArrayArg(const Arg& arg) : Arg(arg) {}
};

// The operands of one call, arrays or numbers, and the shape that they broadcast to. A number takes the dtype
// of the arrays beside it.
class Arguments {
 public:
  // read: the function that reads arrays, Input::real or Input::movable.
  explicit Arguments(std::initializer_list<Arg> arguments, Input (*read)(const Arg&) = Input::real)
      : count_(static_cast<int>(arguments.size())) {
    int k = 0;
    for (const Arg& arg : arguments) add(k++, arg, read);
    if (first_ < 0) fail_type(arguments.begin()->op, "got numbers only; expected at least one array");
    for (k = first_ + 1; k < count_; ++k) arrays_[first_].expect_same_dtype(arrays_[k]);
  }

  DType dtype() const { return arrays_[first_].dtype(); }
  bool has_number() const {
    return std::any_of(arrays_, arrays_ + count_, [](const Input& x) { return !x; });
  }
  int count() const { return count_; }

  // Broadcasts the shape with that of another array (the condition of where).
  void broadcast_with(const Input& x) { widen(x); }

  // The argument `out`, or a new result. It is channels-last if one of the operands of the full shape is;
  // else it has the memory order of the first of these operands.
  Output output(const Out& out, DType dtype, const Input& condition = Input()) const {
    if (out.given())
      return out.checked(dtype, shape_, {arrays_, arrays_ + 1, arrays_ + 2, arrays_ + 3, &condition}, true);
    const Input* like = nullptr;
    for (int k = 0; k < count_; ++k)
      if (arrays_[k] && is_full(arrays_[k]) &&
          (!like || (is_channels_last(arrays_[k]) && !is_channels_last(*like))))
        like = &arrays_[k];
    return like ? Output::like(*like, dtype) : Output::contiguous(dtype, shape_);
  }

  int64_t size() const { return shape_.elements(); }

  // Rounds numbers to the dtype of the arrays, if they are halves.
  void round_numbers() {
    for (double& number : numbers_) {
      const float x = static_cast<float>(number);
      if (dtype() == DType::float16) number = Float16(x);
      if (dtype() == DType::bfloat16) number = BFloat16(x);
    }
  }

  // Sets v to the view of x broadcast to the common shape.
  template <class T>
  void fill(TensorView<const T>& v, const Input& x) const {
    repeat(x.view<T>(), shape_, v);
  }

  // Sets the fields of a call: for each operand the view of an array, or, with data null, the number.
  template <class T>
  void fill(TensorView<const T>* x, T* scalar) const {
    for (int k = 0; k < count_; ++k) {
      if (arrays_[k]) fill(x[k], arrays_[k]);
      scalar[k] = static_cast<T>(numbers_[k]);
    }
  }

 private:
  void add(int k, const Arg& arg, Input (*read)(const Arg&)) {
    if (PyFloat_CheckExact(arg.value.ptr())) {
      numbers_[k] = PyFloat_AS_DOUBLE(arg.value.ptr());
    } else if (PyLong_CheckExact(arg.value.ptr())) {
      numbers_[k] = Real(arg);
    } else {
      arrays_[k] = read(arg);
      if (first_ < 0) first_ = k;
      widen(arrays_[k]);
    }
  }

  void widen(const Input& x) {
    if (!x.has_shape(shape_) && !shape_.broadcast_with(x.shape()))
      fail_value(x.op(), "got shapes ", shape_, " and ", x.shape(), "; expected shapes that broadcast");
  }

  // True if x has the common shape and a memory order, which repeated elements (stride 0) have not.
  bool is_full(const Input& x) const {
    if (!x.has_shape(shape_)) return false;
    if (x.is_contiguous()) return true;
    const auto v = x.view<char>();
    for (int d = 0; d < v.ndim; ++d)
      if (v.strides[d] == 0 && v.shape[d] > 1) return false;
    return true;
  }

  int count_, first_ = -1;    // how many operands; the index of the first array
  Shape shape_;               // the common shape
  Input arrays_[kMaxArrays];  // empty for a number
  double numbers_[kMaxArrays] = {};
};

// Runs Call on the operands with the result y. set(call) sets its other fields.
template <template <class> class Call, class Set>
Output run_on(const Arguments& operands, Output y, const Set& set) {
  with_size(operands.dtype(), [&](auto tag) {
    Call<decltype(tag)> call{};
    operands.fill(call.x, call.scalar);
    call.y = y;
    set(call);
    invoke_sized(call, operands.size());
  });
  return y;
}

Output elementwise(ElementwiseOp op, std::initializer_list<Arg> arguments, const Out& out) {
  const Arguments operands(arguments);
  return run_on<Elementwise>(operands, operands.output(out, operands.dtype()),
                             [&](auto& call) { call.op = op, call.operands = operands.count(); });
}

Output compare(CompareOp op, const Arg& a, const Arg& b, const Out& out) {
  Arguments operands({a, b});
  operands.round_numbers();
  return run_on<Compare>(operands, operands.output(out, DType::boolean), [&](auto& call) { call.op = op; });
}

Output where(const Exactly<DType::boolean>& condition, Operand a, Operand b, Out out) {
  Arguments operands({a, b}, Input::movable);
  const DType computed = computed_in(operands.dtype());
  const bool is_float = computed == DType::float32 || computed == DType::float64;
  if (!is_float && operands.has_number())
    fail_type(a.op, "got a number beside an array of integers; expected an array");
  operands.broadcast_with(condition);
  return run_on<Where>(operands, operands.output(out, operands.dtype(), condition),
                       [&](auto& call) { operands.fill(call.condition, condition); });
}

#define RANVIER_X(name, operands) #name,
constexpr const char* kNames[] = {RANVIER_ELEMENTWISE_OPS(RANVIER_X)};
#undef RANVIER_X

// Binds an op under its name. A: ArrayArg or Operand for each parameter.
template <class... A>
void define(Module m, ElementwiseOp op, const char* parameters) {
  def(m, std::string(kNames[static_cast<int>(op)]) + "(" + parameters + ", out=None)",
      [op](A... a, Out out) { return elementwise(op, {a...}, out); });
}

void define_compare(Module m, CompareOp op, const char* name) {
  def(m, std::string(name) + "(a, b, out=None)",
      [op](Operand a, Operand b, Out out) { return compare(op, a, b, out); });
}

void register_forward(Module m) {
  using Op = ElementwiseOp;
  for (Op op :
       {Op::neg, Op::exp,   Op::expm1,  Op::log,    Op::log1p,   Op::sqrt,     Op::abs,    Op::sin,
        Op::cos, Op::round, Op::floor,  Op::ceil,   Op::trunc,   Op::sign,     Op::square, Op::reciprocal,
        Op::erf, Op::erfc,  Op::erfinv, Op::lgamma, Op::digamma, Op::trigamma, Op::rsqrt})
    define<ArrayArg>(m, op, "x");
  define<ArrayArg, Operand, Operand>(m, Op::clip, "x, low, high");
  for (Op op : {Op::add, Op::sub, Op::mul, Op::div, Op::pow, Op::maximum, Op::minimum, Op::fmod,
                Op::remainder, Op::floor_divide, Op::glu})
    define<Operand, Operand>(m, op, "a, b");
  define<Operand, Operand>(m, Op::prelu, "x, weight");
  for (Op op : {Op::addcmul, Op::addcdiv, Op::lerp})
    define<Operand, Operand, Operand, Operand>(m, op, "a, b, c, d");
  using Compare = CompareOp;
  define_compare(m, Compare::eq, "eq"), define_compare(m, Compare::ne, "ne");
  define_compare(m, Compare::lt, "lt"), define_compare(m, Compare::le, "le");
  define_compare(m, Compare::gt, "gt"), define_compare(m, Compare::ge, "ge");
  def(m, "where(condition, a, b, out=None)", where);
}

void register_backward(Module m) {
  using Op = ElementwiseOp;
  // saved: x; of expm1, sqrt and reciprocal y.
  for (Op op : {Op::expm1_backward, Op::log1p_backward, Op::sqrt_backward, Op::abs_backward, Op::sin_backward,
                Op::cos_backward, Op::square_backward, Op::reciprocal_backward})
    define<ArrayArg, ArrayArg>(m, op, "dy, saved");
  define<ArrayArg, ArrayArg, Operand, Operand>(m, Op::clip_backward, "dy, x, low, high");
  define<ArrayArg, ArrayArg, Operand>(m, Op::div_backward, "dy, y, b");  // the gradient of b in y = a / b
  define<ArrayArg, Operand, ArrayArg>(m, Op::exponent_backward, "dy, a, y");  // the gradient of b in y = a^b
  for (Op op : {Op::pow_backward, Op::maximum_backward, Op::minimum_backward})  // the gradients of a
    define<ArrayArg, Operand, Operand>(m, op, "dy, a, b");
  define<ArrayArg, Operand, Operand>(m, Op::glu_backward, "dy, a, b");  // the gradient of b
  define<ArrayArg, ArrayArg, ArrayArg>(m, Op::where_equal, "x, y, dy");
  define<ArrayArg, Operand, Operand>(m, Op::prelu_backward, "dy, x, weight");
  define<ArrayArg, Operand>(m, Op::prelu_weight_backward, "dy, x");
}

}  // namespace

void register_elementwise(Module m) {
  register_forward(m);
  register_backward(m);
}

}  // namespace ranvier::bind
