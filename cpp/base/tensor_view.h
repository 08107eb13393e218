// TensorView: a view of a tensor whose memory is owned elsewhere. Every kernel reads and writes such views.
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

// For RANVIER_CALL (base/views.h), which every kernel call has: run() gets a Team (base/parallel.h),
// buffers() a ViewList.
class Team;
class ViewList;

constexpr int kMaxDims = 8;

// How the elements of a view of float are stored: as floats, or as floats of 16 bits, which only some kernels
// accept. The enum has 64 bits so that TensorView has no padding at its end: GCC's __builtin_clear_padding
// changes more than such padding in arrays of views.
enum class Stored : int64_t { whole, float16, bfloat16 };

// Strides count elements, not bytes. Dimensions beyond ndim are not read.
template <class T>
struct TensorView {
  T* data = nullptr;
  int ndim = 0;
  int64_t shape[kMaxDims] = {};
  int64_t strides[kMaxDims] = {};
  Stored stored = Stored::whole;  // for T = float
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

// True if the elements are stored one after another in C order. The stride of a dimension of size 1 does not
// matter.
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
