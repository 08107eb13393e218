// Which lines of a b that is larger than L2 few_rows.h prefetches. Processors differ in which order is
// faster, so the first calls of a process compare both, and later calls take the one that was faster. Results
// do not depend on it.
#pragma once
#include <array>
#include <cstdint>

namespace ranvier {

enum class FetchOrder {
  next_columns,  // lines of the columns that are read next, in the order of memory
  own_columns,   // the lines that follow in the columns that are read
};

// A thread's part of one product of few rows, which it divides into parts of equal size. While the order is
// not decided for the active ISA level, the parts take both in turn and are timed.
class FetchComparison {
 public:
  static constexpr int kParts = 4;  // with the orders 0, 1, 1, 0

  // bytes: what the thread reads of b.
  explicit FetchComparison(int64_t bytes);
  bool is_open() const { return is_open_; }

  // The order of the next part, which has so many columns.
  FetchOrder begin_part(int64_t columns);
  void end_part();
  // After the last part: counts the order that was faster.
  void close() const;

 private:
  struct Sum {
    int64_t ns = 0, columns = 0;
  };
  bool is_open_;
  FetchOrder order_;
  int part_ = 0;
  int64_t begin_ns_ = 0;
  std::array<Sum, 2> sums_;  // by order
};

}  // namespace ranvier
