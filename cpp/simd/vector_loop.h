// Element-wise loops: an op is compiled once, as a loop over whole vectors, and run_row brings any row of
// elements into that form. So machine code does not grow with what an operand may be (contiguous, repeated, a
// last part).
#pragma once
#include "base/element_row.h"
#include "simd/vec.h"

namespace ranvier::RANVIER_ISA {

// x[k] moves on by step[k] bytes from one vector to the next: 0 where the operand repeats one element, of
// which x[k] then points to a vector.
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

// f(y, x) for each vector of y, of kBytes, and the places of the kOperands operands that belong to it.
template <int kOperands, int kBytes, class F>
RANVIER_INLINE void for_each_vector(const Vectors& v, const F& f) {
  const char* x[kOperands];
  int64_t step[kOperands];
  for (int k = 0; k < kOperands; ++k) x[k] = v.x[k], step[k] = v.step[k];
  char* y = v.y;
  for (int64_t i = v.count; i > 0; --i, y += kBytes) {
    f(y, x);
    for (int k = 0; k < kOperands; ++k) x[k] += step[k];
  }
}

// Fewer elements than a vector has lanes, into a padded vector and out of it.
template <class T, int kLanes>
RANVIER_INLINE void copy_in(char* padded, const char* from, int n) {
  if constexpr (sizeof(T) == 1) {
    __builtin_memset(padded, 0, kLanes);
    __builtin_memcpy(padded, from, unsigned(n) % kLanes);
  } else {
    store(reinterpret_cast<T*>(padded), load_n(reinterpret_cast<const T*>(from), n));
  }
}
template <class T, int kLanes>
RANVIER_INLINE void copy_out(char* to, const char* padded, int n) {
  if constexpr (sizeof(T) == 1)
    __builtin_memcpy(to, padded, unsigned(n) % kLanes);
  else
    store_n(reinterpret_cast<T*>(to), vector_at<T>(padded), n);
}

template <class T, int kLanes>
RANVIER_INLINE void repeat(char* padded, const void* element) {
  if constexpr (sizeof(T) == 1)
    __builtin_memset(padded, *static_cast<const char*>(element), kLanes);
  else
    store(reinterpret_cast<T*>(padded), broadcast(*static_cast<const T*>(element)));
}

// The loop over a row of vectors of T: the whole vectors in place; what is before the first aligned one of
// y and after the last one as a vector of its own, padded. X0: the first operand's type, X: the others', Y:
// y's.
template <class T, class X0, class X, class Y>
__attribute__((noinline)) static void run_row(const ElementRow& r, int operands, VectorLoop loop) {
  constexpr int L = lanes<T>;
  alignas(64) char padded[kElementOperands + 1][sizeof(vec<T>)];
  Vectors v, part;
  int64_t item[kElementOperands];  // bytes from one element to the next
  for (int k = 0; k < operands; ++k) {
    const bool moves = r.step[k] != 0;
    item[k] = !moves ? 0 : k == 0 ? sizeof(X0) : sizeof(X);
    v.step[k] = item[k] * L;
    v.x[k] = moves ? static_cast<const char*>(r.x[k]) : padded[k];
    part.x[k] = padded[k];
    part.step[k] = 0;
    if (moves) continue;
    if (k == 0)
      repeat<X0, L>(padded[k], r.x[k]);
    else
      repeat<X, L>(padded[k], r.x[k]);
  }
  v.y = static_cast<char*>(r.y), part.y = padded[kElementOperands];
  v.attributes = part.attributes = r.attributes;
  part.count = 1;
  const auto advance = [&](int64_t n) {
    for (int k = 0; k < operands; ++k) v.x[k] += n * item[k];
    v.y += n * int64_t(sizeof(Y));
  };
  int some = before_aligned<L>(static_cast<const Y*>(r.y), r.n);
  int64_t left = r.n - some;
  for (bool last = false;; last = true) {
    if (some) {
      for (int k = 0; k < operands; ++k)
        if (item[k] == 0)
          continue;
        else if (k == 0)
          copy_in<X0, L>(padded[k], v.x[k], some);
        else
          copy_in<X, L>(padded[k], v.x[k], some);
      loop(part);
      copy_out<Y, L>(v.y, part.y, some);
      advance(some);
    }
    if (last) return;
    v.count = left / L;
    some = static_cast<int>(left % L);
    if (v.count) loop(v);
    if (some) advance(left - some);
  }
}

}  // namespace ranvier::RANVIER_ISA
