// Shape: the sizes of an array's dimensions, as a value. new_array() makes a NumPy array of a shape.
#pragma once
#include <pybind11/pytypes.h>

#include <algorithm>
#include <cstdint>
#include <initializer_list>

#include "base/tensor_view.h"

namespace ranvier::bind {

struct Shape {
  int ndim = 0;
  int64_t sizes[kMaxDims];

  Shape() = default;
  Shape(int ndim_, const int64_t* sizes_) : ndim(ndim_) { std::copy(sizes_, sizes_ + ndim_, sizes); }
  Shape(std::initializer_list<int64_t> s) : Shape(static_cast<int>(s.size()), s.begin()) {}
  template <class T>
  Shape(const TensorView<T>& v) : Shape(v.ndim, v.shape) {}

  int64_t& operator[](int d) { return sizes[d]; }
  int64_t operator[](int d) const { return sizes[d]; }
  const int64_t* begin() const { return sizes; }
  const int64_t* end() const { return sizes + ndim; }
  void append(int64_t size) { sizes[ndim++] = size; }
  Shape part(int first, int last) const { return Shape(last - first, sizes + first); }
  Shape without(int axis) const {
    Shape s = part(0, axis);
    for (int d = axis + 1; d < ndim; ++d) s.append(sizes[d]);
    return s;
  }
  int64_t elements() const {
    int64_t n = 1;
    for (int64_t size : *this) n *= size;
    return n;
  }
  bool operator==(const Shape& other) const {
    return ndim == other.ndim && std::equal(begin(), end(), other.begin());
  }
  bool operator!=(const Shape& other) const { return !(*this == other); }
  bool broadcasts_to(const Shape& to) const {
    const int lead = to.ndim - ndim;
    for (int d = 0; d < ndim; ++d)
      if (lead < 0 || (sizes[d] != 1 && sizes[d] != to[lead + d])) return false;
    return lead >= 0;
  }
  // Sets this shape to the one that both broadcast to. Returns false, and changes nothing, if there is none.
  bool broadcast_with(const Shape& other) {
    const int n = std::max(ndim, other.ndim);
    const int lead = n - ndim;
    const int other_lead = n - other.ndim;
    Shape wide;
    for (int d = 0; d < n; ++d) {
      const int64_t a = d < lead ? 1 : sizes[d - lead];
      const int64_t b = d < other_lead ? 1 : other[d - other_lead];
      if (a != b && a != 1 && b != 1) return false;
      const int64_t size = a == 1 ? b : a;
      wide.append(size);
    }
    *this = wide;
    return true;
  }
};

// Raises MemoryError if an array of doubles of this shape has more bytes than int64 counts. Sizes of 0 count
// as 1.
void require_addressable(const Shape& shape);

// A new, uninitialised NumPy array in memory of the core's allocator, to which NumPy returns it through a
// memory handler (NEP 49). type: NumPy's type number; strides: in elements. Raises MemoryError if there is no
// memory.
pybind11::object new_array(int type, const Shape& shape, const int64_t* strides);

}  // namespace ranvier::bind
