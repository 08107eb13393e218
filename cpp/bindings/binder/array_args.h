// Input: a NumPy array that is an argument of a call, checked. Output: a NumPy array that a call writes, new
// (in memory of the core's allocator) or given by the caller. Both convert to the TensorViews that kernels
// take. run() and invoke_...() then run a kernel on them. Every binding in bindings/ops uses these classes,
// with the GIL; they hold references to their arrays, so that a kernel may run without it.
#pragma once
#include <optional>
#include <tuple>

#include "base/tensor_view.h"
#include "bindings/binder/errors.h"
#include "program/invoke.h"

namespace ranvier::bind {

// The DType of a C++ type of elements.
template <class T>
constexpr DType dtype_of() {
  if constexpr (std::is_same_v<T, float>) {
    return DType::float32;
  } else if constexpr (std::is_same_v<T, double>) {
    return DType::float64;
  } else if constexpr (std::is_same_v<T, int64_t>) {
    return DType::int64;
  } else {
    static_assert(std::is_same_v<T, uint8_t>);
    return DType::uint8;
  }
}

// How a view of float stores elements of this dtype (base/tensor_view.h).
constexpr Stored stored_as(DType dtype) {
  if (dtype == DType::float16) return Stored::float16;
  if (dtype == DType::bfloat16) return Stored::bfloat16;
  return Stored::whole;
}
// The dtype in which kernels compute for arrays of this one.
constexpr DType computed_in(DType dtype) {
  return stored_as(dtype) == Stored::whole ? dtype : DType::float32;
}

bool is_floating_array(py::handle x);  // true if it is a floating-point array of any width
void import_numpy();                   // once, while the module loads
// Tells this thread's recording about the memory of an array (replay/array_recording.cpp). The thread must
// have a recording: t_recording (program/recording.h) is not null while a step of rv.compile is recorded.
void note_array(py::handle array);
// The object that frees the arrays that new_array() makes: the capsule of NumPy's memory handler.
PyObject* memory_handler();

// An argument of a call. The caller holds the reference to `value`.
struct Arg {
  const char* op;    // the op that errors name
  const char* name;  // the parameter's name
  py::handle value;

  bool given() const { return !value.is_none(); }  // false if it is None
  std::string shown() const;                       // the value in a message
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

// An array argument, held for the length of the call. An array that is byte-swapped, or not aligned to its
// elements, is copied when it is read. Any other array is used in place, whatever its strides are.
class Input {
 public:
  // Each fails unless the argument is a NumPy array of a dtype that it names, with at most kMaxDims
  // dimensions.
  static Input floating(const Arg& arg);  // float32 or float64
  static Input pixels(const Arg& arg);    // float32, float64 or uint8
  static Input real(const Arg& arg);      // floats of 16 to 64 bits, for kernels that read Stored
  static Input number(const Arg& arg);    // any dtype that DType names
  static Input movable(const Arg& arg);  // floats of 16 to 64 bits, or integers of 32 or 64, only to be moved
  static Input integers(const Arg& arg);  // any integer dtype; the Input is a copy in int64 if it has another
  static Input exactly(const Arg& arg, DType dtype);                // this dtype
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
  void expect_same_dtype(const Input& other) const;  // an empty Input has any dtype

 private:
  Input(const Arg& arg, py::object object, DType dtype)
      : object_(std::move(object)), dtype_(dtype), op_(arg.op), name_(arg.name) {
    if (__builtin_expect(t_recording != nullptr, false)) note_array(object_);
  }
  // Writes the array's shape, and its strides in elements. Returns the address of its first element.
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
  // Without gaps in memory. order: the ndim dimensions, from the one with the largest stride to the one with
  // the smallest.
  static Output in_order(DType dtype, const Shape& shape, const int* order);
  static Output channels_last(DType dtype, const Shape& shape);  // (n, c, h, w), in memory n, h, w, c
  // x's shape and the memory order of x's dimensions (C order, channels-last or any other permutation),
  // without gaps. C order if x repeats elements (stride 0).
  static Output like(const Input& x, DType dtype);
  static Output like(const Input& x, DType dtype, const Shape& shape);  // another shape of as many dimensions
  // The argument itself, an array to write into. Fails unless it has this dtype and shape, is writable,
  // aligned and in native byte order, and each element has a place in memory of its own.
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
  // Fails where this array overlaps x in memory. same_is_fine: this may be exactly x (same address, shape and
  // strides), as element-wise kernels allow.
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
  py::object release() {
    if (!out_) return py::none();
    return out_->release();
  }

 private:
  std::optional<Output> out_;
};

// The results of a backward. A gradient that is not needed is None.
struct Gradients {
  MaybeOutput dx, dweight, dbias;
  using All = std::tuple<MaybeOutput, MaybeOutput, MaybeOutput>;
  All all() { return {std::move(dx), std::move(dweight), std::move(dbias)}; }
};

// The same view for writing. The caller knows that the memory is writable.
template <class T>
TensorView<T> writable(const TensorView<const T>& v) {
  TensorView<T> w;
  w.data = const_cast<T*>(v.data);
  w.ndim = v.ndim;
  w.stored = v.stored;
  std::copy_n(v.shape, v.ndim, w.shape);
  std::copy_n(v.strides, v.ndim, w.strides);
  return w;
}

// viewed(array, change) is a field for run() below: the view of an Input or Output, passed through `change`,
// which maps a TensorView<T> to another one for any T.
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

// Writes x to y, whose dtype `to` is one of float16, bfloat16, float32, float64, int32, int64 and bool
// (ops/bind_copy.cpp).
void invoke_cast(const Input& x, const Output& y, DType to);

// Makes v the view `own` broadcast to a shape, with stride 0 along the dimensions that are repeated. `own`
// must broadcast to the shape (not checked). v is written in place and not returned: the processor would wait
// for the stores of a new view before it could copy it.
template <class T>
void repeat(const TensorView<const T>& own, const Shape& shape, TensorView<const T>& v) {
  v.data = own.data;
  v.ndim = shape.ndim;
  v.stored = own.stored;
  const int lead = shape.ndim - own.ndim;
  for (int d = 0; d < shape.ndim; ++d) {
    v.shape[d] = shape[d];
    const bool is_repeated = d < lead || own.shape[d - lead] == 1;
    v.strides[d] = is_repeated ? 0 : own.strides[d - lead];
  }
}

// True if x has four dimensions (n, c, h, w) and is dense in memory in the order n, h, w, c. The strides of
// dimensions of size 1 do not count.
bool is_channels_last(const Input& x);

// f(T{}) with the type T in which a kernel computes for floats of this dtype: float for halves, too.
template <class F>
decltype(auto) with_float(DType dtype, F&& f) {
  return dtype == DType::float64 ? f(double{}) : f(float{});
}

// The same for elements of 4 or 8 bytes that are only moved: T is the float type of their size.
constexpr bool is_wide(DType dtype) { return dtype == DType::float64 || dtype == DType::int64; }
template <class F>
decltype(auto) with_size(DType dtype, F&& f) {
  return is_wide(dtype) ? f(double{}) : f(float{});
}

// Runs a kernel without the GIL. That is safe because Inputs and Outputs on this stack hold the arrays, and
// the kernel touches no Python object.
void invoke_released(const CallType& type, const void* call);
template <class Call>
void invoke_released(const Call& call) {
  invoke_released(type_of(call), &call);
}

// The same for a call on this many elements. If they are few it keeps the GIL: releasing it and taking it
// back would take longer than the kernel.
void invoke_sized(const CallType& type, const void* call, int64_t elements);
template <class Call>
void invoke_sized(const Call& call, int64_t elements) {
  invoke_sized(type_of(call), &call, elements);
}

// Runs Call<float> or Call<double>, as the dtype says. `fields` are the members of Call in their order; an
// Input or Output converts to the member's TensorView.
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
