// Checks that the elements of an array are in a range, and raises the errors of those that are not. The check
// is a kernel call of its own, so that a recorded step has it, too, and each replay checks its values.
#pragma once
#include "bindings/binder/array_args.h"

namespace ranvier::bind {

// index: arrays of int64. All three raise an IndexError (Fault::index).
// Classes of x (n, c, ...): each is `ignored`, or 0 <= index < c.
void require_classes(const Input& x, const Input& index, int64_t ignored);
// Rows of a table: 0 <= index < rows.
void require_rows(const Input& index, int64_t rows);
// Places along an axis: -length <= index < length; from_0: 0 <= index < length.
void require_places(const Input& index, int64_t length, bool from_0 = false);

// True if low <= x <= high for all elements (above: low < x); NaN is not inside. If false, the caller must
// raise an error. In a recorded step, a replay in which the result is false ends there, and the step runs
// eagerly to raise the error.
bool are_inside(const Input& integers, int64_t low, int64_t high);
bool are_zero(const Output& integers);  // of int64
bool floats_are_inside(const Input& x, double low, double high, bool above = false);

}  // namespace ranvier::bind
