// The parameters that ops have: a function with such parameters, registered with def() (define.h), gets its
// arguments read and checked. All Floats of a call have one dtype.
#pragma once
#include <string_view>

#include "bindings/binder/array_args.h"

namespace ranvier::bind {

// The name of a parameter's type in the stub (_core.pyi).
#define RANVIER_ANNOTATION(text) static constexpr const char* annotation = text

// Arrays. Maybe<Floats> may be None, and is then empty.
template <Input (*read_array)(const Arg&)>
struct Read : Input {
  RANVIER_ANNOTATION("Array");
  static constexpr auto read = read_array;
  Read(const Arg& arg) : Input(read(arg)) {}
};
using Floats = Read<Input::floating>;    // float32 or float64
using Reals = Read<Input::real>;         // floats of any width
using Movable = Read<Input::movable>;    // floats, or of 4 or 8 bytes
using Pixels = Read<Input::pixels>;      // the same or uint8
using Numbers = Read<Input::number>;     // arrays of any dtype that casts read
using Integers = Read<Input::integers>;  // arrays of any integer dtype, read as int64
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
  Maybe(const Arg& arg) : Input(arg.given() ? Array::read(arg) : Input(arg)) {}
};
using MaybeFloats = Maybe<Floats>;
using MaybeReals = Maybe<Reals>;
template <DType type>
using MaybeExactly = Maybe<Exactly<type>>;

// A stream of random numbers: its key, and the number of the call.
struct Key : Exactly<DType::int64> {
  Key(const Arg& arg) : Exactly<DType::int64>(arg) {
    if (!has_shape({2})) fail("(2,): the key and the number of the call");
  }
};

// Reads arguments that are numbers, as PyNumber_Index and PyFloat_AsDouble do: if the number comes from an
// array, the memory of a Tensor, the recording is notified, since a replay would not read it again.
PyObject* index_of(PyObject* number);
double double_of(PyObject* number);
void set_value_read(PyObject* function);  // a function of the Python layer: observe.py

// Numbers: anything else, as a string or a truth value, is a TypeError.
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
struct Whole : Arg {  // clamped to int64
  RANVIER_ANNOTATION("int");
  int64_t number;
  Whole(const Arg& arg, const char* expected = "a whole number");
  operator int64_t() const { return number; }
};
struct MaybeWhole : Arg {
  RANVIER_ANNOTATION("int | None");
  MaybeWhole(const Arg& arg) : Arg(arg) {}
  int64_t value_or(int64_t number) const { return given() ? Whole(*this).number : number; }
};
struct Truth : Arg {
  RANVIER_ANNOTATION("bool");
  bool holds;
  Truth(const Arg& arg);
  operator bool() const { return holds; }
};

// A string, one of a few.
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
  DType dtype;  // one of the kinds that DType names
  DTypeArg(const Arg& arg);
};

// An argument that the op itself reads.
struct Raw : Arg {
  RANVIER_ANNOTATION("Any");
  Raw(const Arg& arg) : Arg(arg) {}
};

// An array that the call changes in place.
struct InPlace : Arg {
  RANVIER_ANNOTATION("Array");
  InPlace(const Arg& arg) : Arg(arg) {}
  Output of(DType dtype, const Shape& shape) const { return Output::given(*this, dtype, shape); }
};

struct MaybeInPlace : InPlace {
  RANVIER_ANNOTATION("Array | None");
  using InPlace::InPlace;
};

// out=: the caller's array to write the result into. Its memory must be apart from the inputs named.
struct Out : Arg {
  RANVIER_ANNOTATION("Array | None");
  Out(const Arg& arg) : Arg(arg) {}

  template <class... In>
  Output shaped(DType dtype, const Shape& shape, const In&... apart) const {
    if (!given()) return Output::contiguous(dtype, shape);
    return checked(dtype, shape, {&apart...}, false);
  }
  // In x's memory order where it is new.
  template <class... In>
  Output like(const Input& x, const In&... apart) const {
    if (!given()) return Output::like(x, x.dtype());
    return checked(x.dtype(), x.shape(), {&apart...}, false);
  }
  // For element-wise kernels: it may be one of the inputs itself.
  template <class... In>
  Output like_or_onto(const Input& x, const In&... inputs) const {
    if (!given()) return Output::like(x, x.dtype());
    return checked(x.dtype(), x.shape(), {&inputs...}, true);
  }
  Output checked(DType dtype, const Shape& shape, std::initializer_list<const Input*> apart, bool onto) const;
};

}  // namespace ranvier::bind
