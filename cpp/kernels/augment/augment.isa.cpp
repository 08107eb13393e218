// The loops of AugmentKernels (augment.h), compiled once for each ISA level.
#include "kernels/augment/augment.h"

#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// Computed in double and without FMA, so that every level finds the same pixels.
template <class T>
static void locate(const double (&m)[6], bool nearest, double h, double w, double i, double j, int count,
                   PixelPlaces<T>& places) {
  const double row_at = m[4] * i + m[5], column_at = m[1] * i + m[2];
  const double half = nearest ? 0.5 : 0, part = nearest ? 0 : 1;
  for (int k = 0; k < count; ++k) {
    const double at = j + k;
    const double row = m[3] * at + row_at + half, column = m[0] * at + column_at + half;
    const bool near = (row > -1) & (row < h) & (column > -1) & (column < w);  // false for NaN
    const double r = near ? row : -2, c = near ? column : -2;
    const double up = __builtin_floor(r), left = __builtin_floor(c);
    places.row[k] = static_cast<int32_t>(up);
    places.column[k] = static_cast<int32_t>(left);
    places.down[k] = static_cast<T>(part * (r - up));
    places.right[k] = static_cast<T>(part * (c - left));
  }
}

template <class T>
static void between(int count, const T (*taps)[kPixelBlock], const T* down, const T* right, T* y) {
  for (int j = 0; j < count; j += lanes<T>) {
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
    const int some = n - i < lanes<T> ? static_cast<int>(n - i) : lanes<T>;
    store_lanes(y + i, fma(of_a, load_lanes(a + i, some), of_b * load_lanes(b + i, some)), some);
  }
}

extern const AugmentKernels<float> augment_kernels_float = {locate<float>, between<float>, mix<float>};
extern const AugmentKernels<double> augment_kernels_double = {locate<double>, between<double>, mix<double>};

}  // namespace ranvier::RANVIER_ISA
