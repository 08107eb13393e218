// NumPy arrays at the border: arguments checked in the house's form of error, results from the core's own
// allocator.
#pragma once
#include <pybind11/pybind11.h>

#include <initializer_list>
#include <string>

#include "base/dtype.h"
#include "base/tensor_view.h"
#include "program/invoke.h"

namespace ranvier::bind {

namespace py = pybind11;

template <class T>
struct dtype_of_type;
template <>
struct dtype_of_type<float> {
  static constexpr DType value = DType::float32;
};
template <>
struct dtype_of_type<double> {
  static constexpr DType value = DType::float64;
};
template <>
struct dtype_of_type<int64_t> {
  static constexpr DType value = DType::int64;
};
template <>
struct dtype_of_type<uint8_t> {
  static constexpr DType value = DType::uint8;
};
template <>
struct dtype_of_type<bool> {
  static constexpr DType value = DType::boolean;
};

void import_numpy();  // once, while the module loads
// Makes an array's memory known to this thread's recording, which exists (array_recording.cpp).
void note_array(py::handle array);
// What frees the arrays that new_array() makes: the capsule of NumPy's memory handler.
PyObject* memory_handler();

// `[op] text` as ValueError (shapes, values) or TypeError (types, dtypes).
[[noreturn]] void fail_value(const char* op, const std::string& text);
[[noreturn]] void fail_type(const char* op, const std::string& text);
std::string shape_text(int ndim, const int64_t* shape);  // "(2, 3)"
template <class T>
std::string shape_text(const TensorView<T>& v) {
  return shape_text(v.ndim, v.shape);
}

// Attributes: anything but a number (a word, a truth value) is the house's TypeError, not pybind11's.
double real_number(const char* op, const char* name, py::handle value);
int64_t whole_number(const char* op, const char* name, py::handle value,  // clamped to int64
                     const char* expected = "a whole number");
std::string word(const char* op, const char* name, py::handle value);
bool truth(const char* op, const char* name, py::handle value);
// An axis of an array, counted from the front; negative ones count from the end.
int axis_number(const char* op, py::handle axis, int ndim);

// An array argument, held for the length of the call. An array that is byte-swapped or not aligned to its
// elements is copied once; any strides pass as they are.
class Input {
 public:
  // Fails unless the argument is an array of float32 or float64 with at most kMaxDims dimensions.
  static Input floating(const char* op, const char* name, py::handle array);
  // The same, or an array of uint8.
  static Input pixels(const char* op, const char* name, py::handle array);
  // An array of any dtype that casts read.
  static Input number(const char* op, const char* name, py::handle array);
  // An array of any integer dtype, as int64.
  static Input integers(const char* op, const char* name, py::handle array);
  // An array of exactly this dtype.
  static Input exactly(const char* op, const char* name, py::handle array, DType dtype);
  // An array of this dtype or, where the argument is None, an empty Input.
  static Input optional(const char* op, const char* name, py::handle array, DType dtype);
  Input() = default;  // empty

  explicit operator bool() const { return static_cast<bool>(object_); }
  DType dtype() const { return dtype_; }
  bool is_contiguous() const;  // in C order
  int ndim() const;
  const int64_t* shape() const;
  int64_t shape(int d) const { return shape()[d]; }
  py::handle object() const { return object_; }
  template <class T>
  TensorView<const T> view() const {  // of an empty Input: data is null
    TensorView<const T> v;
    v.data = static_cast<const T*>(fill(&v.ndim, v.shape, v.strides));
    return v;
  }

 private:
  Input(py::object object, DType dtype) : object_(std::move(object)), dtype_(dtype) {
    if (__builtin_expect(t_recording != nullptr, false)) note_array(object_);
  }
  const void* fill(int* ndim, int64_t* shape, int64_t* strides) const;
  py::object object_;
  DType dtype_ = DType::float32;
};

// A result: a new array, or the caller's `out` when it is not None (checked: dtype, shape, writable,
// aligned).
class Output {
 public:
  // C-contiguous, uninitialised.
  static Output contiguous(DType dtype, int ndim, const int64_t* shape);
  static Output contiguous(DType dtype, std::initializer_list<int64_t> shape) {
    return contiguous(dtype, static_cast<int>(shape.size()), shape.begin());
  }
  // Without gaps; order: the dimensions from the slowest to the fastest in memory.
  static Output in_order(DType dtype, int ndim, const int64_t* shape, const int* order);
  // Logical (n, c, h, w), in memory n, h, w, c.
  static Output channels_last(DType dtype, int64_t n, int64_t c, int64_t h, int64_t w);
  // The memory order of x's dimensions, without gaps: dense C order, channels-last or any permutation stays
  // what it is. Where x repeats elements (stride 0), C order.
  static Output like(const Input& x, DType dtype) { return like(x, dtype, x.shape()); }
  static Output like(const Input& x, DType dtype, const int64_t* shape);  // of another shape
  // `name`: what errors call it, where it is not `out` but an array that changes in place.
  static Output given(const char* op, py::handle out, DType dtype, int ndim, const int64_t* shape,
                      const char* name = "out");

  template <class T>
  TensorView<T> view() const {
    TensorView<T> v;
    v.data = static_cast<T*>(fill(&v.ndim, v.shape, v.strides));
    return v;
  }
  // Fails where the memory of a given `out` overlaps x's. Element-wise kernels may write exactly onto their
  // input.
  const Output& apart_from(const char* op, const Input& x, bool same_is_fine = false) const;
  py::object release() { return std::move(object_); }

 private:
  explicit Output(py::object object) : object_(std::move(object)) {
    if (__builtin_expect(t_recording != nullptr, false)) note_array(object_);
  }
  void* fill(int* ndim, int64_t* shape, int64_t* strides) const;
  py::object object_;
};

DType dtype_argument(const char* op, py::handle dtype);       // a NumPy dtype of a kind that DType names
void invoke_cast(const Input& x, const Output& y, DType to);  // float32, float64, int64 or bool

inline bool given(py::handle out) { return !out.is_none(); }

// v: a view repeated to a shape that it broadcasts to (not checked), with stride 0 where it has one element.
// Written in place: a view that is copied as soon as it is made makes the processor wait for its own stores.
template <class T>
void repeat(const TensorView<T>& own, int ndim, const int64_t* shape, TensorView<T>& v) {
  const int lead = ndim - own.ndim;
  v.data = own.data, v.ndim = ndim;
  for (int d = 0; d < ndim; ++d) {
    v.shape[d] = shape[d];
    v.strides[d] = d < lead || own.shape[d - lead] == 1 ? 0 : own.strides[d - lead];
  }
}

void require_same_dtype(const char* op, const char* name_a, const Input& a, const char* name_b,
                        const Input& b);
bool is_channels_last(const Input& x);  // 4-D, NHWC in memory; dimensions of size 1 do not decide

// f(T{}) for the element type of a floating argument.
template <class F>
decltype(auto) with_float(DType dtype, F&& f) {
  return dtype == DType::float32 ? f(float{}) : f(double{});
}

// Runs a kernel without the GIL: safe because the arrays are held by Inputs and Outputs on this stack, and
// the kernel touches no Python object.
template <class Call>
void invoke_released(const Call& call) {
  struct Released {
    PyThreadState* state = PyEval_SaveThread();
    ~Released() { PyEval_RestoreThread(state); }
  } released;
  invoke(call);
}

// The same for a call on so many elements: where they are few, giving up the GIL and taking it back would be
// most of the call.
template <class Call>
void invoke_sized(const Call& call, int64_t elements) {
  constexpr int64_t kFew = 4096;
  elements < kFew ? invoke(call) : invoke_released(call);
}

}  // namespace ranvier::bind
