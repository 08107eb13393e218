// Pairwise: joins the totals of blocks in pairs, as a binary tree, so that each total goes through few
// additions. The totals that wait form a binary counter: if digit k of the number of blocks is set, there is
// a total of 2^k blocks.
#pragma once
#include <cstdint>
#include <cstring>

#include "kernels/reduce/reduce.h"

namespace ranvier {

constexpr int kPairwiseLevels = 48;  // enough for 2^47 blocks, more than memory holds

// A total is a row of `width` elements, one for each column that is reduced. `storage` has room for
// kPairwiseLevels rows, `pitch` elements apart.
template <class T>
class Pairwise {
 public:
  Pairwise(ReduceOp op, T* storage, int64_t width, int64_t pitch)
      : join_(reduce_kernels<T>().join[static_cast<int>(op)]),
        storage_(storage),
        width_(width),
        pitch_(pitch) {}

  // Where the caller writes the total of the next block; then push() joins it to the others.
  T* next() { return storage_ + used_ * pitch_; }
  void push() {
    ++used_;
    // Adding 1 to the counter carries through its lowest digits that are set; each carry joins two totals.
    for (uint64_t c = count_; c & 1; c >>= 1) join_last();
    ++count_;
  }
  bool empty() const { return used_ == 0; }
  const T* finish() {  // the total of all blocks, of which there is at least one
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
