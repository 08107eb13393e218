// Full unrolling of the short loops over a tile: without it the accumulators would live in memory, not in
// registers. None, where the compiler would unroll a loop whose copies are only more code.
#pragma once
#if defined(__clang__)
#define RANVIER_UNROLL _Pragma("clang loop unroll(full)")
#define RANVIER_NO_UNROLL _Pragma("clang loop unroll(disable)")
#else
#define RANVIER_UNROLL _Pragma("GCC unroll 32")
#define RANVIER_NO_UNROLL _Pragma("GCC unroll 1")
#endif
