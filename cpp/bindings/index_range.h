// Indices that must be in their range: the check as a separate call, and the errors of those that are not.
#pragma once
#include "bindings/array_args.h"
#include "kernels/index/index_range.h"

namespace ranvier::bind {

// Classes of x (n, c, ...): 0 <= index < c, or `ignored`; ValueError.
IndexRange class_range(const Input& x, const Input& index, int64_t ignored);
// Rows of a table: 0 <= index < rows; IndexError.
IndexRange row_range(const Input& index, int64_t rows);
// Places along an axis: -length <= index < length, or 0 <= index with from_0; IndexError.
IndexRange axis_range(const Input& index, int64_t length, bool from_0 = false);

void require_range(IndexRange call);  // runs the check, and raises what it finds

// The error of a call that found an index outside its range.
[[noreturn]] void fail_range(const IndexRange& call);

}  // namespace ranvier::bind
