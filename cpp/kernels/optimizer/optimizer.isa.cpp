// optimizer's loops, compiled once for each ISA level.
#include "kernels/optimizer/optimizer.h"

#include "kernels/optimizer/norms.h"
#include "kernels/optimizer/rules.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static constexpr OptimizerKernels<T> kernels_of = {update<Sgd, T, SgdNumbers<T>>,
                                                   update<Rmsprop, T, RmspropNumbers<T>>,
                                                   update<Adam, T, AdamNumbers<T>>,
                                                   norm_of<SumOfSquares, T>,
                                                   norm_of<SumOfMagnitudes, T>,
                                                   norm_of<LargestMagnitude, T>,
                                                   scale<T>,
                                                   clamp<T>};

extern const OptimizerKernels<float> optimizer_kernels_float = kernels_of<float>;
extern const OptimizerKernels<double> optimizer_kernels_double = kernels_of<double>;

}  // namespace ranvier::RANVIER_ISA
