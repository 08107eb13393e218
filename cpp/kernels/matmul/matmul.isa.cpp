// matmul's inner loops, compiled once for each ISA level.
#include "kernels/matmul/matmul.h"

#include "kernels/matmul/blocking.h"
#include "kernels/matmul/dot.h"
#include "kernels/matmul/microkernel.h"
#include "kernels/matmul/packing.h"

namespace ranvier::RANVIER_ISA {

// Tiles of kRows rows, by vectors - 1.
template <class T, int kRows, bool kAlongK, int... V>
static void run_rows(const MatmulTile<T>& t, int vectors, std::integer_sequence<int, V...>) {
  static constexpr void (*table[])(const MatmulTile<T>&) = {tile<T, kRows, V + 1, kAlongK>...};
  table[vectors - 1](t);
}

// The tile of t.rows rows: a row of tests, which the compiler turns into a jump table.
template <class T, bool kAlongK, int... R>
static void run_tile(const MatmulTile<T>& t, int vectors, std::integer_sequence<int, R...>) {
  (void)((t.rows == R + 1 &&
          (run_rows<T, R + 1, kAlongK>(t, vectors, std::make_integer_sequence<int, tile_vectors(R + 1)>()),
           true)) ||
         ...);
}

template <class T>
static void run_tile(const MatmulTile<T>& t) {
  const int vectors = (t.columns + lanes<T> - 1) / lanes<T>;
  constexpr std::make_integer_sequence<int, kTileRows> rows;
  t.rs_a == 1 ? run_tile<T, false>(t, vectors, rows) : run_tile<T, true>(t, vectors, rows);
}

template <class T>
static int widest(int rows) {
  return tile_vectors(rows) * lanes<T>;
}

template <class T>
static constexpr MatmulKernels<T> kernels = {kTileRows,       lanes<T>,        widest<T>,
                                             Blocking<T>::kc, Blocking<T>::mc, Blocking<T>::nc,
                                             run_tile<T>,     run_dots<T>,     pack<T>};
extern const MatmulKernels<float> matmul_kernels_float = kernels<float>;
extern const MatmulKernels<double> matmul_kernels_double = kernels<double>;

}  // namespace ranvier::RANVIER_ISA
