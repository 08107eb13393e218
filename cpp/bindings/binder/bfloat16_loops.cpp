// Gives NumPy's ufuncs loops for arrays of bfloat16. A loop widens a block of elements to float32, runs the
// ufunc's own loop for float32 on the block, and rounds the results to bfloat16.
#include <algorithm>
#include <cstring>
#include <set>

#include "base/half.h"
#include "bindings/binder/bfloat16.h"
#include "bindings/binder/define.h"

#include <numpy/ufuncobject.h>

namespace ranvier::bind {
namespace {

constexpr int kMostOperands = 4;
constexpr npy_intp kBlock = 64;  // elements of a block, which is on the stack

// A ufunc's loop for float32.
struct OfFloats {
  PyUFuncGenericFunction run;
  void* data;  // the last argument of run
  int inputs, outputs;
  bool rounds[kMostOperands];  // for each operand: it is a float32, and so a bfloat16 outside of the block
};

// y[i] = x[i] as a float; step: from one element of x to the next, in bytes.
void to_floats(const char* x, npy_intp step, npy_intp n, float* y) {
  for (npy_intp i = 0; i < n; ++i, x += step) {
    BFloat16 half;
    std::memcpy(&half, x, sizeof half);
    y[i] = half;
  }
}

// The other direction, rounded to nearest.
void round_to(const float* x, npy_intp n, char* y, npy_intp step) {
  for (npy_intp i = 0; i < n; ++i, y += step) {
    const BFloat16 half(x[i]);
    std::memcpy(y, &half, sizeof half);
  }
}

// A reduction to one element, as a sum: args[0] and args[2] are that element, args[1] the input of `count`
// elements, `step` bytes apart. The result stays a float32 until the end, so it is rounded once.
void reduce(char** args, npy_intp count, npy_intp step, const OfFloats& floats) {
  alignas(64) float block[kBlock], all;
  to_floats(args[0], 0, 1, &all);
  char* at[] = {reinterpret_cast<char*>(&all), reinterpret_cast<char*>(block), reinterpret_cast<char*>(&all)};
  const npy_intp strides[] = {0, sizeof(float), 0};
  for (npy_intp i = 0; i < count; i += kBlock) {
    const npy_intp n = std::min(kBlock, count - i);
    to_floats(args[1] + i * step, step, n, block);
    floats.run(at, &n, strides, floats.data);
  }
  round_to(&all, 1, args[2], 0);
}

// The loop that is registered: for NumPy it is a loop of the ufunc for bfloat16. args: the addresses of the
// operands' first elements, inputs before outputs; steps: from one element to the next, in bytes;
// dimensions[0]: the number of elements; data: an OfFloats.
void loop(char** args, const npy_intp* dimensions, const npy_intp* steps, void* data) {
  const auto& floats = *static_cast<OfFloats*>(data);
  const int operands = floats.inputs + floats.outputs;
  const bool pair = floats.inputs == 2 && floats.outputs == 1;
  if (pair && floats.rounds[2] && args[0] == args[2] && !steps[0] && !steps[2])
    return reduce(args, dimensions[0], steps[1], floats);
  // ufunc.accumulate() passes an output that begins one element after the first input, so that each result is
  // the next element's input. Then a block is one element.
  const npy_intp most = pair && args[2] == args[0] + steps[2] ? 1 : kBlock;
  alignas(64) float blocks[kMostOperands][kBlock];
  for (npy_intp i = 0; i < dimensions[0]; i += most) {
    const npy_intp n = std::min(most, dimensions[0] - i);
    char* at[kMostOperands];
    npy_intp strides[kMostOperands];
    for (int k = 0; k < operands; ++k) {
      const bool wide = k < floats.inputs || floats.rounds[k];
      char* own = args[k] + i * steps[k];
      at[k] = wide ? reinterpret_cast<char*>(blocks[k]) : own;
      strides[k] = wide ? npy_intp{sizeof(float)} : steps[k];
      if (k < floats.inputs) to_floats(own, steps[k], n, blocks[k]);
    }
    floats.run(at, &n, strides, floats.data);
    for (int k = floats.inputs; k < operands; ++k)
      if (floats.rounds[k]) round_to(blocks[k], n, args[k] + i * steps[k], steps[k]);
  }
}

// The index of the ufunc's loop whose inputs are all float32, or -1.
int place_of(const PyUFuncObject* ufunc) {
  for (int i = 0; i < ufunc->ntypes; ++i) {
    const char* types = ufunc->types + i * ufunc->nargs;
    const auto is_float = [](char type) { return type == NPY_FLOAT; };
    if (ufunc->functions[i] && std::all_of(types, types + ufunc->nin, is_float)) return i;
  }
  return -1;
}

// Adds the loop for bfloat16 to a ufunc that has one for float32.
void register_loop(PyUFuncObject* ufunc) {
  const int place = ufunc->nargs <= kMostOperands && !ufunc->core_enabled ? place_of(ufunc) : -1;
  if (place < 0) return;
  void* const data = ufunc->data ? ufunc->data[place] : nullptr;
  auto* floats =
      new OfFloats{ufunc->functions[place], data, ufunc->nin, ufunc->nout, {}};  // lives as long as the ufunc
  int types[kMostOperands];
  for (int k = 0; k < ufunc->nargs; ++k) {
    const char type = ufunc->types[place * ufunc->nargs + k];
    floats->rounds[k] = type == NPY_FLOAT;
    types[k] = type == NPY_FLOAT ? bfloat16_number() : type;
  }
  if (PyUFunc_RegisterLoopForType(ufunc, bfloat16_number(), loop, types, floats) < 0)
    throw py::error_already_set();
}

}  // namespace

void register_bfloat16_loops(Module) {
  if (_import_umath() < 0) throw py::error_already_set();
  const py::object numpy = checked(PyImport_ImportModule("numpy"));
  std::set<PyObject*> seen;  // some ufuncs have several names in NumPy
  PyObject *name, *value;
  for (Py_ssize_t at = 0; PyDict_Next(PyModule_GetDict(numpy.ptr()), &at, &name, &value);)
    if (PyObject_TypeCheck(value, &PyUFunc_Type) && seen.insert(value).second)
      register_loop(reinterpret_cast<PyUFuncObject*>(value));
}

}  // namespace ranvier::bind
