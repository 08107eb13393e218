// Stores that bypass the caches: for results so large that they would evict what is still needed, and whose
// cache lines would be read from memory in vain before they are written.
#pragma once
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

#if RANVIER_VECTOR_BYTES == 64 && defined(__AVX512F__)
RANVIER_INLINE void stream_vector(float* p, vec<float> v) { _mm512_stream_ps(p, v); }
RANVIER_INLINE void stream_vector(double* p, vec<double> v) { _mm512_stream_pd(p, v); }
#elif RANVIER_VECTOR_BYTES == 32 && defined(__AVX2__)
RANVIER_INLINE void stream_vector(float* p, vec<float> v) { _mm256_stream_ps(p, v); }
RANVIER_INLINE void stream_vector(double* p, vec<double> v) { _mm256_stream_pd(p, v); }
#elif RANVIER_VECTOR_BYTES == 16 && defined(__SSE4_1__)
RANVIER_INLINE void stream_vector(float* p, vec<float> v) { _mm_stream_ps(p, v); }
RANVIER_INLINE void stream_vector(double* p, vec<double> v) { _mm_stream_pd(p, v); }
#else
RANVIER_INLINE void stream_vector(float* p, vec<float> v) { store(p, v); }
RANVIER_INLINE void stream_vector(double* p, vec<double> v) { store(p, v); }
#endif

// Stores v at p, which is aligned to a vector. Other threads see the value only after stream_end(), which
// each thread that has streamed must call.
template <class T>
RANVIER_INLINE void stream(T* p, vec<T> v) {
  RANVIER_WRITES(p, sizeof v);
  stream_vector(p, v);
}
RANVIER_INLINE void stream_end() {
#ifdef __SSE4_1__
  _mm_sfence();
#endif
}

}  // namespace ranvier::RANVIER_ISA
