// The extension module ranvier._core. Each family's functions are added by its bind_<family>.cpp.
#include <pybind11/pybind11.h>

#include "bindings/define.h"

// clang-format off
#define RANVIER_FAMILIES(X)                                                                       \
  X(runtime) X(matmul) X(attention) X(conv2d) X(conv2d_pool) X(interpolate) X(pad) X(pooling)     \
  X(optimizer) X(augment) X(dropout) X(probe) X(activation) X(elementwise) X(softmax) X(distance) \
  X(loss) X(reduce) X(copy) X(join) X(write) X(index) X(scan) X(sort) X(norm) X(layer_norm)       \
  X(embedding) X(recurrent) X(jet) X(tensors) X(views) X(grad_mode) X(tape) X(direct) X(making)   \
  X(untaped) X(untaped_reduce) X(backward) X(shapes) X(program) X(compiled_call)
// clang-format on

namespace ranvier::bind {

#define RANVIER_X(family) void register_##family(Module m);
RANVIER_FAMILIES(RANVIER_X)
#undef RANVIER_X

void raise_stopped(std::exception_ptr p);
void detail::raise_in_python() { py::detail::try_translate_exceptions(); }

}  // namespace ranvier::bind

// pytypes.h, which is all that most bindings include, calls it and does not define it.
template std::string pybind11::handle::cast<std::string>() const;

PYBIND11_MODULE(_core, m) {
  m.doc() = "ranvier's kernels on NumPy arrays; see python/ranvier/kernels.py for their documentation";
  ranvier::bind::import_numpy();
  pybind11::register_local_exception_translator(ranvier::bind::raise_stopped);
#define RANVIER_X(family) ranvier::bind::register_##family(m);
  RANVIER_FAMILIES(RANVIER_X)
#undef RANVIER_X
}
