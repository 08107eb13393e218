// The loops of casts between the most common dtypes, compiled once for each ISA level.
#include "kernels/copy/copy.h"

namespace ranvier::RANVIER_ISA {

template <class From, class To>
static void dense(const void* x, int64_t n, void* y) {
  const From* p = static_cast<const From*>(x);
  To* q = static_cast<To*>(y);
  for (int64_t i = 0; i < n; ++i) q[i] = static_cast<To>(p[i]);
}

#define RANVIER_FROM(From) \
  {dense<From, float>, dense<From, double>, dense<From, int64_t>, dense<From, int32_t>, dense<From, bool>}
extern const CastKernels cast_kernels_float = {
    {RANVIER_FROM(float), RANVIER_FROM(double), RANVIER_FROM(int64_t), RANVIER_FROM(uint8_t)}};
#undef RANVIER_FROM

}  // namespace ranvier::RANVIER_ISA
