// cholesky (factor.h): the workspace has u = l^T, whose rows are contiguous. For each block of rows of u, the
// shares of the rows before it are subtracted, the square on the diagonal is factored, and the systems of the
// strips beside it are solved.
#include <cmath>
#include <limits>

#include "base/carve.h"
#include "kernels/factor/factor.h"
#include "kernels/factor/matrices.h"

namespace ranvier {
namespace {

constexpr int64_t kBlock = 32;   // rows of a block
constexpr int64_t kCopied = 16;  // rows that a thread copies at a time

template <class T>
struct CholeskyMemory {
  int64_t rs;  // from row to row of u
  T* u;
  int64_t* done;  // how many rows of a block have been factored
  size_t bytes;

  CholeskyMemory(int64_t n, void* base) {
    Carver carver(base);
    rs = padded<T>(n, factor_kernels<T>().strip);
    u = carver.take<T>(n * rs);
    done = carver.take<int64_t>(1);
    bytes = carver.used();
  }
};

// Factors u (n, n) in place. Returns the rows that have factors.
template <class T>
int64_t factored(const OpenTeam& team, const CholeskyMemory<T>& memory, int64_t n) {
  const FactorKernels<T>& kernels = factor_kernels<T>();
  const int64_t rs = memory.rs;
  T* u = memory.u;
  for (int64_t begin = 0; begin < n; begin += kBlock) {
    const int64_t rows = std::min(kBlock, n - begin);
    const int64_t end = begin + rows;
    const int64_t width = round_up(rows, kernels.strip);
    T* block = u + begin * rs;
    const auto subtract_rows_before = [&](int64_t column, int64_t columns) {
      kernels.subtract({rows, columns, begin, u + begin, 1, rs, u + column, rs, block + column, rs});
    };
    if (team.index() == 0) {
      subtract_rows_before(begin, width);
      *memory.done = kernels.cholesky(rows, width, block + begin, rs);
    }
    const int64_t first = begin + width;  // the columns before it belong to the square
    if (first < n)
      share_strips(team, first, n, kernels.strip, subtract_rows_before);
    else
      team.barrier();
    const int64_t done = *memory.done;
    if (done < rows) return begin + done;
    if (std::isinf(block[(rows - 1) * rs + end - 1])) return end;
    if (first >= n) continue;
    share_strips(team, first, n, kernels.strip, [&](int64_t column, int64_t columns) {
      kernels.substitute({rows, columns, block + begin, 1, rs, block + column, rs, false});
    });
  }
  return n;
}

}  // namespace

template <class T>
size_t Cholesky<T>::workspace_bytes(int threads) const {
  return size_t(threads) * CholeskyMemory<T>(l.shape[l.ndim - 1], nullptr).bytes;
}

template <class T>
void Cholesky<T>::run(const Team& team, void* workspace) const {
  const int64_t n = l.shape[l.ndim - 1];
  const int64_t count = matrices_of(l);
  if (n == 0) {
    std::fill_n(info.data, count, 0);
    return;
  }
  const int64_t rs = a.strides[a.ndim - 2];
  const int64_t cs = a.strides[a.ndim - 1];
  const double cost = kNsPerFactorProduct * double(n) * double(n) * double(n) / 3;
  const size_t bytes = CholeskyMemory<T>(n, nullptr).bytes;
  for_matrices(team, count, cost, bytes, workspace, [&](const OpenTeam& team, void* base, int64_t index) {
    const CholeskyMemory<T> memory(n, base);
    const T* from = matrix_at(a, index, 2);
    T* to = matrix_at(l, index, 2);
    const int64_t groups = ceil_div(n, kCopied);
    // Rows of u are columns of a. What is left of the diagonal is not read.
    for (int64_t g = team.share_begin(groups); g < team.share_end(groups); ++g) {
      const int64_t row = g * kCopied;
      const int64_t rows = std::min(kCopied, n - row);
      T* y = memory.u + row * memory.rs + row;
      copy_matrix(rows, n - row, from + row * (rs + cs), cs, rs, y, memory.rs);
      for (int64_t i = 0; i < rows; ++i) std::fill_n(y + i * memory.rs + n - row, memory.rs - n, T(0));
    }
    team.barrier();
    const int64_t done = factored(team, memory, n);
    if (team.index() == 0) info.data[index] = done < n ? int32_t(done + 1) : 0;
    for (int64_t g = team.share_begin(groups); g < team.share_end(groups); ++g) {
      const int64_t row = g * kCopied;
      const int64_t rows = std::min(kCopied, n - row);
      copy_matrix(rows, std::min(row + kCopied, n), memory.u + row, 1, memory.rs, to + row * n, n);
      for (int64_t i = row; i < row + rows; ++i) {
        if (i >= done) std::fill_n(to + i * n, i + 1, std::numeric_limits<T>::quiet_NaN());
        std::fill_n(to + i * n + i + 1, n - i - 1, T(0));
      }
    }
  });
}

RANVIER_INSTANTIATE(Cholesky);

}  // namespace ranvier
