// Arguments that are matrices of 8 or 4 bits.
#pragma once
#include "bindings/binder/array_args.h"
#include "bindings/binder/params.h"
#include "kernels/quantized/quantized.h"

namespace ranvier::bind {

using Codes = Exactly<DType::uint8>;
using MaybeScale = MaybeExactly<DType::float32>;

// The panels, or a copy in C order, which a replay would not make again.
Input in_order(const Input& panels);

// The matrix (n, k) whose panels these are: their shapes are checked. may_be_rows: the panels may have one
// row each.
QuantizedMatrix matrix_of(const Name& kind, const Input& panels, const Input& scale, int64_t n, int64_t k,
                          bool may_be_rows = false);

}  // namespace ranvier::bind
