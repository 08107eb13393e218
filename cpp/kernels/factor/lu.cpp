// lu (factor.h): panels of columns are transposed, so that the loops run along contiguous columns, and
// factored by one thread. Then each strip of the other columns exchanges its rows, and to the right of the
// panel its rows of U are solved and their share is subtracted from the rows below.
#include "base/carve.h"
#include "kernels/factor/factor.h"
#include "kernels/factor/matrices.h"

namespace ranvier {
namespace {

template <class T>
struct LuMemory {
  int64_t rs;  // from row to row of the copy
  T* copy;
  Panel<T> panel;
  int32_t* exchanged;  // of the rows of the panel, counted from its first row
  T* rows_of_u;        // of one strip, of this thread
  size_t bytes;        // of one thread's share

  // threads share `copy`; each has its own rows_of_u in its share of the memory.
  LuMemory(int64_t m, int64_t n, void* base, int thread) {
    Carver carver(base);
    rs = padded<T>(n, factor_kernels<T>().strip);
    copy = carver.take<T>(m * rs);
    panel.ld = round_up(m, kPanelPadding) + 2 * kPanelPadding;
    panel.line = carver.take<T>(kPanel * panel.ld);
    exchanged = carver.take<int32_t>(kPanel);
    rows_of_u = carver.take<T>(kPanel * kMostStrip);
    bytes = carver.used();
    if (base) rows_of_u += int64_t(bytes / sizeof(T)) * thread;
  }
};

template <class T>
struct Elimination {
  const OpenTeam& team;
  const FactorKernels<T>& kernels;
  const LuMemory<T>& memory;
  int64_t m, n;

  // Factors the columns [begin, begin + columns) of the rows from `begin` on.
  void factor_panel(int64_t begin, int columns) const {
    Panel<T> panel = memory.panel;
    panel.rows = m - begin;
    panel.columns = columns;
    T* from = memory.copy + begin * memory.rs + begin;
    copy_matrix<T>(columns, panel.rows, from, 1, memory.rs, panel.line, panel.ld);
    for (int j = 0; j < columns; ++j) std::fill_n(panel.column(j) + panel.rows, panel.ld - panel.rows, T(0));
    kernels.lu(panel, memory.exchanged);
    copy_matrix<T>(panel.rows, columns, panel.line, 1, panel.ld, from, memory.rs);
  }

  void exchange(int64_t begin, int64_t rows, int64_t column, int64_t columns) const {
    for (int64_t i = 0; i < rows; ++i) {
      T* row = memory.copy + (begin + i) * memory.rs + column;
      T* other = memory.copy + (begin + memory.exchanged[i]) * memory.rs + column;
      if (row != other) std::swap_ranges(row, row + columns, other);
    }
  }

  // A strip of columns to the right of the panel.
  void follow(int64_t begin, int64_t rows, int64_t column, int64_t columns) const {
    const int64_t rs = memory.rs;
    exchange(begin, rows, column, columns);
    const T* square = memory.copy + begin * rs + begin;
    T* y = memory.copy + begin * rs + column;
    kernels.substitute({rows, columns, square, rs, 1, y, rs, true});
    for (int64_t i = 0; i < rows; ++i) std::copy_n(y + i * rs, columns, memory.rows_of_u + i * columns);
    kernels.subtract({m - begin - rows, columns, rows, square + rows * rs, rs, 1, memory.rows_of_u, columns,
                      y + rows * rs, rs});
  }

  void run(int32_t* pivots) const {
    const int64_t size = std::min(m, n);
    for (int64_t begin = 0; begin < size; begin += kPanel) {
      const int64_t columns = std::min(kPanel, size - begin);
      if (team.index() == 0) factor_panel(begin, int(columns));
      team.barrier();
      if (team.index() == 0)
        for (int64_t i = 0; i < columns; ++i) pivots[begin + i] = int32_t(begin + 1) + memory.exchanged[i];
      const int64_t left = ceil_div(begin, kernels.strip);  // strips: begin is a multiple of their width
      const int64_t first = begin + columns;
      const int64_t strips = left + ceil_div(n - first, kernels.strip);
      for (int64_t s = team.share_begin(strips); s < team.share_end(strips) && !interrupted(team); ++s) {
        if (s < left) {
          exchange(begin, columns, s * kernels.strip, kernels.strip);
        } else {
          const int64_t column = first + (s - left) * kernels.strip;
          follow(begin, columns, column, std::min<int64_t>(kernels.strip, n - column));
        }
      }
      team.barrier();
    }
  }
};

}  // namespace

template <class T>
size_t Lu<T>::workspace_bytes(int threads) const {
  return size_t(threads) * LuMemory<T>(lu.shape[lu.ndim - 2], lu.shape[lu.ndim - 1], nullptr, 0).bytes;
}

template <class T>
void Lu<T>::run(const Team& team, void* workspace) const {
  const int64_t m = lu.shape[lu.ndim - 2];
  const int64_t n = lu.shape[lu.ndim - 1];
  const int64_t size = std::min(m, n);
  const int64_t count = matrices_of(lu);
  if (size == 0) {
    std::fill_n(info.data, count, 0);
    return;
  }
  const double cost = kNsPerFactorProduct * double(m) * double(n) * double(size);
  const size_t bytes = LuMemory<T>(m, n, nullptr, 0).bytes;
  for_matrices(team, count, cost, bytes, workspace, [&](const OpenTeam& team, void* base, int64_t index) {
    const LuMemory<T> memory(m, n, base, team.index());
    const T* from = matrix_at(a, index, 2);
    T* to = matrix_at(lu, index, 2);
    const int64_t rs = a.strides[a.ndim - 2];
    const int64_t begin = team.share_begin(m);
    const int64_t rows = team.share_end(m) - begin;
    T* copy = memory.copy + begin * memory.rs;
    copy_matrix(rows, n, from + begin * rs, rs, a.strides[a.ndim - 1], copy, memory.rs);
    for (int64_t i = 0; i < rows; ++i) std::fill_n(copy + i * memory.rs + n, memory.rs - n, T(0));
    team.barrier();
    Elimination<T>{team, factor_kernels<T>(), memory, m, n}.run(matrix_at(pivots, index, 1));
    copy_matrix(rows, n, copy, memory.rs, 1, to + begin * n, n);
    if (team.index() != 0) return;
    int32_t place = 0;
    for (int64_t i = size - 1; i >= 0; --i)
      if (memory.copy[i * (memory.rs + 1)] == 0) place = int32_t(i + 1);
    info.data[index] = place;
  });
}

RANVIER_INSTANTIATE(Lu);

}  // namespace ranvier
