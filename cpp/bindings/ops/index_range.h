// Values that must be in their range: the check as a separate kernel call, so that replays make it too, and
// the errors of values that are not.
#pragma once
#include "bindings/binder/array_args.h"

namespace ranvier::bind {

// Classes of x (n, c, ...): 0 <= index < c, or `ignored`; ValueError.
void require_classes(const Input& x, const Input& index, int64_t ignored);
// Rows of a table: 0 <= index < rows; IndexError.
void require_rows(const Input& index, int64_t rows);
// Places along an axis: -length <= index < length, or 0 <= index with from_0; IndexError.
void require_places(const Input& index, int64_t length, bool from_0 = false);

// True if low <= x <= high everywhere (above: low < x); NaN is not inside. The caller raises the error, also
// while it is recorded: a replay in which the result is false ends there, and the step runs eagerly.
bool are_inside(const Input& integers, int64_t low, int64_t high);
bool floats_are_inside(const Input& x, double low, double high, bool above = false);

}  // namespace ranvier::bind
