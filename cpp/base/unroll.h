// Full unrolling of the short loops over a tile: without it the accumulators would live in memory, not in
// registers.
#pragma once
#if defined(__clang__)
#define RANVIER_UNROLL _Pragma("clang loop unroll(full)")
#else
#define RANVIER_UNROLL _Pragma("GCC unroll 32")
#endif
