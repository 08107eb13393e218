// The loops of SmallMatrixKernels (small_matrices.h), compiled once for each ISA level.
#include "kernels/small_matrices/determinants.h"
#include "kernels/small_matrices/eigenvectors.h"
#include "kernels/small_matrices/reflections.h"
#include "kernels/small_matrices/triangles.h"

namespace ranvier::RANVIER_ISA {

template <class T>
static constexpr SmallMatrixKernels<T> small_matrix_table = {
    lanes<T>,
    determinants_of_few<2, T>,
    determinants_of_few<3, T>,
    {factor_cholesky<T>, solve_general<T>, solve_triangle<T>, determinant<T>, log_determinant<T>,
     factor_lu<T>, factor_qr<T>, eigenvectors<T>}};

RANVIER_DEFINE_TABLES(SmallMatrixKernels, small_matrix_kernels, small_matrix_table);

}  // namespace ranvier::RANVIER_ISA
