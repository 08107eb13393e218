// UnfitRows repairs rows of c after a product by AMX at precision "high", where a factor is split into two
// numbers of bfloat16, its halves (amx.h). There, factors and sums that are too large, infinities and NaN
// give infinite or NaN sums. The tiles set a flag for each row with such a sum; afterwards these rows are
// computed again in float32. For other kernels ("without halves") nothing happens. Used by Matmul::run
// (matmul.cpp).
//
// The team of a product is all threads, or, where each thread computes products of the batch by itself, a
// team of one.
#pragma once
#include <algorithm>
#include <cstring>

#include "base/integers.h"
#include "base/parallel.h"
#include "kernels/matmul/amx.h"
#include "kernels/matmul/matmul.h"

namespace ranvier {

template <class T>
class UnfitRows {
 public:
  // Bytes of workspace: enough for one team of this many threads, and for as many teams of one thread; 0
  // without halves.
  static size_t bytes(const Matmul<T>& call, int threads) {
    if (!call.kernels().halves()) return 0;
    return std::max(threads * area(call, 1), area(call, threads));
  }

  // place: the number of the team, 0 for the whole team. The layout of a team's part of the workspace: the
  // flags (threads, line), the rows that are computed again (height, n), the workspace of their product.
  UnfitRows(const Matmul<T>& call, const OpenTeam& team, int place, void* workspace)
      : call_(call), team_(team) {
    if (!call.kernels().halves()) return;
    char* base = static_cast<char*>(workspace) + place * area(call, 1);
    flags_ = reinterpret_cast<uint8_t*>(base);
    rows_ = reinterpret_cast<T*>(base + team.size() * line(call));
    scratch_ = rows_ + round_up(height(call) * call.c.shape[2], 16);
  }

  // Clears this thread's flags, one for each row of c, and returns them, for MatmulResult::unfit; null
  // without halves.
  uint8_t* clear() const {
    if (!flags_) return nullptr;
    uint8_t* own = flags_ + team_.index() * line(call_);
    std::memset(own, 0, static_cast<size_t>(line(call_)));
    return own;
  }

  // Computes the flagged rows of matrix `batch` of c again. All threads of the team call it. It computes
  // whole blocks of `height` rows, those with a flag. The last block ends with c, and may overlap the one
  // before.
  void compute(int64_t batch) const {
    if (!flags_) return;
    team_.barrier();
    const int64_t m = call_.c.shape[1];
    const int64_t h = height(call_);
    for (int64_t row = 0; row < m; row += h) {
      const int64_t first = std::min(row, m - h);
      bool any = false;
      for (int64_t i = first; i < first + h; ++i) any |= is_unfit(i);
      if (any) compute(batch, first);
    }
  }

 private:
  static constexpr int64_t kRows = 32;  // the most rows of a block

  static int64_t height(const Matmul<T>& call) { return std::min(call.c.shape[1], kRows); }
  static int64_t line(const Matmul<T>& call) { return round_up(call.c.shape[1], 64); }  // bytes of flags
  // The bytes for a team of this many threads.
  static size_t area(const Matmul<T>& call, int threads) {
    const int64_t rows = round_up(height(call) * call.c.shape[2], 16);
    const auto again = static_cast<int64_t>(of_rows(call, 0, 0, nullptr).plan_bytes(threads));
    return threads * line(call) + rows * sizeof(T) + round_up(again, 64);
  }

  // The product in float32 of rows [row, row + height) of matrix `batch`, stored in `to` (height, n).
  static Matmul<T> of_rows(const Matmul<T>& call, int64_t batch, int64_t row, T* to) {
    Matmul<T> m = call;
    const int64_t h = height(call);
    const int64_t n = call.c.shape[2];
    m.precision = Precision::highest;
    m.packed = {};
    const auto take_matrix = [=](auto& x) {
      x.data += batch * x.strides[0];
      x.shape[0] = 1;
    };
    const auto take_rows = [=](auto& x) {
      take_matrix(x);
      x.data += row * x.strides[1];
      x.shape[1] = h;
    };
    take_rows(m.a);
    take_matrix(m.b);
    if (m.saved.data) take_rows(m.saved);
    m.c = {to, 3, {1, h, n}, {h * n, n, 1}};
    return m;
  }

  // True if a thread of the team has flagged this row.
  bool is_unfit(int64_t row) const {
    bool unfit = false;
    for (int i = 0; i < team_.size(); ++i) unfit |= flags_[i * line(call_) + row] != 0;
    return unfit;
  }

  // Computes the block that begins with row `first`, and copies its flagged rows to c.
  void compute(int64_t batch, int64_t first) const {
    const int64_t n = call_.c.shape[2];
    const int64_t h = height(call_);
    of_rows(call_, batch, first, rows_).run(team_, scratch_);
    team_.barrier();
    for (int64_t i = team_.share_begin(h); i < team_.share_end(h); ++i) {
      if (!is_unfit(first + i)) continue;
      T* c = call_.c.data + batch * call_.c.strides[0] + (first + i) * call_.c.strides[1];
      for (int64_t j = 0; j < n; ++j) c[j * call_.c.strides[2]] = rows_[i * n + j];
    }
    team_.barrier();
  }

  const Matmul<T>& call_;
  const OpenTeam team_;
  uint8_t* flags_ = nullptr;  // a line of flags for each thread of the team
  T* rows_ = nullptr;         // a block, computed again
  T* scratch_ = nullptr;
};

}  // namespace ranvier
