// load_n and store_n (see vec.h) for levels without masked memory instructions: lane by lane. Included by the
// headers of these levels.
#pragma once

namespace ranvier::RANVIER_ISA {

RANVIER_INLINE vec<float> load_n(const float* p, int n) {
  vec<float> v{};
  for (int i = 0; i < lanes<float>; ++i)
    if (i < n) v[i] = p[i];
  return v;
}
RANVIER_INLINE vec<double> load_n(const double* p, int n) {
  vec<double> v{};
  for (int i = 0; i < lanes<double>; ++i)
    if (i < n) v[i] = p[i];
  return v;
}
RANVIER_INLINE void store_n(float* p, vec<float> v, int n) {
  for (int i = 0; i < lanes<float>; ++i)
    if (i < n) p[i] = v[i];
}
RANVIER_INLINE void store_n(double* p, vec<double> v, int n) {
  for (int i = 0; i < lanes<double>; ++i)
    if (i < n) p[i] = v[i];
}

}  // namespace ranvier::RANVIER_ISA
