// Element-wise loops: an op is compiled once, as a loop over whole vectors (VectorLoop), and run_row() brings
// any row of elements into this form. So an op needs no additional machine code for repeated operands or the
// rest of a row.
#pragma once
#include "base/element_row.h"
#include "base/unroll.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// The arguments of a VectorLoop: `count` vectors of the result y. Operand k is at x[k], and moves by step[k]
// bytes from one vector to the next. If the step is 0, the operand is one repeated element, and x[k] points
// to a vector of it.
struct Vectors {
  int64_t count;
  const char* x[kElementOperands];
  int64_t step[kElementOperands];
  char* y;
  const void* attributes;
};
using VectorLoop = void (*)(const Vectors&);

template <class T>
RANVIER_INLINE vec<T> vector_at(const char* p) {
  return load(reinterpret_cast<const T*>(p));
}

// Calls f(y, x) for each vector of y, which has kBytes bytes; x has the addresses of the kOperands operands
// for it.
template <int kOperands, int kBytes, class F>
RANVIER_INLINE void for_each_vector(const Vectors& v, const F& f) {
  const char* x[kOperands];
  int64_t step[kOperands];
  RANVIER_UNROLL
  for (int k = 0; k < kOperands; ++k) {
    x[k] = v.x[k];
    step[k] = v.step[k];
  }
  char* y = v.y;
  for (int64_t i = v.count; i > 0; --i, y += kBytes) {
    f(y, x);
    RANVIER_UNROLL
    for (int k = 0; k < kOperands; ++k) {
      x[k] += step[k];
      asm("" : "+r"(x[k]));  // GCC would add two addresses as a vector, and load them again from the stack
    }
  }
}

// Copies n elements, fewer than a vector has lanes, to a padded vector, or from it.
template <class T, int kLanes>
RANVIER_INLINE void copy_in(char* padded, const char* from, int n) {
  if constexpr (sizeof(T) < sizeof(float)) {
    __builtin_memset(padded, 0, kLanes * sizeof(T));
    __builtin_memcpy(padded, from, unsigned(n) % kLanes * sizeof(T));
  } else {
    store(reinterpret_cast<T*>(padded), load_n(reinterpret_cast<const T*>(from), n));
  }
}
template <class T, int kLanes>
RANVIER_INLINE void copy_out(char* to, const char* padded, int n) {
  if constexpr (sizeof(T) < sizeof(float))
    __builtin_memcpy(to, padded, unsigned(n) % kLanes * sizeof(T));
  else
    store_n(reinterpret_cast<T*>(to), vector_at<T>(padded), n);
}

template <class T, int kLanes>
RANVIER_INLINE void repeat(char* padded, const void* element) {
  if constexpr (sizeof(T) < sizeof(float))
    for (int i = 0; i < kLanes; ++i) __builtin_memcpy(padded + i * sizeof(T), element, sizeof(T));
  else
    store(reinterpret_cast<T*>(padded), broadcast(*static_cast<const T*>(element)));
}

// Runs a VectorLoop over a row, in vectors of T. The vectors follow each other from the first aligned vector
// of y on. If the row does not begin and end with a whole vector, a vector at its beginning and one at its
// end (`ends`) overlap them. Those two are computed first, since y may be an operand, and stored last. A row
// that is shorter than a vector is padded. X0 is the type of the first operand, X of the others, Y of y.
template <class T, class X0, class X, class Y>
__attribute__((noinline)) static void run_row(const ElementRow& r, int operands, VectorLoop loop) {
  constexpr int L = lanes<T>, kBytes = L * sizeof(Y);
  alignas(64) char padded[kElementOperands][sizeof(vec<T>)], out[2 * kBytes];
  const bool is_short = r.n < L;
  const int head = is_short ? 0 : before_aligned<L>(static_cast<const Y*>(r.y), r.n);
  const int64_t count = (r.n - head) / L;
  const bool tail = (r.n - head) % L != 0;
  Vectors v, ends;
  for (int k = 0; k < operands; ++k) {
    const bool moves = r.step[k] != 0;
    const int64_t size = k == 0 ? sizeof(X0) : sizeof(X);
    const int64_t item = moves ? size : 0;  // the distance to the next element, in bytes
    const char* from = static_cast<const char*>(r.x[k]);
    const char* x = moves && !is_short ? from : padded[k];
    v.step[k] = item * L;
    v.x[k] = x + item * head;
    ends.step[k] = item * (r.n - L);
    const bool only_tail = !head && !is_short;  // the one vector of `ends` is the last of the row
    ends.x[k] = only_tail ? x + ends.step[k] : x;
    if (moves && !is_short) continue;
    if (moves && k == 0)
      copy_in<X0, L>(padded[k], from, static_cast<int>(r.n));
    else if (moves)
      copy_in<X, L>(padded[k], from, static_cast<int>(r.n));
    else if (k == 0)
      repeat<X0, L>(padded[k], r.x[k]);
    else
      repeat<X, L>(padded[k], r.x[k]);
  }
  v.attributes = r.attributes;
  ends.attributes = r.attributes;
  ends.count = (head != 0) + tail;
  ends.y = out;
  if (ends.count) loop(ends);
  char* y = static_cast<char*>(r.y);
  if (is_short) return copy_out<Y, L>(y, out, static_cast<int>(r.n));
  v.count = count;
  v.y = y + head * sizeof(Y);
  loop(v);
  if (head) __builtin_memcpy(y, out, kBytes);
  const char* last = head ? out + kBytes : out;
  if (tail) __builtin_memcpy(y + (r.n - L) * sizeof(Y), last, kBytes);
}

}  // namespace ranvier::RANVIER_ISA
