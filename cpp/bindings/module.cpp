// Makes the extension module ranvier._core. RANVIER_FAMILIES lists the families of functions; for each the
// file that binds it (mostly bind_<family>.cpp) defines register_<family>(), which adds the functions to the
// module.
#define PYBIND11_SIMPLE_GIL_MANAGEMENT  // pybind11's other GIL management needs state shared by its modules
#include <pybind11/pybind11.h>

#include "bindings/binder/define.h"

// clang-format off
#define RANVIER_FAMILIES(X)                                                                          \
  X(bfloat16) X(bfloat16_loops) X(runtime) X(matmul) X(factor) X(small_matrices) X(attention) X(conv2d) X(conv2d_pool)           \
  X(interpolate) X(nms) X(pad) X(pooling) X(fourier) X(optimizer) X(augment) X(dropout) X(probe)     \
  X(activation) X(elementwise) X(softmax) X(distance) X(loss) X(reduce) X(copy) X(join) X(write)     \
  X(index) X(scan) X(sort) X(sets) X(norm) X(layer_norm) X(embedding) X(quantized) X(recurrent)      \
  X(jet) X(cell) X(tensors) X(views) X(grad_mode) X(tape) X(autocast) X(observers) X(direct) X(making)      \
  X(promotion) X(untaped) X(untaped_reduce) X(backward) X(shapes) X(signature) X(program)            \
  X(attached) X(compiled_call) X(module_call) X(dispatch) X(public_function) X(batch_run)            \
  X(rank_sum) X(between_ranks) X(code_watch) X(follower) X(batched)
// clang-format on

namespace ranvier::bind {

#define RANVIER_X(family) void register_##family(Module m);
RANVIER_FAMILIES(RANVIER_X)
#undef RANVIER_X

namespace {

// Adds all names to a new module. NumPy's types and loops are registered once in a process, so a second
// module object, as a repeated import makes, gets the objects of the first. Returns 0, or -1 with Python's
// error set.
int fill(PyObject* module) {
  static PyObject* made = nullptr;
  try {
    const py::object names = py::handle(module).attr("__dict__");
    if (made) return PyDict_Merge(names.ptr(), made, 0);
    import_numpy();
#define RANVIER_X(family) register_##family(module);
    RANVIER_FAMILIES(RANVIER_X)
#undef RANVIER_X
    made = PyDict_Copy(names.ptr());
    return made ? 0 : -1;
  } catch (...) {
    detail::raise_in_python();
    py::error_already_set why;
    py::raise_from(why, PyExc_ImportError, why.what());
    return -1;
  }
}

PyModuleDef_Slot g_slots[] = {{Py_mod_exec, reinterpret_cast<void*>(fill)},
#ifdef Py_mod_multiple_interpreters  // from Python 3.12 on
                              {Py_mod_multiple_interpreters, Py_MOD_MULTIPLE_INTERPRETERS_NOT_SUPPORTED},
#endif
                              {0, nullptr}};
PyModuleDef g_module{
    PyModuleDef_HEAD_INIT,
    "_core",
    "ranvier's kernels on NumPy arrays; see python/ranvier/kernels.py for their documentation",
    0,
    nullptr,
    g_slots,
    nullptr,
    nullptr,
    nullptr};

}  // namespace
}  // namespace ranvier::bind

// The header pybind11/pytypes.h, the only one of pybind11 that most bindings include, calls this function
// without defining it.
template std::string pybind11::handle::cast<std::string>() const;

extern "C" PYBIND11_EXPORT PyObject* PyInit__core() { return PyModuleDef_Init(&ranvier::bind::g_module); }
