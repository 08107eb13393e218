// shared_row() (shared_row.h): divides a row of pixels into tiles whose pixels share inputs. It tries tiles
// of each size in kSharedRows, with and without the pixels at the two ends of the row, and takes the cheapest
// division.
#include "kernels/conv2d/direct/shared_row.h"

namespace ranvier {

SharedRow shared_row(const Axis& columns) {
  constexpr int64_t kApart = 2;  // a pixel outside of such tiles takes as long as this many inside
  const Axis::Class* wide = nullptr;
  for (int64_t c = 0; c < columns.classes(); ++c)
    if (columns[c].tap_count == kSharedTaps) wide = &columns[c];
  SharedRow best{};
  if (!wide) return best;
  // True if this position alone is a class that lacks one outermost tap, and begins with `tap`.
  const auto has = [&](int64_t position, int64_t tap) {
    for (int64_t c = 0; c < columns.classes(); ++c)
      if (columns[c].tap_count == kSharedTaps - 1 && columns[c].first_tap == tap && columns[c].size == 1 &&
          columns[c].first_position == position)
        return true;
    return false;
  };
  const int64_t end = wide->first_position + wide->size;
  const bool left = has(wide->first_position - 1, 1);
  const bool right = has(end, 0);
  int64_t least = 0;
  for (const bool edges : {true, false})
    for (const int64_t rows : kSharedRows) {
      const bool first = edges && left;
      const bool last = edges && right;
      const int64_t width = wide->size + first + last;
      const int64_t tiles = ceil_div(width, rows);
      const int64_t outside = left + right - first - last;  // edge pixels that other tiles compute
      const int64_t cost = tiles * rows + kApart * outside;
      if (rows > width || (best.rows && cost >= least)) continue;
      best = {rows, tiles, width, first, last};
      least = cost;
    }
  return best;
}

}  // namespace ranvier
