// Moves, no arithmetic worth a vector: compiled once, for the baseline.
#include "kernels/index/index.h"

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 1.0;

// move(picked, whole, count, step_picked, step_whole) for each j and each run of lines that share index[j];
// runs of one line where the lines have indices of their own. `picked` is shaped as the index, `whole` has
// the axis that the index points into.
template <class P, class W, class Move>
void for_each_run(int axis, const TensorView<P>& picked, const TensorView<const int64_t>& index,
                  const TensorView<W>& whole, int64_t begin, int64_t end, const LoopNest<3>& lines,
                  const Move& move) {
  const int inner = lines.ndim - 1;
  const int64_t length = whole.shape[axis], count = picked.shape[axis];
  const int64_t step_index = lines.strides[0][inner], step_p = lines.strides[1][inner];
  const int64_t step_w = lines.strides[2][inner];
  lines.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
    const int64_t run = step_index == 0 ? n : 1;
    for (int64_t j = 0; j < count; ++j) {
      for (int64_t i = 0; i < n; i += run) {
        int64_t at = index.data[offsets[0] + i * step_index + j * index.strides[axis]];
        if (at < 0) at += length;
        move(picked.data + offsets[1] + i * step_p + j * picked.strides[axis],
             whole.data + offsets[2] + i * step_w + at * whole.strides[axis], run, step_p, step_w);
      }
    }
  });
}

template <class P, class W>
LoopNest<3> lines_of(int axis, const TensorView<P>& picked, const TensorView<const int64_t>& index,
                     const TensorView<W>& whole) {
  int64_t shape[kMaxDims];
  for (int d = 0; d < picked.ndim; ++d) shape[d] = d == axis ? 1 : picked.shape[d];
  return LoopNest<3>(picked.ndim, shape, {index.strides, picked.strides, whole.strides});
}

}  // namespace

template <class T>
void Gather<T>::run(void*) const {
  const LoopNest<3> lines = lines_of(axis, y, index, x);
  parallel_for(lines.size, kNsPerElement * numel(y), [&](int64_t begin, int64_t end) {
    for_each_run(axis, y, index, x, begin, end, lines,
                 [](T* to, const T* from, int64_t n, int64_t step_to, int64_t step_from) {
                   for (int64_t i = 0; i < n; ++i) to[i * step_to] = from[i * step_from];
                 });
  });
}

template <class T>
void ScatterAdd<T>::run(void*) const {
  const LoopNest<3> lines = lines_of(axis, x, index, y);
  const int inner = lines.ndim - 1;
  parallel_for(lines.size, kNsPerElement * (numel(x) + numel(y)), [&](int64_t begin, int64_t end) {
    lines.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      for (int64_t j = 0; j < y.shape[axis]; ++j) {
        T* line = y.data + offsets[2] + j * y.strides[axis];
        for (int64_t i = 0; i < n; ++i) line[i * lines.strides[2][inner]] = T(0);
      }
    });
    for_each_run(axis, x, index, y, begin, end, lines,
                 [](const T* from, T* to, int64_t n, int64_t step_from, int64_t step_to) {
                   for (int64_t i = 0; i < n; ++i) to[i * step_to] += from[i * step_from];
                 });
  });
}

template struct Gather<float>;
template struct Gather<double>;
template struct ScatterAdd<float>;
template struct ScatterAdd<double>;

}  // namespace ranvier
