// JetForward and JetBackward (jet.h): divide the elements among threads, and give lines of them to the loops
// of jet.isa.cpp.
#include "kernels/jet/jet.h"

#include "base/loop_nest.h"
#include "base/parallel.h"

namespace ranvier {
namespace {

// In the forward dy is t and dx has no data; in the backward y is dt.
template <class T>
void run_lines(const Team& team, typename JetKernels<T>::Function function, const TensorView<const T>& saved,
               const TensorView<const T>& t, const TensorView<const T>& dy,
               const TensorView<const T>& weights, const TensorView<T>& y, const TensorView<T>& dx) {
  const int rows = static_cast<int>(t.shape[0]);
  const LoopNest<5> nest(saved.ndim, saved.shape,
                         {saved.strides, t.strides + 1, dy.strides + 1, dx.strides, y.strides + 1});
  const int terms = weights.data ? rows : rows * rows;  // of an element: a Laplacian's, or those of series
  const double ns = (sizeof(T) / 4) * terms * 0.5;
  const int inner = nest.ndim - 1;
  team.parallel_for(nest.size, ns * static_cast<double>(nest.size), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t* offsets) {
      function({count,
                rows,
                {saved.data + offsets[0], 0, nest.strides[0][inner]},
                {t.data + offsets[1], t.strides[0], nest.strides[1][inner]},
                {dy.data + offsets[2], dy.strides[0], nest.strides[2][inner]},
                {weights.data, weights.strides[0], 0},
                {y.data + offsets[4], y.strides[0], nest.strides[4][inner]},
                {dx.data + offsets[3], 0, nest.strides[3][inner]}});
    });
  });
}

}  // namespace

template <class T>
void JetForward<T>::run(const Team& team, void*) const {
  const TensorView<T> none{nullptr, saved.ndim, {}, {}};
  run_lines(team, jet_kernels<T>().forward[kind], saved, t, t, weights, y, none);
}

template <class T>
void JetBackward<T>::run(const Team& team, void*) const {
  run_lines(team, jet_kernels<T>().backward[kind], saved, t, dy, weights, dt, dx);
}

RANVIER_INSTANTIATE(JetForward);
RANVIER_INSTANTIATE(JetBackward);

}  // namespace ranvier
