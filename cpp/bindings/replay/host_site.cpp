// ArrayLayout and HostSite (array_recording.h): makes arrays on given memory, and calls Python's function for
// a HostCall during a replay.
#include "bindings/replay/array_recording.h"

#include <algorithm>
#include <utility>

#include "base/fork.h"
#include "bindings/binder/errors.h"
#include "bindings/binder/numpy_api.h"
#include "program/recording.h"

namespace ranvier::bind {
namespace {

static_assert(sizeof(npy_intp) == sizeof(int64_t));

// The type of elements as View::type has it (base/views.h); 0 for others.
char type_of(PyArrayObject* a) {
  const char kind = PyArray_DESCR(a)->kind;
  const auto bytes = PyArray_ITEMSIZE(a);
  if (kind == 'f' && bytes == 4) return 'f';
  if (kind == 'f' && bytes == 8) return 'd';
  if (kind == 'i' && bytes == 4) return 'i';
  if (kind == 'i' && bytes == 8) return 'l';
  if (kind == 'b') return '?';
  return PyArray_TYPE(a) == NPY_UINT8 ? 'B' : 0;
}

struct Gil {  // this thread has the GIL while the object exists
  const PyGILState_STATE state = PyGILState_Ensure();
  ~Gil() { PyGILState_Release(state); }
};

}  // namespace

ArrayLayout::ArrayLayout(py::handle array, const char* memory)
    : offset(PyArray_BYTES(as_array(array)) - memory),
      dtype(py::reinterpret_borrow<py::object>(reinterpret_cast<PyObject*>(PyArray_DESCR(as_array(array))))),
      ndim(PyArray_NDIM(as_array(array))) {
  std::copy_n(PyArray_DIMS(as_array(array)), ndim, shape);
  std::copy_n(PyArray_STRIDES(as_array(array)), ndim, strides);
}

py::object ArrayLayout::at(char* memory, py::handle base, bool writeable) const {
  PyArray_Descr* descr = reinterpret_cast<PyArray_Descr*>(dtype.ptr());
  Py_INCREF(descr);  // the new array takes this reference over
  const int flags = writeable ? NPY_ARRAY_WRITEABLE : 0;
  PyObject* a =
      PyArray_NewFromDescr(&PyArray_Type, descr, ndim, reinterpret_cast<const npy_intp*>(shape),
                           reinterpret_cast<const npy_intp*>(strides), memory + offset, flags, nullptr);
  if (!a) throw py::error_already_set();
  py::object made = py::reinterpret_steal<py::object>(a);
  if (base && PyArray_SetBaseObject(as_array(made), base.inc_ref().ptr()) < 0) throw py::error_already_set();
  return made;
}

py::object ArrayLayout::new_array() const {
  const auto* descr = reinterpret_cast<PyArray_Descr*>(dtype.ptr());
  int64_t steps[kMaxDims];
  for (int d = 0; d < ndim; ++d) steps[d] = strides[d] / PyDataType_ELSIZE(descr);
  return bind::new_array(descr->type_num, Shape(ndim, shape), steps);
}

bool ArrayLayout::fits(py::handle array) const {
  PyArrayObject* a = as_array(array);
  if (PyArray_NDIM(a) != ndim || !std::equal(shape, shape + ndim, PyArray_DIMS(a))) return false;
  for (int d = 0; d < ndim; ++d)
    if (shape[d] > 1 && strides[d] != PyArray_STRIDE(a, d)) return false;
  return PyArray_EquivTypes(reinterpret_cast<PyArray_Descr*>(dtype.ptr()), PyArray_DESCR(a));
}

// An array whose dtype or strides the views of kernels cannot have becomes a view of the bytes that it
// reaches.
void HostSite::add(HostCall& call, py::handle array) {
  PyArrayObject* a = as_array(array);
  HostCall::Array& to = call.arrays[call.count];
  ++call.count;
  AnyView& v = to.view;
  to.type = type_of(a);
  to.item = static_cast<uint16_t>(PyArray_ITEMSIZE(a));
  v.data = PyArray_BYTES(a);
  v.ndim = PyArray_NDIM(a);
  for (int d = 0; d < v.ndim; ++d) {
    v.shape[d] = PyArray_DIM(a, d);
    v.strides[d] = PyArray_STRIDE(a, d) / to.item;
    if (PyArray_STRIDE(a, d) % to.item) to.type = 0;
  }
  if (!to.type) {
    const auto [first, last] = reach_of(a);
    to.type = 'B';
    to.item = 1;
    v.data = first;
    v.ndim = 1;
    v.shape[0] = PyArray_SIZE(a) ? last - first : 0;
    v.strides[0] = 1;
  }
  arrays.emplace_back(array, v.data);
}

// Runs on the thread that called the replay: takes the GIL, calls the function with the arrays that are read,
// and copies the results to the arrays that are written. False if the call raised, or its results have
// another dtype or shape.
bool HostSite::run(const HostCall& call) {
  const ForkAllowed allowed;
  const Gil gil;
  Recording* const outer = std::exchange(t_recording, nullptr);
  const HostSite& site = *static_cast<const HostSite*>(call.site);
  bool done = site.callable.ptr() != nullptr;
  try {
    // The arrays of the call: first those that the function reads, then those that get its results.
    const auto array = [&](int i, bool writeable) {
      return site.arrays[i].at(call.arrays[i].view.data, /*base=*/{}, writeable);
    };
    py::tuple arguments(call.reads);
    py::tuple into(call.count - call.reads);
    for (int i = 0; i < call.reads; ++i) arguments[i] = array(i, /*writeable=*/false);
    for (int i = call.reads; i < call.count; ++i) into[i - call.reads] = array(i, /*writeable=*/true);
    py::object made;
    if (done)
      made = py::reinterpret_steal<py::object>(PyObject_CallObject(site.callable.ptr(), arguments.ptr()));
    done = made && !made.is_none();
    // Sets `done` to false, and stops, at the first pair of arrays for which f(to, from) is false.
    const auto each = [&](auto f) {
      for (Py_ssize_t i = 0; done && i < PyTuple_GET_SIZE(into.ptr()); ++i)
        done = f(as_array(PyTuple_GET_ITEM(into.ptr(), i)), as_array(PyTuple_GET_ITEM(made.ptr(), i)));
    };
    each([](PyArrayObject* to, PyArrayObject* from) {
      return PyArray_EquivTypes(PyArray_DESCR(from), PyArray_DESCR(to)) && PyArray_SAMESHAPE(from, to);
    });
    each([](PyArrayObject* to, PyArrayObject* from) { return PyArray_CopyInto(to, from) == 0; });
  } catch (py::error_already_set& error) {
    error.restore();
    done = false;
  } catch (const std::exception&) {  // out of memory; no exception may leave an OpenMP region
    if (!PyErr_Occurred()) PyErr_NoMemory();
    done = false;
  }
  // Within a recording (outer), the error is dropped, and an interrupt is set again for later. Otherwise the
  // caller of the replay raises the error.
  if (outer && PyErr_Occurred()) {
    const bool signal = !PyErr_ExceptionMatches(PyExc_Exception);
    PyErr_Clear();
    if (signal) PyErr_SetInterrupt();
  }
  t_recording = outer;
  return done;
}

}  // namespace ranvier::bind
