#include "kernels/matmul/fetch_order.h"

#include <atomic>
#include <chrono>

#include "base/isa.h"

namespace ranvier {
namespace {

constexpr int kComparisons = 5;           // after so many the order is decided
constexpr int64_t kLeastBytes = 1 << 20;  // of a comparison

struct Found {
  std::atomic<int> next_columns{0}, own_columns{0};  // comparisons in which this order was faster

  bool is_decided() const { return next_columns + own_columns >= kComparisons; }
  FetchOrder faster() const {
    return own_columns > next_columns ? FetchOrder::own_columns : FetchOrder::next_columns;
  }
};

std::array<Found, static_cast<size_t>(Isa::count)> g_found;

Found& found() { return g_found[static_cast<size_t>(active_isa())]; }

int64_t now_ns() {
  const auto now = std::chrono::steady_clock::now().time_since_epoch();
  return std::chrono::duration_cast<std::chrono::nanoseconds>(now).count();
}

}  // namespace

FetchComparison::FetchComparison(int64_t bytes)
    : is_open_(bytes >= kLeastBytes && !found().is_decided()), order_(found().faster()) {}

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
  Found& all = found();
  ++(own ? all.own_columns : all.next_columns);
}

}  // namespace ranvier
