// The loops of AugmentKernels (augment.h), compiled once for each ISA level.
#include "kernels/augment/augment.h"

#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

// AugmentKernels::locate: `count` pixels of row i of y, from column j on. m is the matrix of AffineImages:
// the pixel in row i and column `at` has its place in x at row m[3] at + m[4] i + m[5] and at column m[0] at
// + m[1] i + m[2]. up, left: the place rounded down. If no pixel around the place is inside x (h rows, w
// columns), the place becomes (-2, -2): then both pixels up, up + 1 (-2 and -1) are outside. nearest adds 0.5
// before rounding down, and `part` makes the distances 0.
//
// Computed in double and without FMA, so that every level finds the same pixels.
template <class T>
static void locate(const double (&m)[6], bool nearest, double h, double w, double i, double j, int count,
                   PixelPlaces<T>& places) {
  const double row_at = m[4] * i + m[5];
  const double column_at = m[1] * i + m[2];
  const double half = nearest ? 0.5 : 0;
  const double part = nearest ? 0 : 1;
  for (int k = 0; k < count; ++k) {
    const double at = j + k;
    const double row = m[3] * at + row_at + half;
    const double column = m[0] * at + column_at + half;
    const bool near = (row > -1) & (row < h) & (column > -1) & (column < w);  // false for NaN
    const double r = near ? row : -2;
    const double c = near ? column : -2;
    const double up = __builtin_floor(r);
    const double left = __builtin_floor(c);
    places.row[k] = static_cast<int32_t>(up);
    places.column[k] = static_cast<int32_t>(left);
    places.down[k] = static_cast<T>(part * (r - up));
    places.right[k] = static_cast<T>(part * (c - left));
  }
}

// AugmentKernels::between. taps: the upper left, upper right, lower left and lower right pixels; right, down:
// the distances of the place from the left and from the upper pixels. Computes whole vectors: kPixelBlock is
// a multiple of their lanes, so reading and writing past `count` stays in the arrays, which have kPixelBlock
// elements.
template <class T>
static void between(int count, const T (*taps)[kPixelBlock], const T* down, const T* right, T* y) {
  for (int j = 0; j < count; j += lanes<T>) {
    const vec<T> across = load(right + j);
    const vec<T> below = load(down + j);
    const vec<T> a = load(taps[0] + j);
    const vec<T> b = load(taps[1] + j);
    const vec<T> c = load(taps[2] + j);
    const vec<T> d = load(taps[3] + j);
    const vec<T> upper = fma(across, b - a, a);
    const vec<T> lower = fma(across, d - c, c);
    store(y + j, fma(below, lower - upper, upper));
  }
}

// AugmentKernels::mix: y = weight a + (1 - weight) b, n elements.
template <class T>
static void mix(int64_t n, T weight, const T* a, const T* b, T* y) {
  const vec<T> of_a = broadcast(weight);
  const vec<T> of_b = broadcast(T(1) - weight);
  for (int64_t i = 0; i < n; i += lanes<T>) {
    const int some = lanes_used<T>(n - i);
    store_lanes(y + i, fma(of_a, load_lanes(a + i, some), of_b * load_lanes(b + i, some)), some);
  }
}

extern const AugmentKernels<float> augment_kernels_float = {locate<float>, between<float>, mix<float>};
extern const AugmentKernels<double> augment_kernels_double = {locate<double>, between<double>, mix<double>};

}  // namespace ranvier::RANVIER_ISA
