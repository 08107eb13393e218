// Lists of arrays as arguments of the optimizer's kernels.
#pragma once
#include <pybind11/numpy.h>

#include <algorithm>
#include <string>

#include "bindings/array_args.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier::bind {

// A list of arrays, of which an entry or the whole may be None.
class List {
 public:
  List(const char* op, const char* name, py::handle list) : op_(op), name_(name), list_(list) {
    if (!list.is_none() && !PyList_Check(list.ptr()))
      fail_type(
          op, std::string("got ") + name + " of type " + Py_TYPE(list.ptr())->tp_name + "; expected a list");
  }
  bool given() const { return !list_.is_none(); }
  int64_t size() const { return PyList_GET_SIZE(list_.ptr()); }
  void require_size(int64_t size) const {
    if (given() && this->size() != size)
      fail_value(op_, std::string("got ") + name_ + " with " + std::to_string(this->size()) +
                          " arrays; expected one for each of " + std::to_string(size) + " parameters");
  }
  py::handle operator[](int64_t i) const { return PyList_GET_ITEM(list_.ptr(), i); }
  std::string item(int64_t i) const { return std::string(name_) + "[" + std::to_string(i) + "]"; }
  const char* name() const { return name_; }

 private:
  const char* op_;
  const char* name_;
  py::handle list_;
};

template <class T>
TensorView<T> writable(const TensorView<const T>& v) {
  TensorView<T> w;
  w.data = const_cast<T*>(v.data);
  w.ndim = v.ndim;
  std::copy_n(v.shape, v.ndim, w.shape);
  std::copy_n(v.strides, v.ndim, w.strides);
  return w;
}

// An array that is read where it lies, or also written. (Input copies what is unaligned or byte-swapped: no
// use for an array that must change in place.)
template <class T>
TensorView<T> in_place(const char* op, const List& list, int64_t i) {
  const py::handle array = list[i];
  const Input x = Input::exactly(op, list.name(), array, dtype_of_type<T>::value);
  if (x.object().ptr() != array.ptr())
    fail_value(op, "got " + list.item(i) + " that is byte-swapped or unaligned; expected a native array");
  if (!py::reinterpret_borrow<py::array>(array).writeable())
    fail_value(op, "got " + list.item(i) + " that is read-only; expected a writable array");
  return writable(x.view<T>());
}

template <class A, class B>
void require_same_shape(const char* op, const List& list, int64_t i, const TensorView<A>& v,
                        const TensorView<B>& expected) {
  if (v.ndim != expected.ndim || !std::equal(v.shape, v.shape + v.ndim, expected.shape))
    fail_value(op, "got " + list.item(i) + " of shape " + shape_text(v) + "; expected the parameter's, " +
                       shape_text(expected));
}

// f(first, count) for calls of at most kMaxSegments arrays.
template <class F>
void for_each_call(const List& list, const F& f) {
  for (int64_t first = 0; first < list.size(); first += kMaxSegments)
    f(first, static_cast<int>(std::min<int64_t>(kMaxSegments, list.size() - first)));
}

inline double* one_number(const char* op, const char* name, py::handle array, Input& held) {
  held = Input::exactly(op, name, array, DType::float64);
  const auto v = held.view<double>();
  if (numel(v) != 1)
    fail_value(op, std::string("got ") + name + " of shape " + shape_text(v) + "; expected one number");
  return const_cast<double*>(v.data);
}

inline TensorView<double> number_view(double* p) {
  TensorView<double> v;
  v.data = p, v.ndim = 1, v.shape[0] = 1, v.strides[0] = 1;
  return v;
}

}  // namespace ranvier::bind
