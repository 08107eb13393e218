// The kernels of products of quantized matrices, compiled once for each ISA level: see tile.h.
#include "kernels/quantized/tile.h"

namespace ranvier::RANVIER_ISA {

// Rows and panels of the largest tile: its sums and a line of codes stay in registers.
constexpr int kRows = RANVIER_VECTOR_REGISTERS == 32 ? 4 : RANVIER_VECTOR_BYTES == 32 ? 2 : 1;
constexpr int kNibbleRows = RANVIER_VECTOR_REGISTERS == 32 ? 4 : RANVIER_VECTOR_BYTES == 32 ? 3 : 1;
constexpr int kPanels = RANVIER_VECTOR_REGISTERS == 32 && RANVIER_VECTOR_BYTES == 64 ? 2 : 1;

extern const QuantizedKernels quantized_kernels_float = {
    {kernel_of<ByteProducts, QuantizedKind::int8, kRows, kPanels>,
     kernel_of<ByteProducts, QuantizedKind::q8_0, kRows, kPanels>,
     kernel_of<NibbleProducts, QuantizedKind::q4_0, kNibbleRows, kPanels>}};

}  // namespace ranvier::RANVIER_ISA
