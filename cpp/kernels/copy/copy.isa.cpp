// copy's transposition, compiled once for each ISA level.
#include "kernels/copy/copy.h"

#include "simd/transpose.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static void transpose_strip(int rows, int64_t n, const T* x, int64_t stride_x, T* y, int64_t stride_y) {
  constexpr int L = lanes<T>;
  for (int64_t j = 0; j < n; j += L) {
    const int columns = n - j < L ? static_cast<int>(n - j) : L;
    vec<T> square[L];
    for (int k = 0; k < L; ++k) {
      const T* from = x + (j + k) * stride_x;
      square[k] = k >= columns ? vec<T>{} : rows == L ? load(from) : load_n(from, rows);
    }
    transpose(square);
    for (int i = 0; i < rows; ++i) {
      if (columns == L)
        store(y + i * stride_y + j, square[i]);
      else
        store_n(y + i * stride_y + j, square[i], columns);
    }
  }
}

extern const CopyKernels<float> copy_kernels_float = {lanes<float>, transpose_strip<float>};
extern const CopyKernels<double> copy_kernels_double = {lanes<double>, transpose_strip<double>};

}  // namespace ranvier::RANVIER_ISA
