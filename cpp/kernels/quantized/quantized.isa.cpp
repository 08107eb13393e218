// The kernels of products of quantized matrices, compiled once for each ISA level: tile.h has the loops,
// kernel_of<Products, kind, rows, panels>, where `rows` x `panels` is the largest tile.
#include "kernels/quantized/tile.h"

namespace ranvier::RANVIER_ISA {

// Rows of the largest tile, of one panel: its sums and a line of codes stay in registers. Level v4 has VNNI
// on nearly all processors, so that its tiles here are small, too.
constexpr int kRows = RANVIER_VECTOR_BYTES == 16 ? 1 : 2;
constexpr int kNibbleRows = RANVIER_VECTOR_BYTES == 16 ? 1 : 3;

extern const QuantizedKernels quantized_kernels_float = {
    {kernel_of<ByteProducts, QuantizedKind::int8, kRows, 1>,
     kernel_of<ByteProducts, QuantizedKind::q8_0, kRows, 1>,
     kernel_of<NibbleProducts, QuantizedKind::q4_0, kNibbleRows, 1>}};

}  // namespace ranvier::RANVIER_ISA
