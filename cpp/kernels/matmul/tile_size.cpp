// Chooses the size of the tiles in which a product is computed: the rows of a, and two, three or four vectors
// of columns of b. Each size is judged by how many chains it needs in all: here a chain is the sums in one
// register (one row, one vector of columns), and fewer chains take less time.
#include <algorithm>
#include <cstdlib>

#include "base/integers.h"
#include "kernels/matmul/plan.h"

namespace ranvier {
namespace {

// The number of chains of all tiles of c: m rows by `vectors` vectors of columns, in tiles of rows x width.
// A smaller tile counts as kLeastChains, since fewer chains wait for the latency of FMAs.
int64_t chains(int64_t m, int64_t rows, int64_t vectors, int64_t width) {
  const auto panel = [=](int64_t rows) {
    const auto tile = [=](int64_t w) {
      const bool exists = rows > 0 && w > 0;
      return exists ? std::max(rows * w, kLeastChains) : 0;
    };
    const int64_t whole = vectors / width;
    const int64_t rest = vectors % width;
    if (width == 3 && rest == 1) return (whole - 1) * tile(3) + 2 * tile(2);
    return whole * tile(width) + tile(rest);
  };
  return m / rows * panel(rows) + panel(m % rows);
}

}  // namespace

// Tiles of four vectors for few products along k, where the columns are a multiple of four vectors: half as
// many panels of b read a, and c is stored in longer runs. Otherwise tiles of three vectors where the level
// has them (few registers), unless tiles of two have clearly fewer chains. Fewer than three or exactly four
// vectors of columns fit tiles of two.
template <class T>
TileSize MatmulPlan<T>::tile_of(const Operands<T>& o) const {
  const auto rows_of = [&](int most) {
    if (o.m <= most) return std::max(static_cast<int>(o.m), 1);
    const int64_t panels = ceil_div(o.m, most);
    return static_cast<int>(ceil_div(o.m, panels));
  };
  const int rows = rows_of(kernels_.mr);
  const int columns = kernels_.nr(rows);
  const int of_three = kernels_.rows_of_three;
  const TileSize usual = {false, kernels_.mr, rows, columns};
  const int64_t vectors = ceil_div(o.n, kernels_.lanes);
  if (is_outer(o)) return {false, kernels_.mr, rows, static_cast<int>(o.n)};
  const bool in_place = o.cs_b == 1 && o.cs_c == 1 && o.k * std::abs(o.rs_b) * kSize <= near_b();
  if (kernels_.nr(kRowsOfFour) == 4 * kernels_.lanes && kernels_.many_registers() && !kernels_.pairs &&
      plain_ && !prepacked && in_place && o.k <= kShortChains && o.m >= 3 * kernels_.mr && vectors % 4 == 0)
    return {false, kRowsOfFour, rows_of(kRowsOfFour), 4 * kernels_.lanes};
  if (prepacked || of_three == 0 || vectors < 3 || vectors == 4 || o.m < of_three) return usual;
  const TileSize threes = {true, of_three, rows_of(of_three), 3 * kernels_.lanes};
  if (threes.rows != of_three && o.m % threes.rows != 0) return usual;
  const int64_t fewest = chains(o.m, rows, vectors, columns / kernels_.lanes);
  double most = kFewChains;
  const int64_t row = std::abs(o.rs_b) * kSize;
  if (o.cs_b == 1 && std::min(o.k, kernels_.max_chain) * row > near_b())
    most = kPackedChains;
  else if (o.cs_b == 1 && row % kLineBytes == 0)
    most = kAlignedChains;
  if (!plain_) most = std::min(most, kFinishedChains);
  return chains(o.m, threes.rows, vectors, 3) <= most * fewest ? threes : usual;
}

template TileSize MatmulPlan<float>::tile_of(const Operands<float>& o) const;
template TileSize MatmulPlan<double>::tile_of(const Operands<double>& o) const;

}  // namespace ranvier
