// Which lines of a large b few_rows.h and halves.isa.cpp prefetch. Processors differ in which order is
// faster, so the first products of a process compare both, and later ones take the one that was faster.
// Results do not depend on it.
#pragma once
#include <array>
#include <cstdint>

namespace ranvier {

enum class FetchOrder {
  next_columns,  // lines of the columns that are read next
  own_columns,   // the lines that follow in the columns that are read
};

// A thread's share of one product of few rows, whose columns it computes in several parts. While the order is
// not decided, the parts take both in turn and are timed. It is decided for each kernel, for short and for
// long columns, and for each ISA level.
class FetchComparison {
 public:
  enum Kernel { few_rows, halves, count };

  // columns: of the share. bytes_of_column: 0 where no cache misses are expected, and nothing is compared.
  FetchComparison(Kernel kernel, int64_t bytes_of_column, int64_t columns);
  bool is_open() const { return is_open_; }
  int64_t columns_of_part() const;  // so that there are as many parts as a comparison needs

  // The order of the next part, which has so many columns.
  FetchOrder begin_part(int64_t columns);
  void end_part();
  // After the last part: counts the order that was faster.
  void close() const;

 private:
  struct Sum {
    int64_t ns = 0, columns = 0;
  };
  Kernel kernel_;
  bool is_short_;
  int64_t columns_;
  bool is_open_;
  FetchOrder order_;
  int part_ = 0;
  int64_t begin_ns_ = 0;
  std::array<Sum, 2> sums_;  // by order
};

}  // namespace ranvier
