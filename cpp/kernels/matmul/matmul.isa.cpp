// matmul's inner loops, compiled once for each ISA level.
#include "kernels/matmul/matmul.h"

#include "kernels/matmul/blocking.h"
#include "kernels/matmul/microkernel.h"
#include "kernels/matmul/packing.h"

namespace ranvier::RANVIER_ISA {

// tiles[along k][vectors - 1][rows - 1]
template <class T, class Rows>
struct Tiles;
template <class T, int... I>
struct Tiles<T, std::integer_sequence<int, I...>> {
  using Function = void (*)(const MatmulTile<T>&);
  static constexpr Function table[2][kTileVectors][sizeof...(I)] = {
      {{tile<T, I + 1, 1, false>...}, {tile<T, I + 1, 2, false>...}},
      {{tile<T, I + 1, 1, true>...}, {tile<T, I + 1, 2, true>...}}};
};

template <class T>
static void run_tile(const MatmulTile<T>& t) {
  const int vectors = t.columns > lanes<T> ? 2 : 1;
  const bool along_k = t.rs_a != 1;
  Tiles<T, std::make_integer_sequence<int, kTileRows>>::table[along_k][vectors - 1][t.rows - 1](t);
}

extern const MatmulKernels<float> matmul_kernels_float = {kTileRows,           kTileVectors* lanes<float>,
                                                          Blocking<float>::kc, Blocking<float>::mc,
                                                          Blocking<float>::nc, run_tile<float>,
                                                          pack<float>};
extern const MatmulKernels<double> matmul_kernels_double = {kTileRows,
                                                            kTileVectors* lanes<double>,
                                                            Blocking<double>::kc,
                                                            Blocking<double>::mc,
                                                            Blocking<double>::nc,
                                                            run_tile<double>,
                                                            pack<double>};

}  // namespace ranvier::RANVIER_ISA
