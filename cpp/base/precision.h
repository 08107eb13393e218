// How products of float32 are computed: rv.set_float32_matmul_precision().
#pragma once

namespace ranvier {

// "medium": the factors rounded to bfloat16, the sums in float32; the others are alike.
enum class Precision { highest, high, medium, count };
Precision precision();
void set_precision(Precision precision);  // for all threads
bool is_medium();                         // of this thread's calls, which keep it
// In place of that on this thread, in a block of autocast or the like: 1, 0, or -1 outside of any. Returns
// the one before.
int set_own_medium(int medium);
int own_medium();

// Whether the processor, and the level in use, have products of bfloat16. Without them medium has no effect.
bool has_bfloat16();

}  // namespace ranvier
