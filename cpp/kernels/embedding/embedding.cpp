// EmbeddingForward and EmbeddingBackward (embedding.h): copies rows of the table, and adds gradients to them.
// The code is compiled once, since memory is the limit, not arithmetic.
#include "kernels/embedding/embedding.h"

#include <algorithm>
#include <cstring>

#include "base/integers.h"
#include "base/parallel.h"
#include "base/rows.h"
#include "kernels/reduce/reduce.h"

namespace ranvier {
namespace {

constexpr double kNsPerByte = 0.1;  // of rows that lie anywhere in the table
constexpr int64_t kAtOnce = 4096;   // indices between two tests for an interrupt

// Calls f(i, index[i]) for elements [begin, end) of the index, in C order. index may have any strides. rows:
// of the table; an index outside it becomes 0 (base/rows.h: inside).
template <class F>
void for_each_index(const TensorView<const int64_t>& index, int64_t rows, int64_t begin, int64_t end,
                    const F& f) {
  const bool dense = is_contiguous(index);
  for (int64_t i = begin; i < end; ++i) {
    int64_t offset = i;
    if (!dense) {
      int64_t rest = i;
      offset = 0;
      for (int d = index.ndim - 1; d >= 0; --d) {
        offset += rest % index.shape[d] * index.strides[d];
        rest /= index.shape[d];
      }
    }
    f(i, inside(index.data[offset], rows));
  }
}

}  // namespace

template <class T>
void EmbeddingForward<T>::run(const Team& team, void*) const {
  const int64_t width = weight.shape[1];
  const int64_t step = weight.strides[1];
  const int64_t count = numel(index);
  const double cost = kNsPerByte * sizeof(T) * double(count) * double(width) + 2.0 * double(count);
  team.parallel_for(count, cost, [&](int64_t begin, int64_t end) {
    if (step == 1 && width > 0 && is_contiguous(index)) {
      const PickedRows from = {reinterpret_cast<const char*>(weight.data),
                               weight.strides[0] * int64_t(sizeof(T)), weight.shape[0], index.data, 1};
      return copy_rows(reinterpret_cast<char*>(y.data), width * int64_t(sizeof(T)), from, begin, end);
    }
    for_each_index(index, weight.shape[0], begin, end, [&](int64_t i, int64_t row) {
      const T* from = weight.data + row * weight.strides[0];
      T* to = y.data + i * width;
      for (int64_t j = 0; j < width; ++j) to[j] = from[j * step];
    });
  });
}

template <class T>
void EmbeddingBackward<T>::run(const Team& team, void* workspace) const {
  const int64_t rows = dweight.shape[0];
  const int64_t width = dweight.shape[1];
  const int64_t count = numel(index);
  const int64_t line = kColumnBytes / int64_t(sizeof(T));
  const int64_t lines = ceil_div(width, line);
  int64_t* picked = static_cast<int64_t*>(workspace);
  const double cost = kNsPerByte * sizeof(T) * double(width) * double(count + rows);
  team.region(cost, [&](const OpenTeam& team) {
    team.parallel_for(rows, cost, [&](int64_t begin, int64_t end) {
      std::memset(dweight.data + begin * width, 0, sizeof(T) * static_cast<size_t>((end - begin) * width));
      if (by_frequency) std::fill(picked + begin, picked + end, int64_t{0});
    });
    const auto add = reduce_kernels<T>().join[static_cast<int>(ReduceOp::sum)];
    // A thread adds all rows, but in its own columns only: no two threads write to the same element.
    const int64_t first = team.share_begin(lines) * line;
    const int64_t last = std::min(team.share_end(lines) * line, width);
    for (int64_t i = 0; i < count && first < last && !interrupted(team); i += kAtOnce)
      for_each_index(index, rows, i, std::min(i + kAtOnce, count), [&](int64_t i, int64_t row) {
        if (by_frequency && first == 0) ++picked[row];
        if (row == padding) return;
        add(last - first, dweight.data + row * width + first, dy.data + i * width + first);
      });
    team.barrier();
    if (!by_frequency) return;
    team.parallel_for(rows, cost, [&](int64_t row) {
      for (int64_t j = 0; j < width && picked[row] > 1; ++j) dweight.data[row * width + j] /= T(picked[row]);
    });
  });
}

RANVIER_INSTANTIATE(EmbeddingForward);
template struct EmbeddingForward<BFloat16>;
RANVIER_INSTANTIATE(EmbeddingBackward);

}  // namespace ranvier
