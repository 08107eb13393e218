// Arrays on the core's own memory, which NumPy gives back through a handler (NEP 49).
#pragma once
#include <pybind11/pytypes.h>

#include "bindings/shape.h"

namespace ranvier::bind {

// MemoryError where the sizes other than 0 multiply to more bytes than int64 counts.
void require_addressable(const Shape& shape);

// Uninitialised, of NumPy's type number, with strides in elements. MemoryError where the block cannot be
// allocated.
pybind11::object new_array(int type, const Shape& shape, const int64_t* strides);

}  // namespace ranvier::bind
