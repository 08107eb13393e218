// Rows that are anywhere in a table, copied one by one.
#pragma once
#include <cstdint>
#include <cstring>

#include "base/caches.h"

namespace ranvier {

// An index that was checked, and that another thread may have changed since: inside [0, size) in any case, so
// that nothing but the table is read or written. size >= 1.
inline int64_t inside(int64_t index, int64_t size) {
  return static_cast<uint64_t>(index) < static_cast<uint64_t>(size) ? index : 0;
}

// Row i of what is picked is row index[i * step] of the table, counted from its end where that is negative.
struct PickedRows {
  const char* table;
  int64_t row_bytes, rows;  // from one row of the table to the next; how many there are
  const int64_t* index;
  int64_t step;

  const char* at(int64_t i) const {
    const int64_t row = index[i * step];
    return table + inside(row < 0 ? row + rows : row, rows) * row_bytes;
  }
};

namespace detail {

constexpr int64_t kRowsAhead = 12;    // rows of a larger table are fetched before they are needed:
constexpr int64_t kBytesAhead = 256;  // only their beginning: the hardware fetches what follows

template <class Copy>
void copy_rows_by(const Copy& copy, char* to, int64_t bytes, const PickedRows& from, int64_t begin,
                  int64_t end) {
  const bool ask = from.row_bytes * from.rows > caches.l2 / 2;
  for (int64_t i = begin; i < end; ++i) {
    if (ask && i + kRowsAhead < end) {
      const char* next = from.at(i + kRowsAhead);
      for (int64_t b = 0; b < bytes && b < kBytesAhead; b += 64) __builtin_prefetch(next + b);
    }
    copy(to + i * bytes, from.at(i));
  }
}

template <int bytes>
struct CopyOf {
  void operator()(char* to, const char* from) const { std::memcpy(to, from, bytes); }
};

}  // namespace detail

// Rows [begin, end) of what is picked, side by side from `to` on; whole 4-byte numbers, at least one.
inline void copy_rows(char* to, int64_t bytes, const PickedRows& from, int64_t begin, int64_t end) {
  using detail::copy_rows_by, detail::CopyOf;
  if (bytes == 4) return copy_rows_by(CopyOf<4>{}, to, bytes, from, begin, end);
  if (bytes == 8) return copy_rows_by(CopyOf<8>{}, to, bytes, from, begin, end);
  if (bytes == 16) return copy_rows_by(CopyOf<16>{}, to, bytes, from, begin, end);
  if (bytes == 32) return copy_rows_by(CopyOf<32>{}, to, bytes, from, begin, end);
  if (bytes > 128)
    return copy_rows_by([=](char* y, const char* x) { std::memcpy(y, x, size_t(bytes)); }, to, bytes, from,
                        begin, end);
  const auto in_pieces = [=](char* y, const char* x) {  // the last overlaps: a call would take longer
    const auto pieces = [&](auto piece) {
      constexpr int64_t n = sizeof piece;
      for (int64_t b = 0; b + n <= bytes; b += n) std::memcpy(y + b, x + b, n);
      std::memcpy(y + bytes - n, x + bytes - n, n);
    };
    struct Sixteen {
      char bytes[16];
    };
    bytes >= 16 ? pieces(Sixteen{}) : bytes >= 8 ? pieces(int64_t{}) : pieces(int32_t{});
  };
  copy_rows_by(in_pieces, to, bytes, from, begin, end);
}

}  // namespace ranvier
