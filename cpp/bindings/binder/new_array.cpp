// Makes NumPy arrays in memory of the core's allocator. NumPy frees such an array through a memory handler
// (NEP 49), whose functions return the memory to the allocator.
//
// This file includes NumPy's headers without NO_IMPORT_ARRAY (numpy_api.h), and so defines the table of
// NumPy's functions for the whole module.
#define NPY_NO_DEPRECATED_API NPY_1_22_API_VERSION
#define NPY_TARGET_VERSION NPY_1_22_API_VERSION
#define PY_ARRAY_UNIQUE_SYMBOL ranvier_array_api
#include "base/allocator.h"
#include "bindings/binder/shape.h"

#include <numpy/arrayobject.h>

#include <algorithm>
#include <cstring>

#include "bindings/binder/array_args.h"

namespace ranvier::bind {
namespace {

PyObject* g_handler =
    nullptr;  // the capsule of g_memory_functions, the memory handler of all arrays made here

void* numpy_malloc(void*, size_t bytes) { return allocate(bytes); }
void* numpy_calloc(void*, size_t count, size_t size) {
  void* p = allocate(count * size);
  return p ? std::memset(p, 0, count * size) : nullptr;
}
void* numpy_realloc(void*, void* old, size_t bytes) {
  void* p = allocate(bytes);
  if (p && old) std::memcpy(p, old, std::min(bytes, allocation_capacity(old)));
  if (p) deallocate(old);
  return p;
}
void numpy_free(void*, void* p, size_t) { deallocate(p); }

PyDataMem_Handler g_memory_functions = {
    "ranvier", 1, {nullptr, numpy_malloc, numpy_calloc, numpy_realloc, numpy_free}};

[[noreturn]] void fail_memory(const Shape& shape) {
  PyErr_SetString(
      PyExc_MemoryError,
      ("got a result of shape " + Piece(shape).text() + "; expected one that fits in memory").c_str());
  throw py::error_already_set();
}

}  // namespace

void import_numpy() {
  if (_import_array() < 0) throw py::error_already_set();
  g_handler = PyCapsule_New(&g_memory_functions, "mem_handler", nullptr);
  if (!g_handler) throw py::error_already_set();
}

PyObject* memory_handler() { return g_handler; }

// As in NumPy, a size of 0 does not excuse other sizes whose product overflows.
void require_addressable(const Shape& shape) {
  int64_t bytes = sizeof(double);
  for (int64_t size : shape)
    if (__builtin_mul_overflow(bytes, std::max<int64_t>(size, 1), &bytes)) fail_memory(shape);
}

// The array owns its memory (NPY_ARRAY_OWNDATA): NumPy frees it through the handler with the last reference.
py::object new_array(int type, const Shape& shape, const int64_t* strides) {
  PyArray_Descr* descr = PyArray_DescrFromType(type);
  const int64_t item = PyDataType_ELSIZE(descr);
  int64_t bytes = item;
  npy_intp byte_strides[kMaxDims];
  for (int d = 0; d < shape.ndim; ++d) {
    byte_strides[d] = strides[d] * item;
    bytes *= shape[d];
  }
  void* data = allocate(static_cast<size_t>(bytes));
  if (!data) {
    Py_DECREF(descr);
    fail_memory(shape);
  }
  PyObject* array =
      PyArray_NewFromDescr(&PyArray_Type, descr, shape.ndim, reinterpret_cast<const npy_intp*>(shape.sizes),
                           byte_strides, data, NPY_ARRAY_WRITEABLE, nullptr);
  if (!array) {
    deallocate(data);
    throw py::error_already_set();
  }
  Py_INCREF(g_handler);
  reinterpret_cast<PyArrayObject_fields*>(array)->mem_handler = g_handler;
  PyArray_ENABLEFLAGS(reinterpret_cast<PyArrayObject*>(array), NPY_ARRAY_OWNDATA);
  return py::reinterpret_steal<py::object>(array);
}

}  // namespace ranvier::bind
