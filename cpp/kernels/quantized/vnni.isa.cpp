// The same by AVX512_VNNI, whose products of bytes take a third of the instructions. Compiled for level v4
// alone.
#if RANVIER_VNNI
#include "kernels/quantized/tile.h"

namespace ranvier::RANVIER_ISA {

extern const QuantizedKernels quantized_vnni = kernels_of<ByteProducts, 6, 2>;

}  // namespace ranvier::RANVIER_ISA
#endif
