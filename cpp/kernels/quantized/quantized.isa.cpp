// The kernels of products of quantized matrices, compiled once for each ISA level: see tile.h.
#include "kernels/quantized/tile.h"

namespace ranvier::RANVIER_ISA {

// Rows and panels of the largest tile: its sums and a line of codes stay in registers.
constexpr int kRows = RANVIER_VECTOR_REGISTERS == 32 ? 4 : RANVIER_VECTOR_BYTES == 32 ? 2 : 1;
constexpr int kPanels = RANVIER_VECTOR_REGISTERS == 32 && RANVIER_VECTOR_BYTES == 64 ? 2 : 1;

extern const QuantizedKernels quantized_kernels_float = kernels_of<ByteProducts, kRows, kPanels>;

}  // namespace ranvier::RANVIER_ISA
