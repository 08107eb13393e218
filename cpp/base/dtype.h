// The types of elements that arrays may have.
#pragma once

namespace ranvier {

enum class DType { float32, float64, int64, uint8, boolean, int8, int16, uint16, int32, uint32 };

}  // namespace ranvier
