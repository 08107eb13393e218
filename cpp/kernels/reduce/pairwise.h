// Totals joined in pairs, so that each goes through few additions: a binary counter whose digit k, where it
// is set, holds the total of 2^k blocks.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/reduce/reduce.h"

namespace ranvier {

constexpr int kPairwiseLevels = 48;  // more blocks than memory holds

// Each total is a row of `width` elements; storage has kPairwiseLevels rows of `pitch`.
template <class T>
class Pairwise {
 public:
  Pairwise(ReduceOp op, T* storage, int64_t width, int64_t pitch)
      : join_(reduce_kernels<T>().join[static_cast<int>(op)]),
        storage_(storage),
        width_(width),
        pitch_(pitch) {}

  // The place for the next block's total; push() takes it in.
  T* next() { return storage_ + used_ * pitch_; }
  void push() {
    ++used_;
    for (uint64_t c = count_++; c & 1; c >>= 1) join_last();
  }
  bool empty() const { return used_ == 0; }
  const T* finish() {  // at least one block
    while (used_ > 1) join_last();
    return storage_;
  }

 private:
  void join_last() {
    --used_;
    join_(width_, storage_ + (used_ - 1) * pitch_, storage_ + used_ * pitch_);
  }

  void (*join_)(int64_t, T*, const T*);
  T* storage_;
  int64_t width_, pitch_;
  int used_ = 0;
  uint64_t count_ = 0;
};

}  // namespace ranvier
