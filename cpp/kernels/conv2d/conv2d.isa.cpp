// conv2d's inner loops, compiled once for each ISA level.
#include "kernels/conv2d/microkernel.h"
#include "kernels/conv2d/packing.h"
#include "kernels/matmul/packing.h"

namespace ranvier::RANVIER_ISA {

// tiles[lanewise][vectors - 1][rows - 1]
template <class T, class Rows>
struct ConvTiles;
template <class T, int... I>
struct ConvTiles<T, std::integer_sequence<int, I...>> {
  using Function = void (*)(const ConvTile<T>&);
  static constexpr Function table[2][kConvVectors][sizeof...(I)] = {
      {{tile<T, I + 1, 1, false>...}, {tile<T, I + 1, 2, false>...}},
      {{tile<T, I + 1, 1, true>...}, {tile<T, I + 1, 2, true>...}}};
};

template <class T>
static void run_tile(const ConvTile<T>& t) {
  const int vectors = t.columns > lanes<T> ? 2 : 1;
  ConvTiles<T, std::make_integer_sequence<int, kConvRows>>::table[t.lanewise][vectors - 1][t.rows - 1](t);
}

extern const ConvKernels<float> conv_kernels_float = {
    kConvRows, lanes<float>, run_tile<float>, pack<float>, pack_panel<float>, combine<float>, sum<float>};
extern const ConvKernels<double> conv_kernels_double = {kConvRows,    lanes<double>,      run_tile<double>,
                                                        pack<double>, pack_panel<double>, combine<double>,
                                                        sum<double>};

}  // namespace ranvier::RANVIER_ISA
