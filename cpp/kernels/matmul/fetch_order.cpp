// Compares the orders of prefetches, and keeps which was faster: see fetch_order.h.
#include "kernels/matmul/fetch_order.h"

#include <atomic>
#include <chrono>

#include "base/isa.h"

namespace ranvier {
namespace {

constexpr int kComparisons = 5;           // after so many the order is decided
constexpr int kParts = 4;                 // the fewest of a comparison, with the orders 0, 1, 1, 0
constexpr int64_t kLeastBytes = 1 << 20;  // of a comparison
constexpr int64_t kMultiple = 32;         // parts are multiples of so many columns
// Bytes. A shorter column ends soon after the processor has begun to follow it.
constexpr int64_t kShortColumn = 2 << 10;

struct Found {
  std::atomic<int> next_columns{0}, own_columns{0};  // comparisons in which this order was faster

  bool is_decided() const { return next_columns + own_columns >= kComparisons; }
  FetchOrder faster() const {
    return own_columns > next_columns ? FetchOrder::own_columns : FetchOrder::next_columns;
  }
};

Found& found(FetchComparison::Kernel kernel, bool is_short) {
  static Found of[FetchComparison::count][2][static_cast<size_t>(Isa::count)];
  return of[kernel][is_short][static_cast<size_t>(active_isa())];
}

int64_t now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace

FetchComparison::FetchComparison(Kernel kernel, int64_t bytes_of_column, int64_t columns)
    : kernel_(kernel), is_short_(bytes_of_column < kShortColumn), columns_(columns) {
  const Found& known = found(kernel, is_short_);
  const bool is_large = bytes_of_column * columns >= kLeastBytes && columns >= kParts * kMultiple;
  is_open_ = is_large && !known.is_decided();
  order_ = known.faster();
}

int64_t FetchComparison::columns_of_part() const { return columns_ / kParts / kMultiple * kMultiple; }

FetchOrder FetchComparison::begin_part(int64_t columns) {
  if (!is_open_) return order_;
  const bool own = ((part_ + 1) & 2) != 0;
  order_ = own ? FetchOrder::own_columns : FetchOrder::next_columns;
  sums_[own].columns += columns;
  ++part_;
  begin_ns_ = now_ns();
  return order_;
}

void FetchComparison::end_part() {
  if (is_open_) sums_[order_ == FetchOrder::own_columns].ns += now_ns() - begin_ns_;
}

void FetchComparison::close() const {
  if (!is_open_ || part_ < kParts) return;
  const auto ns_of_a_column = [](const Sum& sum) { return double(sum.ns) / double(sum.columns); };
  const bool own = ns_of_a_column(sums_[1]) < ns_of_a_column(sums_[0]);
  Found& all = found(kernel_, is_short_);
  ++(own ? all.own_columns : all.next_columns);
}

}  // namespace ranvier
