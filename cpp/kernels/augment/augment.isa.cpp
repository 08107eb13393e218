// augment's arithmetic, compiled once for each ISA level.
#include "kernels/augment/augment.h"

#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static void between(const T (*taps)[kPixelBlock], const T* down, const T* right, T* y) {
  for (int j = 0; j < kPixelBlock; j += lanes<T>) {
    const vec<T> across = load(right + j), below = load(down + j);
    const vec<T> a = load(taps[0] + j), b = load(taps[1] + j), c = load(taps[2] + j), d = load(taps[3] + j);
    const vec<T> upper = fma(across, b - a, a), lower = fma(across, d - c, c);
    store(y + j, fma(below, lower - upper, upper));
  }
}

template <class T>
static void mix(int64_t n, T weight, const T* a, const T* b, T* y) {
  const vec<T> of_a = broadcast(weight), of_b = broadcast(T(1) - weight);
  for (int64_t i = 0; i < n; i += lanes<T>) {
    if (n - i >= lanes<T>) {
      store(y + i, fma(of_a, load(a + i), of_b * load(b + i)));
    } else {
      const int rest = static_cast<int>(n - i);
      store_n(y + i, fma(of_a, load_n(a + i, rest), of_b * load_n(b + i, rest)), rest);
    }
  }
}

extern const AugmentKernels<float> augment_kernels_float = {between<float>, mix<float>};
extern const AugmentKernels<double> augment_kernels_double = {between<double>, mix<double>};

}  // namespace ranvier::RANVIER_ISA
