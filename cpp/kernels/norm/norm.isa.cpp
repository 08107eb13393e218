// The inner loops of the normalisations, compiled once for each ISA level.
#include "kernels/norm/columns.h"
#include "kernels/norm/lines.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static constexpr NormKernels<T> norm_table = {moments<T>,     normalize<T>,      sums<T>,
                                              gradient<T>,    column_moments<T>, normalize_rows<T>,
                                              column_sums<T>, gradient_rows<T>,  parameter_sums<T>};

extern const NormKernels<float> norm_kernels_float = norm_table<float>;
extern const NormKernels<double> norm_kernels_double = norm_table<double>;

}  // namespace ranvier::RANVIER_ISA
