// Rows that are anywhere in a table, copied one by one.
#pragma once
#include <cstdint>

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
    int64_t row = index[i * step];
    if (__builtin_expect(static_cast<uint64_t>(row) >= static_cast<uint64_t>(rows), false))
      row = inside(static_cast<int64_t>(static_cast<uint64_t>(row) + static_cast<uint64_t>(rows)), rows);
    return table + row * row_bytes;
  }
};

// Rows [begin, end) of what is picked, side by side from `to` on; whole 4-byte numbers, at least one.
void copy_rows(char* to, int64_t bytes, const PickedRows& from, int64_t begin, int64_t end);

}  // namespace ranvier
