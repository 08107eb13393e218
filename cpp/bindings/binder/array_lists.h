// Lists of arrays as arguments, with an array for each parameter of a model, for the bindings of the
// optimizer's kernels (ops/bind_optimizer.cpp). run_list() runs a kernel on the arrays of a list, up to
// kMaxSegments at once.
#pragma once
#include <vector>

#include "bindings/binder/define.h"
#include "kernels/optimizer/optimizer.h"

namespace ranvier::bind {

// A list of arrays, one for each parameter of the model.
struct List : Arg {
  RANVIER_ANNOTATION("list[Array]");
  List(const Arg& arg) : List(arg, false) {}

  int64_t size() const { return PySequence_Fast_GET_SIZE(value.ptr()); }
  void expect_size(int64_t n) const {
    if (given() && size() != n)
      fail_value(op, "got ", name, " with ", size(), " arrays; expected one for each of ", n, " parameters");
  }
  std::string item(int64_t i) const { return std::string(name) + "[" + std::to_string(i) + "]"; }
  Arg arg(int64_t i) const { return {op, name, PySequence_Fast_ITEMS(value.ptr())[i]}; }
  // The arrays' dtype if it is float16 or bfloat16. The binding of a kernel that takes halves sets it.
  DType half = DType::float32;
  // `half` if it is set, else the dtype of the first array, which must exist. read() checks the others.
  DType dtype() const {
    if (half != DType::float32) return half;
    return Input::floating(arg(0)).dtype();
  }

  // Array i, which must have elements of type T (T = float: or of the dtype `half`).
  template <class T>
  Input read(int64_t i) const {
    return Input::exactly(arg(i), std::is_same_v<T, float> ? half : dtype_of<T>());
  }
  // A writable view of array i itself. It fails where read() would copy an unaligned or byte-swapped array:
  // the kernel would write to the copy.
  template <class T>
  TensorView<T> in_place(int64_t i) const {
    const Input x = read<T>(i);
    if (x.object().ptr() != arg(i).value.ptr())
      fail_value(op, "got ", item(i), " that is byte-swapped or unaligned; expected a native array");
    if (!x.is_writable()) fail_value(op, "got ", item(i), " that is read-only; expected a writable array");
    return writable(x.view<T>());
  }
  template <class A, class B>
  void expect_shape(int64_t i, const TensorView<A>& v, const TensorView<B>& parameter) const {
    if (Shape(v) != Shape(parameter))
      fail_value(op, "got ", item(i), " of shape ", Shape(v), "; expected the parameter's, ",
                 Shape(parameter));
  }

 protected:
  List(const Arg& arg, bool optional) : Arg(arg) {
    if (optional && !given()) return;
    if (!given()) wrong_type("a list");
    if (!PyList_Check(value.ptr()))
      fail_type(op, "got ", name, " of type ", Py_TYPE(value.ptr())->tp_name, "; expected a list");
#ifdef Py_GIL_DISABLED  // another thread may change the list meanwhile
    items_ = checked(PyList_AsTuple(value.ptr()));
    value = items_;
#endif
  }

 private:
#ifdef Py_GIL_DISABLED
  py::object items_;
#endif
};

struct MaybeList : List {
  RANVIER_ANNOTATION("list[Array] | None");
  MaybeList(const Arg& arg) : List(arg, true) {}
};

// Runs Call<T> (T for the list's dtype) on all arrays of the list, at most kMaxSegments in each call.
// fill(call, T{}, first, held) sets the views of call.count arrays, from array `first` on; it stores Inputs
// that are copies in `held`, so that they live until the kernel is done. run(call) then runs the kernel. All
// calls are filled, and so all arrays checked, before the first one runs.
template <template <class> class Call, class F, class Run>
void run_list(const List& list, const F& fill, const Run& run) {
  if (list.size() == 0) return;
  with_float(list.dtype(), [&](auto tag) {
    const auto fill_from = [&](Call<decltype(tag)>& call, int64_t first, Input* held) {
      call.count = static_cast<int>(std::min<int64_t>(kMaxSegments, list.size() - first));
      fill(call, tag, first, held);
    };
    if (list.size() <= kMaxSegments) {
      Call<decltype(tag)> call{};
      Input held[kMaxSegments];
      fill_from(call, 0, held);
      return run(call);
    }
    std::vector<Call<decltype(tag)>> calls((list.size() + kMaxSegments - 1) / kMaxSegments);
    std::vector<Input> held(calls.size() * kMaxSegments);
    for (size_t i = 0; i < calls.size(); ++i) fill_from(calls[i], i * kMaxSegments, &held[i * kMaxSegments]);
    for (const auto& call : calls) run(call);
  });
}

template <template <class> class Call, class F>
void run_list(const List& list, const F& fill) {
  run_list<Call>(list, fill, [](const auto& call) { invoke_released(call); });
}

// The view of one number.
inline TensorView<double> number_view(double* p) {
  TensorView<double> v;
  v.data = p;
  v.ndim = 1;
  v.shape[0] = 1;
  v.strides[0] = 1;
  return v;
}

// An array of float64 with one element.
struct OneNumber : Doubles {
  OneNumber(const Arg& arg) : Doubles(arg) {
    if (elements() != 1) fail("one number");
  }
  TensorView<const double> number() const {
    return as_const(number_view(const_cast<double*>(view<double>().data)));
  }
};

}  // namespace ranvier::bind
