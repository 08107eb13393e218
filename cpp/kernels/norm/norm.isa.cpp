// The inner loops of the normalisations, compiled once for each ISA level.
#include "kernels/norm/columns.h"
#include "kernels/norm/lines.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static constexpr NormKernels<T> norm_table = {moments<T>,     normalize<T>,      sums<T>,
                                              gradient<T>,    column_moments<T>, normalize_rows<T>,
                                              column_sums<T>, gradient_rows<T>,  parameter_sums<T>};

RANVIER_DEFINE_TABLES(NormKernels, norm_kernels, norm_table);

}  // namespace ranvier::RANVIER_ISA
