// optimizer's loops, compiled once for each ISA level.
#include "kernels/optimizer/adam_rules.h"
#include "kernels/optimizer/kernels.h"
#include "kernels/optimizer/norms.h"
#include "kernels/optimizer/penalised.h"
#include "kernels/optimizer/rules.h"
#include "kernels/optimizer/update.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static constexpr OptimizerKernels<T> kernels_of = {update<Sgd, T, SgdNumbers<T>>,
                                                   update<Rmsprop, T, RmspropNumbers<T>>,
                                                   update<Adam, T, AdamNumbers<T>>,
                                                   update<Adagrad, T, AdagradNumbers<T>>,
                                                   update<Adadelta, T, AdadeltaNumbers<T>>,
                                                   update<Adamax, T, AdamNumbers<T>>,
                                                   update<Nadam, T, AdamNumbers<T>>,
                                                   update<Radam, T, AdamNumbers<T>>,
                                                   update<Lion, T, LionNumbers<T>>,
                                                   update<Rprop, T, RpropNumbers<T>>,
                                                   update<Asgd, T, AsgdNumbers<T>>,
                                                   norm_of<SumOfProducts, T>,
                                                   norm_of<SumOfMagnitudes, T>,
                                                   norm_of<LargestMagnitude, T>,
                                                   sum_of_powers<T>,
                                                   dot<T>,
                                                   scale<T>,
                                                   clamp<T>,
                                                   move_towards<T>,
                                                   add_scaled<T>,
                                                   add_penalty<T>,
                                                   penalty<T>};

RANVIER_DEFINE_TABLES(OptimizerKernels, optimizer_kernels, kernels_of);

}  // namespace ranvier::RANVIER_ISA
