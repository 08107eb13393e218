// conv2d's inner loops, compiled once for each ISA level.
#include "kernels/conv2d/dots.h"
#include "kernels/conv2d/grouped.h"
#include "kernels/conv2d/microkernel.h"
#include "kernels/conv2d/packing.h"
#include "kernels/matmul/packing.h"

namespace ranvier::RANVIER_ISA {

// tiles[vectors - 1][height]
template <class T, class Heights>
struct ConvTiles;
template <class T, int... I>
struct ConvTiles<T, std::integer_sequence<int, I...>> {
  using Function = void (*)(const ConvTile<T>&);
  static constexpr Function table[kConvVectors][sizeof...(I)] = {{tile<T, kTileRows[0][I], 1>...},
                                                                 {tile<T, kTileRows[1][I], 2>...}};
};

// The rows that make up for a missing height repeat the last one and write nowhere.
template <class T>
static void run_tile(ConvTile<T>& t) {
  const int vectors = t.columns > lanes<T> ? 2 : 1;
  int height = 0;
  while (kTileRows[vectors - 1][height] < t.rows) ++height;
  alignas(64) T nowhere[kConvVectors * lanes<T>];
  for (int i = t.rows; i < kTileRows[vectors - 1][height]; ++i) t.a[i] = t.a[i - 1], t.c[i] = nowhere;
  ConvTiles<T, std::make_integer_sequence<int, kTileHeights>>::table[vectors - 1][height](t);
}

static void end_streams() { stream_end(); }

template <class T>
static constexpr ConvKernels<T> conv_table = {kConvRows,
                                              lanes<T>,
                                              run_tile<T>,
                                              end_streams,
                                              {0, dot_rows(1), dot_rows(2), dot_rows(3), dot_rows(4)},
                                              run_dots<T>,
                                              kGroupedRows,
                                              grouped_or_none<T>(),
                                              pack<T>,
                                              pack_panel<T>,
                                              combine<T>,
                                              sum<T>};
extern const ConvKernels<float> conv_kernels_float = conv_table<float>;
extern const ConvKernels<double> conv_kernels_double = conv_table<double>;

}  // namespace ranvier::RANVIER_ISA
