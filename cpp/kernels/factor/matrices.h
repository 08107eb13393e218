// What the factorizations share: the matrices of a batch, their copies in the workspace, and how threads
// share them. For .cpp files.
#pragma once
#include <algorithm>
#include <cstring>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/tensor_view.h"
#include "kernels/factor/kernels.h"

namespace ranvier {

constexpr double kNsPerFactorProduct = 0.05;  // the time of one multiplication on one thread, roughly

// Where matrix `index` of a batch begins; the last `inner` dimensions are those of a matrix.
template <class T>
static inline T* matrix_at(const TensorView<T>& v, int64_t index, int inner) {
  int64_t offset = 0;
  for (int d = v.ndim - inner - 1; d >= 0; --d) {
    offset += index % v.shape[d] * v.strides[d];
    index /= v.shape[d];
  }
  return v.data + offset;
}

template <class T>
static inline int64_t matrices_of(const TensorView<T>& v) {
  int64_t count = 1;
  for (int d = 0; d < v.ndim - 2; ++d) count *= v.shape[d];
  return count;
}

// The distance of the rows of a copy: whole strips, and a line of 64 bytes more, so that rows begin in
// different sets of L1.
template <class T>
static inline int64_t padded(int64_t columns, int strip) {
  return round_up(columns, strip) + 64 / static_cast<int64_t>(sizeof(T));
}

// y[i * rs_y + j] = x[i * rs_x + j * cs_x]
template <class T>
static inline void copy_matrix(int64_t rows, int64_t columns, const T* x, int64_t rs_x, int64_t cs_x, T* y,
                               int64_t rs_y) {
  if (cs_x == 1) {
    for (int64_t i = 0; i < rows; ++i) std::copy_n(x + i * rs_x, columns, y + i * rs_y);
  } else if (rs_x == 1) {
    factor_kernels<T>().transpose(columns, rows, x, cs_x, y, rs_y);
  } else {
    for (int64_t i = 0; i < rows; ++i)
      for (int64_t j = 0; j < columns; ++j) y[i * rs_y + j] = x[i * rs_x + j * cs_x];
  }
}

// Calls f(team, memory, index) for each matrix of a batch: each thread takes its own, or the team shares one
// after another. memory: `bytes` of the team that gets the matrix.
template <class F>
static inline void for_matrices(const Team& team, int64_t count, double cost_of_one, size_t bytes,
                                void* workspace, const F& f) {
  char* memory = static_cast<char*>(workspace);
  const double cost = cost_of_one * double(count);
  if (count >= team.threads() && count > 1) {
    team.parallel_for(count, cost, [&](const OpenTeam& team, int64_t begin, int64_t end) {
      for (int64_t i = begin; i < end && !interrupted(team); ++i)
        f(team.single(), memory + size_t(team.index()) * bytes, i);
    });
    return;
  }
  team.region(cost, [&](const OpenTeam& team) {
    for (int64_t i = 0; i < count; ++i) {
      f(team, memory, i);
      team.barrier();  // the next matrix has the same memory
    }
  });
}

// Calls f(column, columns) for this thread's strips of the columns [begin, end), and waits for the others.
template <class F>
static inline void share_strips(const OpenTeam& team, int64_t begin, int64_t end, int strip, const F& f) {
  const int64_t strips = ceil_div(end - begin, strip);
  const int64_t last = team.share_end(strips);
  for (int64_t s = team.share_begin(strips); s < last && !interrupted(team); ++s) {
    const int64_t column = begin + s * strip;
    f(column, std::min<int64_t>(strip, end - column));
  }
  team.barrier();
}

}  // namespace ranvier
