// NumPy arrays at the boundary: arguments checked, results from the core's own allocator.
#pragma once
#include <optional>
#include <tuple>

#include "base/tensor_view.h"
#include "bindings/binder/errors.h"
#include "program/invoke.h"

namespace ranvier::bind {

template <class T>
constexpr DType dtype_of() {
  constexpr bool f32 = std::is_same_v<T, float>, f64 = std::is_same_v<T, double>;
  constexpr bool i64 = std::is_same_v<T, int64_t>;
  static_assert(f32 || f64 || i64 || std::is_same_v<T, uint8_t>);
  return f32 ? DType::float32 : f64 ? DType::float64 : i64 ? DType::int64 : DType::uint8;
}

constexpr Stored stored_as(DType dtype) {
  return dtype == DType::float16    ? Stored::float16
         : dtype == DType::bfloat16 ? Stored::bfloat16
                                    : Stored::whole;
}
// The dtype in which kernels compute for arrays of this one.
constexpr DType computed_in(DType dtype) {
  return stored_as(dtype) == Stored::whole ? dtype : DType::float32;
}

bool is_floating_array(py::handle x);  // true if it is a floating-point array of any width
void import_numpy();                   // once, while the module loads
// Makes an array's memory known to this thread's recording, which exists (array_recording.cpp).
void note_array(py::handle array);
// The object that frees the arrays that new_array() makes: the capsule of NumPy's memory handler.
PyObject* memory_handler();

// An argument of a call: the name of the op and its own, and what Python gave.
struct Arg {
  const char* op;
  const char* name;
  py::handle value;

  bool given() const { return !value.is_none(); }
  std::string shown() const;  // the value in a message
  // "[op] got NAME VALUE; expected ..."
  template <class... P>
  [[noreturn]] void fail(const P&... expected) const {
    fail_value(op, "got ", name, " ", shown(), "; expected ", expected...);
  }
  template <class... P>
  [[noreturn]] void wrong_type(const P&... expected) const {
    fail_type(op, "got ", name, " ", value, "; expected ", expected...);
  }
};

// An array argument, held for the length of the call. An array that is byte-swapped or not aligned to its
// elements is copied once; any strides pass as they are.
class Input {
 public:
  // Fails unless the argument is an array of float32 or float64 with at most kMaxDims dimensions.
  static Input floating(const Arg& arg);
  static Input pixels(const Arg& arg);    // the same, or an array of uint8
  static Input real(const Arg& arg);      // an array of floats of any width, for kernels that read Stored
  static Input number(const Arg& arg);    // an array of any dtype that casts read
  static Input movable(const Arg& arg);   // floats, or elements of 4 or 8 bytes, which are only moved
  static Input integers(const Arg& arg);  // an array of any integer dtype, as int64
  static Input exactly(const Arg& arg, DType dtype);                // an array of this dtype
  Input() = default;                                                // empty
  explicit Input(const Arg& arg) : op_(arg.op), name_(arg.name) {}  // empty

  explicit operator bool() const { return static_cast<bool>(object_); }
  const char* op() const { return op_; }
  const char* name() const { return name_; }
  DType dtype() const { return dtype_; }
  bool is_contiguous() const;  // in C order
  bool is_writable() const;
  int ndim() const;
  Shape shape() const;
  int64_t shape(int d) const { return sizes()[d]; }
  int64_t elements() const;
  bool has_shape(const Shape& s) const { return ndim() == s.ndim && std::equal(s.begin(), s.end(), sizes()); }
  py::handle object() const { return object_; }
  template <class T>
  TensorView<const T> view() const {  // data is null for an empty Input
    TensorView<const T> v;
    v.data = static_cast<const T*>(fill(&v.ndim, v.shape, v.strides));
    if (std::is_same_v<T, float>) v.stored = stored_as(dtype_);
    return v;
  }
  template <class T>
  operator TensorView<const T>() const {
    return view<T>();
  }

  // "[op] got NAME of shape SHAPE; expected ..."
  template <class... P>
  [[noreturn]] void fail(const P&... expected) const {
    fail_value(op_, "got ", name_, " of shape ", shape(), "; expected ", expected...);
  }
  void expect_shape(const Shape& s) const {
    if (!has_shape(s)) fail(s);
  }
  void expect_same_shape(const Input& other) const;
  void expect_same_dtype(const Input& other) const;  // checked if both are given

 private:
  Input(const Arg& arg, py::object object, DType dtype)
      : object_(std::move(object)), dtype_(dtype), op_(arg.op), name_(arg.name) {
    if (__builtin_expect(t_recording != nullptr, false)) note_array(object_);
  }
  const void* fill(int* ndim, int64_t* shape, int64_t* strides) const;
  const int64_t* sizes() const;

  py::object object_;
  DType dtype_ = DType::float32;
  const char* op_ = "";
  const char* name_ = "";
};

// A result: a new array, or one that the caller gives.
class Output {
 public:
  // C-contiguous, uninitialised.
  static Output contiguous(DType dtype, const Shape& shape);
  // Without gaps; order: the dimensions from the slowest to the fastest in memory.
  static Output in_order(DType dtype, const Shape& shape, const int* order);
  static Output channels_last(DType dtype, const Shape& shape);  // (n, c, h, w), in memory n, h, w, c
  // The memory order of x's dimensions, without gaps: dense C order, channels-last or any permutation stays
  // what it is. Where x repeats elements (stride 0), C order.
  static Output like(const Input& x, DType dtype);
  static Output like(const Input& x, DType dtype, const Shape& shape);  // with another shape
  // The argument itself, an array to write into: checked for its dtype, shape, and whether it is writable,
  // aligned and has one place for each element.
  static Output given(const Arg& arg, DType dtype, const Shape& shape);

  template <class T>
  TensorView<T> view() const {
    TensorView<T> v;
    v.data = static_cast<T*>(fill(&v.ndim, v.shape, v.strides));
    if (std::is_same_v<T, float>) v.stored = stored();
    return v;
  }
  template <class T>
  operator TensorView<T>() const {
    return view<T>();
  }
  // Fails where the memory of a given array overlaps x's. Element-wise kernels may write exactly onto their
  // input.
  const Output& apart_from(const Input& x, bool same_is_fine = false) const;
  py::object release() { return std::move(object_); }

 private:
  explicit Output(py::object object) : object_(std::move(object)) {
    if (__builtin_expect(t_recording != nullptr, false)) note_array(object_);
  }
  void* fill(int* ndim, int64_t* shape, int64_t* strides) const;
  Stored stored() const;
  py::object object_;
};

// A result that may be None.
class MaybeOutput {
 public:
  MaybeOutput() = default;
  MaybeOutput(Output out) : out_(std::move(out)) {}

  template <class T>
  TensorView<T> view() const {
    return out_ ? out_->view<T>() : TensorView<T>{};
  }
  template <class T>
  operator TensorView<T>() const {
    return view<T>();
  }
  Output operator*() && { return *std::move(out_); }
  py::object release() { return out_ ? out_->release() : py::none(); }

 private:
  std::optional<Output> out_;
};

// The results of a backward: the gradients that are needed, None for others.
struct Gradients {
  MaybeOutput dx, dweight, dbias;
  using All = std::tuple<MaybeOutput, MaybeOutput, MaybeOutput>;
  All all() { return {std::move(dx), std::move(dweight), std::move(dbias)}; }
};

// A view for writing, of memory that is known to be writable.
template <class T>
TensorView<T> writable(const TensorView<const T>& v) {
  TensorView<T> w;
  w.data = const_cast<T*>(v.data), w.ndim = v.ndim, w.stored = v.stored;
  std::copy_n(v.shape, v.ndim, w.shape);
  std::copy_n(v.strides, v.ndim, w.strides);
  return w;
}

// A field of run(): an array's view, changed by a function.
template <class A, class F>
struct Viewed {
  const A& array;
  F change;
  template <class T>
  operator TensorView<T>() const {
    return change(array.template view<std::remove_const_t<T>>());
  }
};
template <class A, class F>
Viewed<A, F> viewed(const A& array, F change) {
  return {array, change};
}

void invoke_cast(const Input& x, const Output& y, DType to);  // float32, float64, int64 or bool

// v: a view repeated to a shape that it broadcasts to (not checked), with stride 0 where it has one element.
// Written in place: a view that is copied as soon as it is made makes the processor wait for its own stores.
template <class T>
void repeat(const TensorView<const T>& own, const Shape& shape, TensorView<const T>& v) {
  v.data = own.data;
  v.ndim = shape.ndim;
  v.stored = own.stored;
  const int lead = shape.ndim - own.ndim;
  for (int d = 0; d < shape.ndim; ++d) {
    v.shape[d] = shape[d];
    v.strides[d] = d < lead || own.shape[d - lead] == 1 ? 0 : own.strides[d - lead];
  }
}

bool is_channels_last(const Input& x);  // 4-D, NHWC in memory; dimensions of size 1 do not decide

// f(T{}) for the element type that a kernel of a floating argument computes in.
template <class F>
decltype(auto) with_float(DType dtype, F&& f) {
  return dtype == DType::float64 ? f(double{}) : f(float{});
}

// The same for elements that are only moved: of the floats of their size.
constexpr bool is_wide(DType dtype) { return dtype == DType::float64 || dtype == DType::int64; }
template <class F>
decltype(auto) with_size(DType dtype, F&& f) {
  return is_wide(dtype) ? f(double{}) : f(float{});
}

// Runs a kernel without the GIL: safe because the arrays are held by Inputs and Outputs on this stack, and
// the kernel touches no Python object.
void invoke_released(const CallType& type, const void* call);
template <class Call>
void invoke_released(const Call& call) {
  invoke_released(type_of(call), &call);
}

// The same for a call on this many elements: where they are few, giving up the GIL and taking it back would
// be most of the call.
void invoke_sized(const CallType& type, const void* call, int64_t elements);
template <class Call>
void invoke_sized(const Call& call, int64_t elements) {
  invoke_sized(type_of(call), &call, elements);
}

// Runs Call<float> or Call<double>, made from its fields in their order; arrays become views.
template <template <class> class Call, class... A>
void run(DType dtype, const A&... fields) {
  with_float(dtype, [&](auto tag) { invoke_released(Call<decltype(tag)>{fields...}); });
}
// The same for a call on this many elements.
template <template <class> class Call, class... A>
void run_sized(int64_t elements, DType dtype, const A&... fields) {
  with_float(dtype, [&](auto tag) { invoke_sized(Call<decltype(tag)>{fields...}, elements); });
}

}  // namespace ranvier::bind
