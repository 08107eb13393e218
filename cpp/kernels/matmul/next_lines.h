// What is prefetched of a large matrix b, while some of its columns are read, a cache line of each in turn.
// Each column is contiguous. Included by files that are compiled for each ISA level.
#pragma once
#include "base/unroll.h"
#include "kernels/matmul/fetch_order.h"
#include "kernels/matmul/packing.h"

namespace ranvier::RANVIER_ISA {

// A round reads a line of each of kColumns columns, and prefetches as many. FetchOrder says which.
template <int kColumns>
struct NextLines {
  static constexpr int64_t kMost = 384 << 10;         // bytes; more would leave L2 before they are read
  static constexpr int64_t kAhead = 4096 / kColumns;  // bytes of a column: 64 lines of all columns
  static constexpr int64_t kFarAhead = 512;           // the same of columns that take more than kMost
  const char* next = nullptr;                         // what is prefetched, or null
  int64_t apart = 0, round = 0;                       // from one line to the next, from one round to the next
  int64_t rounds = INT64_MAX;                         // how many rounds there are before `gap` is skipped
  int64_t gap = 0;

  // columns: the first of these; bytes: of a column, `step` from one to the next. last: fewer columns follow
  // than these are, so they are not prefetched. stream: the next columns are prefetched in the order of
  // memory, else a line of each in turn.
  [[gnu::always_inline]] void begin(const char* columns, int64_t step, int64_t bytes, bool last,
                                    FetchOrder order, bool stream) {
    const int64_t following = kColumns * step;
    const bool is_long = kColumns * bytes > kMost;
    apart = step;
    round = 64;
    if (order == FetchOrder::own_columns && bytes > kAhead) {
      next = columns + kAhead;
      rounds = (bytes - kAhead + 63) / 64;
      gap = last ? 0 : following - bytes;
      return;
    }
    if (is_long) {
      next = columns + kFarAhead;
      return;
    }
    if (last) return;
    next = columns + following;
    if (!stream) return;
    apart = 64;
    round = 64 * kColumns;
  }
  [[gnu::always_inline]] void fetch() {
    if (!next) return;
    const char* line = next;
    RANVIER_UNROLL
    for (int i = 0; i < kColumns; ++i, line = opaque(line + apart)) __builtin_prefetch(line, 0, 3);
    next += round;
    if (--rounds == 0) next += gap;
  }
};

}  // namespace ranvier::RANVIER_ISA
