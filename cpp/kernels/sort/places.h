// find_places: where values belong in sorted rows (searchsorted)
#pragma once
#include <cstdint>

namespace ranvier {

// to[i] = how many elements of its row are less than values[i], or with `right` less than or equal to it. A
// NaN counts as greater than all numbers and as equal to NaN. There are `count` values and rows of n
// elements, one behind the other; the first `each` values belong to the first row, the next `each` to the
// second, and so on. T: float, double or int64_t.
template <class T>
void find_places(const T* row, int64_t n, const T* values, int64_t count, int64_t each, bool right,
                 int64_t* to);

}  // namespace ranvier
