// Floats of 16 bits. They are only stored: arithmetic is that of float. float16 has 5 bits of exponent and 10
// of fraction (IEEE 754 binary16); bfloat16 has 8 and 7, and is the upper half of the bits of a float.
//
// Conversions from float round to nearest, ties to even. A NaN stays NaN, becomes quiet, and keeps the upper
// bits of its fraction, as with the instructions of F16C.
#pragma once
#include <cstdint>
#include <cstring>

namespace ranvier {

// Inline in each caller: a function with external linkage, compiled in an ISA object, could be the copy that
// the linker keeps for every CPU.
#define RANVIER_ALWAYS __attribute__((always_inline))

struct BFloat16 {
  uint16_t bits;
  BFloat16() = default;
  RANVIER_ALWAYS explicit BFloat16(float x) {
    uint32_t b;
    std::memcpy(&b, &x, sizeof b);
    const uint32_t last_bit = b >> 16 & 1;                   // of the result before rounding
    const uint32_t rounded = (b + 0x7fff + last_bit) >> 16;  // half a step is rounded up if last_bit is set
    const uint32_t quiet = b >> 16 | 0x40;                   // of a NaN
    const bool nan = (b & INT32_MAX) > 0x7f800000;
    bits = uint16_t(nan ? quiet : rounded);
  }
  RANVIER_ALWAYS operator float() const {
    const uint32_t b = uint32_t{bits} << 16;
    float x;
    std::memcpy(&x, &b, sizeof x);
    return x;
  }
};

struct Float16 {
  uint16_t bits;
  Float16() = default;
  RANVIER_ALWAYS explicit Float16(float x) {
    uint32_t b;
    std::memcpy(&b, &x, sizeof b);
    const uint32_t sign = b >> 16 & 0x8000;
    const uint32_t size = b & INT32_MAX;
    uint32_t found;
    if (size > 0x7f800000) {
      found = 0x7e00 | (size >> 13 & 0x3ff);
    } else if (size >= 143u << 23) {  // 2^16 and more
      found = 0x7c00;
    } else if (size < 113u << 23) {  // below 2^-14: the sum with 1/2 is rounded to a multiple of 2^-24
      float small;
      std::memcpy(&small, &size, sizeof small);
      small += .5f;
      std::memcpy(&found, &small, sizeof found);
      found -= 126u << 23;
    } else {
      found = (size + 0xfff + (size >> 13 & 1) - (112u << 23)) >> 13;
    }
    bits = uint16_t(sign | found);
  }
  RANVIER_ALWAYS operator float() const {
    const uint32_t sign = (bits & 0x8000u) << 16;
    const uint32_t size = bits & 0x7fffu;
    // Exponents are stored with 15 added in float16, and with 127 in float. That of infinity and NaN, 31,
    // becomes 255.
    const uint32_t more = size >= 0x7c00 ? 224 : 112;
    uint32_t b = (size << 13) + (more << 23);
    if (size < 0x400) {  // 0, or a subnormal number of float16
      const float small = float(size) * 0x1p-24f;
      std::memcpy(&b, &small, sizeof b);
    }
    const uint32_t quiet = size > 0x7c00 ? 1u << 22 : 0;  // of a NaN
    b |= sign | quiet;
    float x;
    std::memcpy(&x, &b, sizeof x);
    return x;
  }
};

#undef RANVIER_ALWAYS

}  // namespace ranvier
