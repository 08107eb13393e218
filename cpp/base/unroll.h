// RANVIER_UNROLL: the next loop is unrolled completely. For short loops over the rows and vectors of a tile,
// whose sums would otherwise be in memory, not in registers. RANVIER_NO_UNROLL: the next loop is not
// unrolled, where that would only be more code.
#pragma once
#if defined(__clang__)
#define RANVIER_UNROLL _Pragma("clang loop unroll(full)")
#define RANVIER_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define RANVIER_UNROLL _Pragma("GCC unroll 32")
#define RANVIER_NO_UNROLL _Pragma("GCC unroll 1")
#endif
