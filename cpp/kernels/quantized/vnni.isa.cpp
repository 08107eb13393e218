// The kernels of quantized.isa.cpp by AVX512_VNNI, whose products of bytes take a third of the instructions:
// kernel_of<Products, kind, rows, panels> of tile.h. Compiled for level v4 alone; quantized.cpp calls them
// where the processor has the instructions.
#if __AVX512VNNI__
#include "kernels/quantized/tile.h"

namespace ranvier::RANVIER_ISA {

extern const QuantizedKernels quantized_vnni = {{kernel_of<BytesByVnni, QuantizedKind::int8, 8, 2>,
                                                 kernel_of<BytesByVnni, QuantizedKind::q8_0, 6, 2>,
                                                 kernel_of<BytesByVnni, QuantizedKind::q4_0, 6, 2>}};

}  // namespace ranvier::RANVIER_ISA
#endif
