// Rows of a table that are picked by an array of indices, and copied one by one.
#pragma once
#include <cstdint>

namespace ranvier {

// The index, or 0 where it is not in [0, size). Indices were checked before, but another thread may have
// changed them since: even then nothing outside the table is read or written. size >= 1.
inline int64_t inside(int64_t index, int64_t size) {
  return static_cast<uint64_t>(index) < static_cast<uint64_t>(size) ? index : 0;
}

// Picked row i is row index[i * step] of the table; a negative index counts from the end.
struct PickedRows {
  const char* table;
  int64_t row_bytes, rows;  // bytes from one row of the table to the next; how many rows it has
  const int64_t* index;
  int64_t step;

  const char* at(int64_t i) const {
    int64_t row = index[i * step];
    if (__builtin_expect(static_cast<uint64_t>(row) >= static_cast<uint64_t>(rows), false))
      row = inside(static_cast<int64_t>(static_cast<uint64_t>(row) + static_cast<uint64_t>(rows)), rows);
    return table + row * row_bytes;
  }
};

// Copies the picked rows [begin, end): row i to `to` + i * bytes. bytes: of a row, a multiple of 2, at
// least 2.
void copy_rows(char* to, int64_t bytes, const PickedRows& from, int64_t begin, int64_t end);

}  // namespace ranvier
