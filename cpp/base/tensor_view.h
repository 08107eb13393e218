// A view of a tensor that is owned elsewhere: what every kernel reads and writes.
#pragma once
#include <cstdint>

namespace ranvier {

// The types of elements that arrays may have.

enum class DType {
  float32,
  float64,
  int64,
  uint8,
  boolean,
  int8,
  int16,
  uint16,
  int32,
  uint32,
  float16,
  bfloat16
};

// Every kernel call names these two: run() gets a Team (base/parallel.h), buffers() a ViewList
// (base/views.h).
class Team;
class ViewList;

constexpr int kMaxDims = 8;

// The storage of the elements of a view of float: floats, or these rounded to 16 bits. Only kernels that
// say so take the latter. 64 bits: GCC's __builtin_clear_padding changes more than the padding at the end of
// the elements of an array.
enum class Stored : int64_t { whole, float16, bfloat16 };

// Strides count elements, not bytes. Dimensions beyond ndim are not read.
template <class T>
struct TensorView {
  T* data = nullptr;
  int ndim = 0;
  int64_t shape[kMaxDims] = {};
  int64_t strides[kMaxDims] = {};
  Stored stored = Stored::whole;  // how the numbers of float are stored
};

// Bytes of an element in memory.
template <class T>
static inline int item_of(const TensorView<T>& v) {
  return v.stored == Stored::whole ? static_cast<int>(sizeof(T)) : 2;
}

// Helpers are static: an inline function with external linkage, compiled in an ISA object, could be the copy
// that the linker keeps for every CPU.
template <class T>
static inline int64_t numel(const TensorView<T>& v) {
  int64_t n = 1;
  for (int d = 0; d < v.ndim; ++d) n *= v.shape[d];
  return n;
}

// True when the elements are stored one after another in C order; the stride of a dimension of size 1 does
// not decide.
template <class T>
static inline bool is_contiguous(const TensorView<T>& v) {
  int64_t expected = 1;
  for (int d = v.ndim - 1; d >= 0; --d) {
    if (v.shape[d] != 1 && v.strides[d] != expected) return false;
    expected *= v.shape[d];
  }
  return true;
}

template <class T>
static inline TensorView<const T> as_const(const TensorView<T>& v) {
  TensorView<const T> c;
  c.data = v.data;
  c.ndim = v.ndim;
  c.stored = v.stored;
  for (int d = 0; d < v.ndim; ++d) {
    c.shape[d] = v.shape[d];
    c.strides[d] = v.strides[d];
  }
  return c;
}

}  // namespace ranvier
