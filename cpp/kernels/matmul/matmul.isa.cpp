// matmul's inner loops, compiled once for each ISA level. run_tile() chooses the code for a tile by its size;
// table() makes MatmulKernels, the table of the level's functions. The loops are in the headers included
// here.
#include "kernels/matmul/blocking.h"
#include "kernels/matmul/dot.h"
#include "kernels/matmul/few_rows.h"
#include "kernels/matmul/gemv.h"
#include "kernels/matmul/microkernel.h"
#include "kernels/matmul/narrow.h"
#include "kernels/matmul/packing.h"
#include "kernels/matmul/small.h"
#include "kernels/matmul/stack.h"
#include "kernels/matmul/tile.h"

namespace ranvier::RANVIER_ISA {

template <class T>
using Tile = void (*)(const MatmulTile<T>&);

// The code for a tile of kRows rows and 1, 2, 4 or 8 vectors; null for sizes that are not used.
template <class T, int kRows, int kVectors>
static constexpr Tile<T> tile_or_null() {
  if constexpr (kVectors <= tile_vectors<T>(kRows))
    return tile<T, kRows, kVectors>;
  else
    return nullptr;
}

// Runs a tile by the code for its number of rows (the values R + 1) and the fewest vectors that hold its
// columns.
template <class T, int... R>
static void run_tile(const MatmulTile<T>& t, std::integer_sequence<int, R...>) {
  static constexpr Tile<T> tiles[][4] = {{tile_or_null<T, R + 1, 1>(), tile_or_null<T, R + 1, 2>(),
                                          tile_or_null<T, R + 1, 4>(), tile_or_null<T, R + 1, 8>()}...};
  constexpr int L = lanes<T>;
  const int vectors_index = (t.columns > L) + (t.columns > 2 * L) + (t.columns > 4 * L);  // of 1, 2, 4, 8
  tiles[t.rows - 1][vectors_index](t);
}

// Runs a tile that also packs the panel of b that it reads, for the tiles of the panels of a after it.
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

// An outer product (k = 1) with any number of columns, two vectors or more: each row of c is stored from its
// begin to its end. Tiles would store pieces of many rows in turn, which takes longer.
template <class T>
static void outer(const MatmulTile<T>& t) {
  constexpr int L = lanes<T>;
  const int64_t last = t.columns - L;
  const int64_t rs_a = t.rs_a;
  const int64_t rs_c = t.rs_c;
  const T* a = t.a;
  const T* b = t.b;
  T* c = t.c;
  for (int more = t.more; more >= 0; --more, a += t.step_a, b += t.step_b, c += t.step_c)
    for (int i = 0; i < t.rows; ++i) {
      const vec<T> x = broadcast<T>(a[i * rs_a]);
      T* to = c + i * rs_c;
      for (int64_t j = 0; j < last; j += L) store(to + j, fma(x, load(b + j), vec<T>{}));
      store(to + last, fma(x, load(b + last), vec<T>{}));
    }
}

// MatmulKernels::tile. The first code that fits runs the tile: an outer product, a tile that packs b, few
// columns, three vectors of columns, a last half vector, tiles that prefetch a; otherwise the general code.
template <class T>
static void run_tile(const MatmulTile<T>& t) {
  if (t.k == 1 && t.columns >= 2 * lanes<T> && t.cs_c == 1 && !t.accumulate && !t.pack_to &&
      t.after.is_empty())
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
      if (t.fetch.a) return tile<T, kRowsOfThree, 3, Meanwhile::fetch_run>(t);
      if (t.fetch.b) return tile<T, kRowsOfThree, 3, Meanwhile::fetch>(t);
      return tile<T, kRowsOfThree, 3>(t);
    }
  }
#if RANVIER_HAS_HALF
  if constexpr (sizeof(T) == sizeof(float)) {
    const int last = t.columns < 2 * lanes<T> ? t.columns % lanes<T> : 0;  // columns that are no whole vector
    if (last > 0 && last <= lanes<T> / 2 && t.rows >= kHalfRows && t.cs_c == 1 && !t.tree &&
        t.after.is_empty())
      return run_half_tile(t, std::make_integer_sequence<int, kTileRows - kHalfRows + 1>());
  }
#endif
  if constexpr (kOddTiles && sizeof(T) == sizeof(float))
    if (t.fetch.a && t.columns > lanes<T> && t.columns <= 2 * lanes<T>) {
      if (t.rows == kTileRows - 1) return tile<T, kTileRows - 1, 2, Meanwhile::fetch_run>(t);
      if (t.rows == kTileRows - 2) return tile<T, kTileRows - 2, 2, Meanwhile::fetch_run>(t);
    }
  if constexpr (RANVIER_HAS_FMA && sizeof(T) == sizeof(float))
    if (t.fetch.a && t.rows == kTileRows && t.columns <= 2 * lanes<T>) {
      if (t.columns > lanes<T>) return tile<T, kTileRows, 2, Meanwhile::fetch_run>(t);
      if constexpr (kMasks) return tile<T, kTileRows, 1, Meanwhile::fetch_run>(t);
    }
  if constexpr (kFetchesPacked<T>)
    if (t.rows == kTileRows && t.columns > lanes<T> && t.rs_a == 1 && t.cs_a == kTileRows)
      return tile<T, kTileRows, kTileVectors, Meanwhile::fetch_packed>(t);
  run_tile<T>(t, std::make_integer_sequence<int, kTileRows>());
}

// MatmulKernels::nr: the most columns of a tile of this many rows.
template <class T>
static int widest(int rows) {
  return tile_vectors<T>(rows) * lanes<T>;
}

template <class T>
static constexpr MatmulKernels<T> table() {
  MatmulKernels<T> t{};
  t.mr = kTileRows;
  t.lanes = lanes<T>;
  t.nr = widest<T>;
  t.max_chain = kMaxChain;
  t.packing_rows = kPackingRows<T>;
  t.packing_columns = kPacks<T> ? kPackingVectors * lanes<T> : 0;
  t.rows_of_three = kOddTiles && sizeof(T) == sizeof(float) ? kRowsOfThree : 0;
  t.narrow = RANVIER_HAS_NARROW && sizeof(T) == sizeof(float);
  t.micro_kernel = run_tile<T>;
  t.dots = run_dots<T>;
  t.few_rows = run_few_rows<T>;
  t.stack = run_stack<T>;
  t.far_rows = kFarRows<T>;
  t.gemv = run_gemv<T>;
  t.gemv_columns = gemv_columns<T>;
  if constexpr (kFrequent<T>) t.small = run_small<T>;
  t.pack = pack<T>;
  t.pack_rows = pack<T>;
  return t;
}
template <class T>
static constexpr MatmulKernels<T> kernels = table<T>();
RANVIER_DEFINE_TABLES(MatmulKernels, matmul_kernels, kernels);

}  // namespace ranvier::RANVIER_ISA
