// The types of the parameters of bound functions. Each has a constructor that reads one argument of Python
// and raises an error where it has the wrong type; def() (define.h) calls these constructors. def() also
// checks that all Floats and Reals of one call have the same dtype.
#pragma once
#include <string_view>

#include "bindings/binder/array_args.h"

namespace ranvier::bind {

// The name of a parameter's type in the stub (_core.pyi).
#define RANVIER_ANNOTATION(text) static constexpr const char* annotation = text

// Arrays, each read by a function of Input (array_args.h). Maybe<Floats> may be None, and is then an empty
// Input.
template <Input (*read_array)(const Arg&)>
struct Read : Input {
  RANVIER_ANNOTATION("Array");
  static constexpr auto read = read_array;
  Read(const Arg& arg) : Input(read(arg)) {}
};
using Floats = Read<Input::floating>;    // float32 or float64
using Reals = Read<Input::real>;         // float16, bfloat16, float32 or float64
using Movable = Read<Input::movable>;    // floats of any width, or integers of 32 or 64 bits
using Pixels = Read<Input::pixels>;      // float32, float64 or uint8
using Numbers = Read<Input::number>;     // any dtype that DType names
using Integers = Read<Input::integers>;  // any integer dtype, converted to int64
template <DType type>
Input read_exactly(const Arg& arg) {
  return Input::exactly(arg, type);
}
template <DType type>
using Exactly = Read<read_exactly<type>>;
using Doubles = Exactly<DType::float64>;

template <class Array>
struct Maybe : Input {
  RANVIER_ANNOTATION("Array | None");
  Maybe(const Arg& arg) : Input(read(arg)) {}
  static Input read(const Arg& arg) {
    if (!arg.given()) return Input(arg);  // empty
    return Array::read(arg);
  }
};
using MaybeFloats = Maybe<Floats>;
using MaybeReals = Maybe<Reals>;
template <DType type>
using MaybeExactly = Maybe<Exactly<type>>;

// The state of the random generator (Philox) for one call: the key of the stream, and the number of the call.
struct Key : Exactly<DType::int64> {
  Key(const Arg& arg) : Exactly<DType::int64>(arg) {
    if (!has_shape({2})) fail("(2,): the key and the number of the call");
  }
};

// A number as a Python int (a new reference, null with Python's error set) or as a double, as PyNumber_Index
// and PyFloat_AsDouble give it. While a step is recorded (rv.compile), a number that is read from an array is
// reported to the recording: a replay would not read the array again.
PyObject* index_of(PyObject* number);
double double_of(PyObject* number);
void set_value_read(PyObject* function);  // the function of observe.py that gets the report

// Numbers. Any other argument, such as a string, is a TypeError; so is True or False for a whole number.
struct Real : Arg {
  RANVIER_ANNOTATION("float");
  double number;
  Real(const Arg& arg);
  operator double() const { return number; }
  double at_least(double least) const;
  double above(double least) const;
};
struct MaybeReal : Arg {
  RANVIER_ANNOTATION("float | None");
  MaybeReal(const Arg& arg) : Arg(arg) {}
};
struct Whole : Arg {  // integers beyond int64 become its least or greatest value
  RANVIER_ANNOTATION("int");
  int64_t number;
  Whole(const Arg& arg, const char* expected = "a whole number");
  operator int64_t() const { return number; }
};
struct MaybeWhole : Arg {
  RANVIER_ANNOTATION("int | None");
  MaybeWhole(const Arg& arg) : Arg(arg) {}
  int64_t value_or(int64_t otherwise) const {
    if (!given()) return otherwise;
    return Whole(*this).number;
  }
};
struct Truth : Arg {
  RANVIER_ANNOTATION("bool");
  bool holds;
  Truth(const Arg& arg);
  operator bool() const { return holds; }
};

// A string, usually one of a few names.
struct Name : Arg {
  RANVIER_ANNOTATION("str");
  std::string_view text;
  Name(const Arg& arg);
  int one_of(std::initializer_list<const char*> names) const;  // its place among them, or ValueError
};

// An axis of an array; negative ones count from the end.
struct Axis : Whole {
  Axis(const Arg& arg) : Whole(arg) {}
  int of(const Input& x) const;  // counted from the front
};

// A tuple or list of whole numbers.
struct Sizes : Arg {
  RANVIER_ANNOTATION("Sequence[int]");
  Sizes(const Arg& arg, const char* expected = "a tuple of whole numbers");
  int count() const {
    return static_cast<int>(std::min<Py_ssize_t>(PySequence_Size(value.ptr()), INT32_MAX));
  }
  int64_t operator[](int i) const;
  Shape shape() const;  // at most kMaxDims sizes, none less than 0
};

struct ShapeArg : Sizes {  // only a tuple
  RANVIER_ANNOTATION("tuple[int, ...]");
  ShapeArg(const Arg& arg) : Sizes(arg, "a tuple") {
    if (!PyTuple_Check(value.ptr())) wrong_type("a tuple");
  }
};
struct ShapeOfX : Sizes {  // the shape of the array x that a gradient is for
  ShapeOfX(const Arg& arg) : Sizes(arg, "the tuple x.shape") {}
};

// A list or tuple of arrays.
struct Arrays : Arg {
  RANVIER_ANNOTATION("Sequence[Array]");
  Arrays(const Arg& arg);
};

struct DTypeArg : Arg {
  RANVIER_ANNOTATION("np.dtype[Any]");
  DType dtype;  // NumPy dtypes without a name in DType are refused
  DTypeArg(const Arg& arg);
};

// An argument that the binding reads itself: any object.
struct Raw : Arg {
  RANVIER_ANNOTATION("Any");
  Raw(const Arg& arg) : Arg(arg) {}
};

// An array that the call changes in place. Its dtype and shape are checked by of().
struct InPlace : Arg {
  RANVIER_ANNOTATION("Array");
  InPlace(const Arg& arg) : Arg(arg) {}
  Output of(DType dtype, const Shape& shape) const { return Output::given(*this, dtype, shape); }
};

struct MaybeInPlace : InPlace {
  RANVIER_ANNOTATION("Array | None");
  using InPlace::InPlace;
};

// The argument out=: an array of the caller to write the result into, or None for a new array. A given array
// must have the result's dtype and shape, and must not overlap the inputs `apart` in memory.
struct Out : Arg {
  RANVIER_ANNOTATION("Array | None");
  Out(const Arg& arg) : Arg(arg) {}

  // A new array is C-contiguous.
  template <class... In>
  Output shaped(DType dtype, const Shape& shape, const In&... apart) const {
    if (!given()) return Output::contiguous(dtype, shape);
    return checked(dtype, shape, {&apart...}, /*onto=*/false);
  }
  // The result has x's dtype and shape; a new array has x's memory order, too.
  template <class... In>
  Output like(const Input& x, const In&... apart) const {
    if (!given()) return Output::like(x, x.dtype());
    return checked(x.dtype(), x.shape(), {&apart...}, /*onto=*/false);
  }
  // The same for element-wise kernels: a given array may be one of the inputs itself (same memory and
  // strides).
  template <class... In>
  Output like_or_onto(const Input& x, const In&... inputs) const {
    if (!given()) return Output::like(x, x.dtype());
    return checked(x.dtype(), x.shape(), {&inputs...}, /*onto=*/true);
  }
  // The given array. onto: it may be exactly one of the inputs `apart`.
  Output checked(DType dtype, const Shape& shape, std::initializer_list<const Input*> apart, bool onto) const;
};

}  // namespace ranvier::bind
