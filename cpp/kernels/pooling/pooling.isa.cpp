// The table of the pooling loops (PoolingKernels in pooling.h), compiled once for each ISA level. The loops
// are in the headers included here; offsets of maxima in their windows are bytes, or int64 for large windows.
#include "kernels/pooling/pooling.h"

#include "kernels/pooling/avg_backward.h"
#include "kernels/pooling/avg_forward.h"
#include "kernels/pooling/max_backward.h"
#include "kernels/pooling/max_forward.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static constexpr PoolingKernels<T> kernels_of = {
    {max_pool2d_forward<T, uint8_t>, max_pool2d_backward<T, uint8_t>},
    {max_pool2d_forward<T, int64_t>, max_pool2d_backward<T, int64_t>},
    {avg_pool2d_forward<T>, avg_pool2d_backward<T>}};

extern const PoolingKernels<float> pooling_kernels_float = kernels_of<float>;
extern const PoolingKernels<double> pooling_kernels_double = kernels_of<double>;

}  // namespace ranvier::RANVIER_ISA
