#include "kernels/copy/copy.h"

#include <algorithm>
#include <cstring>

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

constexpr double kNsPerByte = 0.06;

template <class T>
void copy_rows(const LoopNest<2>& nest, const Copy<T>& c) {
  const int64_t step_x = nest.strides[0][nest.ndim - 1], step_y = nest.strides[1][nest.ndim - 1];
  parallel_for(nest.size, kNsPerByte * sizeof(T) * nest.size, [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t n, const int64_t* offsets) {
      const T* x = c.x.data + offsets[0];
      T* y = c.y.data + offsets[1];
      if (step_x == 1 && step_y == 1) {
        std::memcpy(y, x, n * sizeof(T));
      } else {
        for (int64_t i = 0; i < n; ++i) y[i * step_y] = x[i * step_x];
      }
    });
  });
}

// x is contiguous along one dimension, y along the innermost: strips of `lanes` rows of y.
template <class T>
void transpose(const LoopNest<2>& nest, int along_x, const Copy<T>& c) {
  const CopyKernels<T>& kernels = copy_kernels<T>();
  const int inner = nest.ndim - 1;
  int64_t shape[kMaxDims];
  std::copy(nest.shape, nest.shape + nest.ndim, shape);
  const int64_t rows = shape[along_x], n = shape[inner];
  shape[along_x] = shape[inner] = 1;
  const LoopNest<2> outer(nest.ndim, shape, {nest.strides[0], nest.strides[1]});
  const int64_t strips = (rows + kernels.lanes - 1) / kernels.lanes;
  parallel_for(outer.size * strips, kNsPerByte * sizeof(T) * nest.size, [&](int64_t begin, int64_t end) {
    for (int64_t unit = begin; unit < end; ++unit) {
      const int64_t row = unit % strips * kernels.lanes;
      const int count = static_cast<int>(std::min<int64_t>(kernels.lanes, rows - row));
      outer.walk(unit / strips, unit / strips + 1, [&](int64_t, const int64_t* offsets) {
        kernels.transpose_strip(count, n, c.x.data + offsets[0] + row, nest.strides[0][inner],
                                c.y.data + offsets[1] + row * nest.strides[1][along_x],
                                nest.strides[1][along_x]);
      });
    }
  });
}

}  // namespace

template <class T>
void Copy<T>::run(void*) const {
  const LoopNest<2> nest(x.ndim, x.shape, {x.strides, y.strides});
  if (nest.size == 0) return;
  const int inner = nest.ndim - 1;
  if (nest.strides[0][inner] != 1 && nest.strides[1][inner] == 1)
    for (int d = 0; d < inner; ++d)
      if (nest.strides[0][d] == 1) return transpose(nest, d, *this);
  copy_rows(nest, *this);
}

template struct Copy<float>;
template struct Copy<double>;

}  // namespace ranvier
