// find_places: where values belong in sorted rows
#pragma once
#include <cstdint>

namespace ranvier {

// to[i]: how many of the n elements of a row are before values[i], or with `right` not after it; NaN is the
// greatest. The first `each` values belong to the first row, and so on. T: float, double or int64_t.
template <class T>
void find_places(const T* row, int64_t n, const T* values, int64_t count, int64_t each, bool right,
                 int64_t* to);

}  // namespace ranvier
