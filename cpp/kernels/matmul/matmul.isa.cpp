// matmul's inner loops, compiled once for each ISA level: the choice of the code for a tile, by its size, and
// the table of the level's functions. The loops themselves are in the headers that are included here.
#include "kernels/matmul/matmul.h"

#include "kernels/matmul/blocking.h"
#include "kernels/matmul/dot.h"
#include "kernels/matmul/few_rows.h"
#include "kernels/matmul/gemv.h"
#include "kernels/matmul/microkernel.h"
#include "kernels/matmul/narrow.h"
#include "kernels/matmul/packing.h"
#include "kernels/matmul/small.h"
#include "kernels/matmul/stack.h"

namespace ranvier::RANVIER_ISA {

template <class T>
using Tile = void (*)(const MatmulTile<T>&);

// One vector of float64, which is rare, is computed by halves of a tile's rows: they have enough chains, and
// tiles of more rows are not worth their size.
template <class T>
constexpr bool kHalves = kManyRegisters && sizeof(T) == sizeof(double);

// The rows [begin, end) of a tile.
template <class T>
static MatmulTile<T> rows_of(MatmulTile<T> t, int begin, int end) {
  t.rows = end - begin;
  t.a += begin * t.rs_a, t.c += begin * t.rs_c;
  if (t.saved) t.saved += begin * t.rs_s;
  if (t.bias_column) t.bias_column += begin;
  if (t.norm_column) t.norm_column += begin;
  return t;
}

// The tile of kRows rows and 1, 2, 4 or 8 vectors; null where no tile is called so.
template <class T, int kRows, int kVectors>
static constexpr Tile<T> tile_or_null() {
  if constexpr (kVectors <= tile_vectors<T>(kRows) && !(kHalves<T> && kVectors == 1 && kRows > kTileRows / 2))
    return tile<T, kRows, kVectors>;
  else
    return nullptr;
}

// Runs a tile of any number of rows, 1 + R, by the code for this number and the fewest vectors of columns.
template <class T, int... R>
static void run_tile(const MatmulTile<T>& t, std::integer_sequence<int, R...>) {
  static constexpr Tile<T> tiles[][4] = {{tile_or_null<T, R + 1, 1>(), tile_or_null<T, R + 1, 2>(),
                                          tile_or_null<T, R + 1, 4>(), tile_or_null<T, R + 1, 8>()}...};
  constexpr int L = lanes<T>;
  tiles[t.rows - 1][(t.columns > L) + (t.columns > 2 * L) + (t.columns > 4 * L)](t);
}

// Runs a tile that also packs the b that it reads, for the tiles of other rows.
template <class T, int... R>
static void run_packing_tile(const MatmulTile<T>& t, std::integer_sequence<int, R...>) {
  static constexpr Tile<T> tiles[] = {tile<T, kPackingRows<T> + R, kPackingVectors, Meanwhile::pack>...};
  tiles[t.rows - kPackingRows<T>](t);
}

// True if the tile has three vectors of columns and a number of rows for which there is such code.
[[maybe_unused]] RANVIER_INLINE bool is_three(const MatmulTile<float>& t) {
  constexpr int L = lanes<float>;
  return t.columns > 2 * L && t.columns <= 3 * L && (t.rows == kRowsOfThree || t.rows == kRowsOfThree - 1);
}

#if RANVIER_HAS_HALF
// Runs a tile whose last vector of columns is at most half in use.
template <int... R>
static void run_half_tile(const MatmulTile<float>& t, std::integer_sequence<int, R...>) {
  static constexpr Tile<float> tiles[][2] = {
      {half_tile<kHalfRows + R, false>, half_tile<kHalfRows + R, true>}...};
  tiles[t.rows - kHalfRows][t.columns > lanes<float>](t);
}
#endif

// One product for each element, any number of columns: a row of c is stored from its begin to its end. Tiles
// would store pieces of many rows in turn, which takes longer.
template <class T>
static void outer(const MatmulTile<T>& t) {
  constexpr int L = lanes<T>;
  const int64_t last = t.columns - L, rs_a = t.rs_a, rs_c = t.rs_c;
  const T *a = t.a, *b = t.b;
  T* c = t.c;
  for (int64_t more = t.more; more >= 0; --more, a += t.step_a, b += t.step_b, c += t.step_c)
    for (int i = 0; i < t.rows; ++i) {
      const vec<T> x = broadcast<T>(a[i * rs_a]);
      T* to = c + i * rs_c;
      for (int64_t j = 0; j < last; j += L) store(to + j, fma(x, load(b + j), vec<T>{}));
      store(to + last, fma(x, load(b + last), vec<T>{}));
    }
}

// MatmulKernels::tile. The first code that fits: an outer product, a tile that packs, few columns, three
// vectors, a last half vector, tiles that prefetch meanwhile, halves of the rows; else the code for all
// sizes.
template <class T>
static void run_tile(const MatmulTile<T>& t) {
  if (t.k == 1 && t.columns >= 2 * lanes<T> && t.cs_c == 1 && !t.accumulate && !t.pack_to && !is_finished(t))
    return outer(t);
  if constexpr (kPacks<T>)
    if (t.pack_to) {
      constexpr int kMost = kOddTiles ? kRowsOfThree : kTileRows;
      return run_packing_tile<T>(t, std::make_integer_sequence<int, kMost - kPackingRows<T> + 1>());
    }
#if RANVIER_HAS_NARROW
  if constexpr (sizeof(T) == sizeof(float))
    if (is_narrow(t) && !t.tree)
      return run_narrow(t, std::make_integer_sequence<int, kWidestNarrow - kNarrowest + 1>());
#endif
#if RANVIER_HAS_NARROW && RANVIER_VECTOR_BYTES == 32
  if constexpr (sizeof(T) == sizeof(float))
    if (t.columns <= lanes<T> && !t.tree && is_run_of_rows(t, kOneRows)) return one_vector(t);
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
    if (last > 0 && last <= lanes<T> / 2 && t.rows >= kHalfRows && t.cs_c == 1 && !t.tree && !is_finished(t))
      return run_half_tile(t, std::make_integer_sequence<int, kTileRows - kHalfRows + 1>());
  }
#endif
  if constexpr (RANVIER_HAS_FMA && sizeof(T) == sizeof(float))
    if (t.fetch_a && t.rows == kTileRows && t.columns <= 2 * lanes<T>) {
      if (t.columns > lanes<T>) return tile<T, kTileRows, 2, Meanwhile::fetch_a>(t);
      if constexpr (kMasks) return tile<T, kTileRows, 1, Meanwhile::fetch_a>(t);
    }
  if constexpr (kFetchesPacked<T>)
    if (t.rows == kTileRows && t.columns > lanes<T> && t.rs_a == 1 && t.cs_a == kTileRows)
      return tile<T, kTileRows, kTileVectors, Meanwhile::fetch_packed>(t);
  if constexpr (kHalves<T>)
    if (t.columns <= lanes<T> && t.rows > kTileRows / 2) {
      run_tile<T>(rows_of(t, 0, kTileRows / 2), std::make_integer_sequence<int, kTileRows>());
      return run_tile<T>(rows_of(t, kTileRows / 2, t.rows), std::make_integer_sequence<int, kTileRows>());
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

// In the order of the members: pairs, mr, packing_rows, packing_columns, lanes, rows_of_three, narrow, nr,
// kc, tile, dots, few, gemv, stack, small, gemv_columns, pack, pack_rows, factors, step, tiles.
template <class T>
static constexpr MatmulKernels<T> kernels = {false,
                                             kTileRows,
                                             kPackingRows<T>,
                                             kPacks<T> ? kPackingVectors* lanes<T> : 0,
                                             lanes<T>,
                                             kOddTiles && sizeof(T) == sizeof(float) ? kRowsOfThree : 0,
                                             RANVIER_HAS_NARROW && sizeof(T) == sizeof(float),
                                             widest<T>,
                                             kSumBlock,
                                             run_tile<T>,
                                             run_dots<T>,
                                             run_few<T>,
                                             run_gemv<T>,
                                             run_stack<T>,
                                             small_or_null<T>(),
                                             gemv_columns<T>,
                                             pack<T>,
                                             pack<T>,
                                             1,
                                             1,
                                             false};
RANVIER_DEFINE_TABLES(MatmulKernels, matmul_kernels, kernels);

}  // namespace ranvier::RANVIER_ISA
