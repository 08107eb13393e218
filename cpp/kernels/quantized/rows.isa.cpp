// Rows of quantized matrices as float32: (code - zero) * factor, where zero is 128 for codes of 8 bits and 8
// for those of 4. QuantizedMatrix::unpack (quantized.cpp) calls them, for embeddings and for products that
// are computed in float32. A row's bytes are those of a panel of one row (quantized.h):
//
//   int8   k codes; the factor is given
//   q8_0   for each 32 of k: factor (float16), 32 codes
//   q4_0   for each 32 of k: factor (float16), 16 bytes: number l in the low half of byte l, 16 + l in the
//   high
//
// Compiled once for each ISA level; the bits are the same at all of them.
#include <string.h>

#include "base/half.h"
#include "base/unroll.h"
#include "kernels/quantized/quantized.h"
#include "simd/bytes.h"
#include "simd/strided.h"

namespace ranvier::RANVIER_ISA {

constexpr int kL = lanes<float>;

RANVIER_INLINE vec<float> values(ivec<float> codes, float zero, vec<float> factor) {
  return (__builtin_convertvector(codes, vec<float>) - zero) * factor;
}

static void row_of_int8(const QuantizedRow& row) {
  const vec<float> factor = broadcast(row.factor);
  int64_t l = 0;
  for (; l + kL <= row.k; l += kL) store(row.y + l, values(widen_bytes(row.codes + l, 0.0f), 128, factor));
  const int left = int(row.k - l);
  if (left == 0) return;
  uint8_t last[kL] = {};
  memcpy(last, row.codes + l, size_t(left));
  store_lanes(row.y + l, values(widen_bytes(last, 0.0f), 128, factor), left);
}

// The 32 numbers of a group of q8_0.
RANVIER_INLINE void eight_bits(const uint8_t* codes, vec<float> factor, float* y) {
  RANVIER_UNROLL
  for (int l = 0; l < kGroup; l += kL) store(y + l, values(widen_bytes(codes + l, 0.0f), 128, factor));
}

// The 32 numbers of a group of q4_0.
RANVIER_INLINE void four_bits(const uint8_t* codes, vec<float> factor, float* y) {
  constexpr int half = kGroup / 2;
  RANVIER_UNROLL
  for (int l = 0; l < half; l += kL) {
    const ivec<float> both = widen_bytes(codes + l, 0.0f);
    store(y + l, values(both & 15, 8, factor));
    store(y + half + l, values(both >> 4, 8, factor));
  }
}

// The scale of a group, of float16.
RANVIER_INLINE float scale_at(const uint8_t* p) {
#if defined(__F16C__)
  uint16_t bits;
  memcpy(&bits, p, sizeof bits);
  return _cvtsh_ss(bits);
#else
  Float16 scale;
  memcpy(&scale, p, sizeof scale);
  return scale;
#endif
}

template <void (*group)(const uint8_t*, vec<float>, float*), int64_t bytes>
static void row_of_groups(const QuantizedRow& row) {
  const uint8_t* p = row.codes;
  for (int64_t begin = 0; begin < row.k; begin += kGroup, p += 2 + bytes) {
    const vec<float> factor = broadcast(scale_at(p));
    const int64_t left = row.k - begin;
    if (left >= kGroup) {
      group(p + 2, factor, row.y + begin);
      continue;
    }
    float last[kGroup];
    group(p + 2, factor, last);
    memcpy(row.y + begin, last, size_t(left) * sizeof *last);
  }
}

extern const QuantizedRowKernels quantized_row_kernels_float = {
    {row_of_int8, row_of_groups<eight_bits, kGroup>, row_of_groups<four_bits, kGroup / 2>}};

}  // namespace ranvier::RANVIER_ISA
