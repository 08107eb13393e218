// Binds the element-wise ops on arrays and numbers, comparisons and where, with broadcasting.
#include <algorithm>
#include <utility>

#include "bindings/binder/define.h"
#include "kernels/elementwise/elementwise.h"

namespace ranvier::bind {
namespace {

constexpr int kMaxArrays = 4;  // the most operands of an op

// The parameters of ops (kernels/elementwise/ops.h). A Number takes an array, too; at least one operand of a
// call is an array.
struct Number : Arg {
  RANVIER_ANNOTATION("Number");
  Number(const Arg& arg) : Arg(arg) {}
};
struct Array : Arg {
  RANVIER_ANNOTATION("Array");
  Array(const Arg& arg) : Arg(arg) {}
};

// The operands of one call, arrays or numbers, and the shape that they broadcast to. A number takes the dtype
// of the arrays beside it.
class Operands {
 public:
  // read: the function that reads arrays, Input::real or Input::movable.
  explicit Operands(std::initializer_list<Arg> arguments, Input (*read)(const Arg&) = Input::real)
      : count_(static_cast<int>(arguments.size())) {
    int k = 0;
    for (const Arg& arg : arguments) {
      add(k, arg, read);
      ++k;
    }
    if (first_ < 0) fail_type(arguments.begin()->op, "got numbers only; expected at least one array");
    for (k = first_ + 1; k < count_; ++k) arrays_[first_].expect_same_dtype(arrays_[k]);
  }

  DType dtype() const { return arrays_[first_].dtype(); }
  bool has_number() const {
    return std::any_of(arrays_, arrays_ + count_, [](const Input& x) { return !x; });
  }
  int count() const { return count_; }

  // Broadcasts the shape with that of an array, an operand or the condition of where().
  void broadcast_with(const Input& x) {
    if (!x.has_shape(shape_) && !shape_.broadcast_with(x.shape()))
      fail_value(x.op(), "got shapes ", shape_, " and ", x.shape(), "; expected shapes that broadcast");
  }

  // The argument `out`, or a new result. It is channels-last if one of the operands of the full shape is;
  // else it has the memory order of the first of these operands, and without one the order of
  // sort_dimensions().
  Output output(const Out& out, DType dtype, const Input& condition = Input()) const {
    if (out.given())
      return out.checked(dtype, shape_, {arrays_, arrays_ + 1, arrays_ + 2, arrays_ + 3, &condition}, true);
    const Input* like = nullptr;
    for (int k = 0; k < count_; ++k)
      if (arrays_[k] && is_full(arrays_[k]) &&
          (!like || (is_channels_last(arrays_[k]) && !is_channels_last(*like))))
        like = &arrays_[k];
    if (like) return Output::like(*like, dtype);
    if (are_contiguous(condition)) return Output::contiguous(dtype, shape_);
    int order[kMaxDims];
    sort_dimensions(condition, order);
    return Output::in_order(dtype, shape_, order);
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
  bool are_contiguous(const Input& condition) const {
    const auto is_dense = [](const Input& x) { return !x || x.is_contiguous(); };
    return is_dense(condition) && std::all_of(arrays_, arrays_ + count_, is_dense);
  }

  // Sets `order` to the dimensions of the common shape, that with the largest strides first, as PyTorch's
  // TensorIterator does: the first operand (the condition before the others) that has both of two dimensions
  // decides, and dimensions that no operand has both stay in C order.
  void sort_dimensions(const Input& condition, int* order) const {
    TensorView<const char> views[1 + kMaxArrays];
    int count = 0;
    if (condition) fill(views[count++], condition);
    for (int k = 0; k < count_; ++k)
      if (arrays_[k]) fill(views[count++], arrays_[k]);
    // 1 if dimension p has larger strides than q, -1 if it has smaller ones, 0 if no operand tells.
    const auto compare_strides = [&](int p, int q) {
      for (int k = 0; k < count; ++k) {
        const int64_t of_p = views[k].strides[p];
        const int64_t of_q = views[k].strides[q];
        if (of_p == 0 || of_q == 0) continue;
        if (of_p != of_q) return of_p > of_q ? 1 : -1;
        if (shape_.sizes[p] < shape_.sizes[q]) return -1;
      }
      return 0;
    };
    const int last = shape_.ndim - 1;
    for (int d = last; d >= 0; --d) {  // the dimensions after d are in order already
      int place = d;
      order[d] = d;
      for (int after = d + 1; after <= last; ++after) {
        const int comparison = compare_strides(order[place], order[after]);
        if (comparison > 0) break;
        if (comparison == 0) continue;
        std::swap(order[place], order[after]);
        place = after;
      }
    }
  }

  void add(int k, const Arg& arg, Input (*read)(const Arg&)) {
    if (PyFloat_CheckExact(arg.value.ptr())) {
      numbers_[k] = PyFloat_AS_DOUBLE(arg.value.ptr());
    } else if (PyLong_CheckExact(arg.value.ptr())) {
      numbers_[k] = Real(arg);
    } else {
      arrays_[k] = read(arg);
      if (first_ < 0) first_ = k;
      broadcast_with(arrays_[k]);
    }
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

  int count_;                 // how many operands
  int first_ = -1;            // the index of the first array
  Shape shape_;               // the common shape
  Input arrays_[kMaxArrays];  // empty for a number
  double numbers_[kMaxArrays] = {};
};

// Runs Call on the operands with the result y. set(call) sets its other fields.
template <template <class> class Call, class Set>
Output run_on(const Operands& operands, Output y, const Set& set) {
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
  const Operands operands(arguments);
  return run_on<Elementwise>(operands, operands.output(out, operands.dtype()), [&](auto& call) {
    call.op = op;
    call.operands = operands.count();
  });
}

Output compare(CompareOp op, const Arg& a, const Arg& b, const Out& out) {
  Operands operands({a, b});
  operands.round_numbers();
  return run_on<Compare>(operands, operands.output(out, DType::boolean), [&](auto& call) { call.op = op; });
}

Output where(const Exactly<DType::boolean>& condition, Number a, Number b, Out out) {
  Operands operands({a, b}, Input::movable);
  const DType computed = computed_in(operands.dtype());
  const bool is_float = computed == DType::float32 || computed == DType::float64;
  if (!is_float && operands.has_number())
    fail_type(a.op, "got a number beside an array of integers; expected an array");
  operands.broadcast_with(condition);
  return run_on<Where>(operands, operands.output(out, operands.dtype(), condition),
                       [&](auto& call) { operands.fill(call.condition, condition); });
}

// "(Array x, Number low)" as "x, low".
std::string names_in(std::string parameters) {
  for (const std::string type : {"Array ", "Number ", "(", ")"})
    for (size_t at = parameters.find(type); at != std::string::npos; at = parameters.find(type))
      parameters.erase(at, type.size());
  return parameters;
}

// Binds an op under its name. The last argument is a null pointer: its type tells the parameters' types.
template <class... P>
void define(Module m, ElementwiseOp op, const std::string& name, const std::string& parameters,
            void (*)(P...)) {
  def(m, name + "(" + names_in(parameters) + ", out=None)",
      [op](P... operands, Out out) { return elementwise(op, {operands...}, out); });
}

void define_compare(Module m, CompareOp op, const std::string& name) {
  def(m, name + "(a, b, out=None)", [op](Number a, Number b, Out out) { return compare(op, a, b, out); });
}

}  // namespace

void register_elementwise(Module m) {
#define RANVIER_X(name, parameters, ...) \
  define(m, ElementwiseOp::name, #name, #parameters, static_cast<void(*) parameters>(nullptr));
  RANVIER_ELEMENTWISE_OPS(RANVIER_X)
#undef RANVIER_X
  define_compare(m, CompareOp::eq, "eq");
  define_compare(m, CompareOp::ne, "ne");
  define_compare(m, CompareOp::lt, "lt");
  define_compare(m, CompareOp::le, "le");
  define_compare(m, CompareOp::gt, "gt");
  define_compare(m, CompareOp::ge, "ge");
  def(m, "where(condition, a, b, out=None)", where);
}

}  // namespace ranvier::bind
