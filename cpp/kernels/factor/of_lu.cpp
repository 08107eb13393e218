// What is made of the factors L and U (factor.h): determinants, and the exchange of rows.
#include <cmath>

#include "kernels/factor/factor.h"
#include "kernels/factor/matrices.h"

namespace ranvier {
namespace {

// The product of the diagonal of U, with the sign of the exchanges: fraction * 2^exponent.
struct Product {
  double fraction = 1;
  int64_t exponent = 0;
};

template <class T>
Product diagonal_product(const T* lu, const int32_t* pivots, int64_t n) {
  Product p;
  for (int64_t i = 0; i < n; ++i) {
    int exponent = 0;
    p.fraction = std::frexp(p.fraction * double(lu[i * (n + 1)]), &exponent);
    if (pivots[i] != i + 1) p.fraction = -p.fraction;
    if (std::isfinite(p.fraction)) p.exponent += exponent;
  }
  return p;
}

}  // namespace

template <class T>
void Determinant<T>::run(const Team& team, void*) const {
  const int64_t n = lu.shape[lu.ndim - 1];
  const int64_t count = matrices_of(lu);
  team.parallel_for(count, 4.0 * double(count * n), [&](int64_t i) {
    const Product p = diagonal_product(lu.data + i * n * n, pivots.data + i * n, n);
    if (det.data) {
      const int64_t exponent = std::clamp<int64_t>(p.exponent, -100000, 100000);
      det.data[i] = T(std::ldexp(p.fraction, int(exponent)));
      return;
    }
    const double size = std::fabs(p.fraction);
    sign.data[i] = T(0);
    if (size > 0) sign.data[i] = p.fraction < 0 ? T(-1) : T(1);
    log.data[i] = T(std::log(size) + double(p.exponent) * 0.693147180559945309417);
  });
}

template <class T>
void ExchangeRows<T>::run(const Team& team, void*) const {
  const int64_t n = y.shape[y.ndim - 2];
  const int64_t k = y.shape[y.ndim - 1];
  if (numel(y) == 0) return;
  const int64_t count = matrices_of(y);
  team.parallel_for(count, double(numel(y)), [&](int64_t i) {
    const int32_t* places = matrix_at(pivots, i, 1);
    const int64_t step = pivots.strides[pivots.ndim - 1];
    const int64_t exchanges = pivots.shape[pivots.ndim - 1];
    T* rows = y.data + i * n * k;
    for (int64_t r = 0; r < exchanges; ++r) {
      const int64_t other = places[r * step] - 1;
      if (other != r) std::swap_ranges(rows + r * k, rows + (r + 1) * k, rows + other * k);
    }
  });
}

RANVIER_INSTANTIATE(Determinant);
RANVIER_INSTANTIATE(ExchangeRows);

}  // namespace ranvier
