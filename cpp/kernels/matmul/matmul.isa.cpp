// matmul's inner loops, compiled once for each ISA level.
#include "kernels/matmul/matmul.h"

#include "kernels/matmul/blocking.h"
#include "kernels/matmul/dot.h"
#include "kernels/matmul/gemv.h"
#include "kernels/matmul/microkernel.h"
#include "kernels/matmul/narrow.h"
#include "kernels/matmul/packing.h"
#include "kernels/matmul/small.h"
#include "kernels/matmul/stack.h"

namespace ranvier::RANVIER_ISA {

template <class T>
using Tile = void (*)(const MatmulTile<T>&);

// The tile of kRows rows and 1, 2, 4 or 8 vectors; null where the registers do not hold it.
template <class T, int kRows, int kVectors>
static constexpr Tile<T> tile_or_null() {
  if constexpr (kVectors <= tile_vectors<T>(kRows))
    return tile<T, kRows, kVectors>;
  else
    return nullptr;
}

template <class T, int... R>
static void run_tile(const MatmulTile<T>& t, std::integer_sequence<int, R...>) {
  static constexpr Tile<T> tiles[][4] = {{tile_or_null<T, R + 1, 1>(), tile_or_null<T, R + 1, 2>(),
                                          tile_or_null<T, R + 1, 4>(), tile_or_null<T, R + 1, 8>()}...};
  constexpr int L = lanes<T>;
  tiles[t.rows - 1][(t.columns > L) + (t.columns > 2 * L) + (t.columns > 4 * L)](t);
}

template <class T, int... R>
static void run_packing_tile(const MatmulTile<T>& t, std::integer_sequence<int, R...>) {
  static constexpr Tile<T> tiles[] = {tile<T, kPackingRows + R, kPackingVectors, Meanwhile::pack>...};
  tiles[t.rows - kPackingRows](t);
}

[[maybe_unused]] RANVIER_INLINE bool is_three(const MatmulTile<float>& t) {
  constexpr int L = lanes<float>;
  return t.columns > 2 * L && t.columns <= 3 * L && (t.rows == kRowsOfThree || t.rows == kRowsOfThree - 1);
}

#if RANVIER_HAS_HALF
template <int... R>
static void run_half_tile(const MatmulTile<float>& t, std::integer_sequence<int, R...>) {
  static constexpr Tile<float> tiles[][2] = {
      {half_tile<kHalfRows + R, false>, half_tile<kHalfRows + R, true>}...};
  tiles[t.rows - kHalfRows][t.columns > lanes<float>](t);
}
#endif

template <class T>
static void run_tile(const MatmulTile<T>& t) {
  if constexpr (sizeof(T) == sizeof(float))
    if (t.pack_to) {
      constexpr int kMost = kOddTiles ? kRowsOfThree : kTileRows;
      return run_packing_tile<T>(t, std::make_integer_sequence<int, kMost - kPackingRows + 1>());
    }
#if RANVIER_HAS_NARROW
  if constexpr (sizeof(T) == sizeof(float))
    if (is_narrow(t)) return run_narrow(t, std::make_integer_sequence<int, kWidestNarrow - kNarrowest + 1>());
#endif
#if RANVIER_HAS_NARROW && RANVIER_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == sizeof(float))
    if (t.columns <= lanes<T> && is_run_of_rows(t, kOneRows)) return one_vector(t);
#endif
  if constexpr (kOddTiles && sizeof(T) == sizeof(float)) {
    if (is_three(t)) {
      if (t.rows < kRowsOfThree) return tile<T, kRowsOfThree - 1, 3, Meanwhile::fetch>(t);
      if (t.fetch_a) return tile<T, kRowsOfThree, 3, Meanwhile::fetch_a>(t);
      return t.fetch ? tile<T, kRowsOfThree, 3, Meanwhile::fetch>(t) : tile<T, kRowsOfThree, 3>(t);
    }
  }
#if RANVIER_HAS_HALF
  if constexpr (sizeof(T) == sizeof(float)) {
    const int last = t.columns < 2 * lanes<T> ? t.columns % lanes<T> : 0;  // columns that are no whole vector
    if (last > 0 && last <= lanes<T> / 2 && t.rows >= kHalfRows && t.cs_c == 1 && !is_finished(t))
      return run_half_tile(t, std::make_integer_sequence<int, kTileRows - kHalfRows + 1>());
  }
#endif
  if constexpr (RANVIER_HAS_FMA)
    if (t.fetch_a && t.rows == kTileRows && t.columns <= 2 * lanes<T>) {
      if (t.columns > lanes<T>) return tile<T, kTileRows, 2, Meanwhile::fetch_a>(t);
      if constexpr (kMasks) return tile<T, kTileRows, 1, Meanwhile::fetch_a>(t);
    }
  run_tile<T>(t, std::make_integer_sequence<int, kTileRows>());
}

template <class T>
static int widest(int rows) {
  return tile_vectors<T>(rows) * lanes<T>;
}

// Without FMA, and for float64, which are rare, the code is not worth its size.
template <class T>
static constexpr auto small_or_null() -> decltype(MatmulKernels<T>::small) {
  if constexpr (RANVIER_HAS_FMA && sizeof(T) == sizeof(float))
    return run_small<T>;
  else
    return nullptr;
}

template <class T>
static constexpr MatmulKernels<T> kernels = {kTileRows,
                                             kPackingRows,
                                             kPackingVectors* lanes<T>,
                                             lanes<T>,
                                             kOddTiles && sizeof(T) == sizeof(float) ? kRowsOfThree : 0,
                                             RANVIER_HAS_NARROW && sizeof(T) == sizeof(float),
                                             widest<T>,
                                             kSumBlock,
                                             run_tile<T>,
                                             run_dots<T>,
                                             run_gemv<T>,
                                             run_stack<T>,
                                             small_or_null<T>(),
                                             gemv_columns<T>,
                                             pack<T>};
RANVIER_DEFINE_TABLES(MatmulKernels, matmul_kernels, kernels);

}  // namespace ranvier::RANVIER_ISA
