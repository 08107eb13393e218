#include "kernels/loss/cross_entropy.h"

#include "base/loop_nest.h"
#include "base/parallel.h"
#include "base/without_axis.h"

namespace ranvier {
namespace {

constexpr double kNsPerElement = 0.5, kNsPerLine = 20;
constexpr int64_t kZeros[kMaxDims] = {};

// The strides, line by line, of what may be absent.
template <class E>
WithoutAxis line_strides(const TensorView<E>& v) {
  return WithoutAxis(v.data ? v.strides : kZeros, v.data ? v.ndim : kMaxDims, 1);
}

double cost_ns(int64_t lines, int64_t n) {
  return kNsPerLine * static_cast<double>(lines) + kNsPerElement * static_cast<double>(lines * n);
}

}  // namespace

template <class T>
size_t CrossEntropyForward<T>::workspace_bytes(int) const {
  return reduction == Reduction::none ? 0 : static_cast<size_t>(numel(log_sum_exp)) * sizeof(T);
}

template <class T>
void CrossEntropyForward<T>::run(void* workspace) const {
  const bool each = reduction == Reduction::none;
  T* losses = each ? loss.data : static_cast<T*>(workspace);
  const LoopNest<5> nest(log_sum_exp.ndim, log_sum_exp.shape,
                         {line_strides(x), index.data ? index.strides : kZeros, line_strides(probabilities),
                          each ? loss.strides : log_sum_exp.strides, log_sum_exp.strides});
  const int last = nest.ndim - 1;
  const double cost = cost_ns(nest.size, x.shape[1]);
  parallel_region(cost, [&] {
    parallel_for(nest.size, cost, [&](int64_t begin, int64_t end) {
      nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[5]) {
        CrossEntropyLines<T> lines{};
        lines.count = count, lines.n = x.shape[1];
        lines.x = {x.data + offsets[0], nest.strides[0][last], x.strides[1]};
        if (index.data) lines.index = {index.data + offsets[1], nest.strides[1][last], 0};
        if (probabilities.data)
          lines.probabilities = {probabilities.data + offsets[2], nest.strides[2][last],
                                 probabilities.strides[1]};
        lines.loss = {losses + offsets[3], nest.strides[3][last], 0};
        lines.log_sum_exp = {log_sum_exp.data + offsets[4], nest.strides[4][last], 0};
        cross_entropy_kernels<T>().forward(lines);
      });
    });
    if (each) return;
    parallel_for(1, 0, [&](int64_t, int64_t) {
      double sum = 0;
      for (int64_t i = 0; i < nest.size; ++i) sum += static_cast<double>(losses[i]);
      loss.data[0] =
          static_cast<T>(reduction == Reduction::mean ? sum / static_cast<double>(nest.size) : sum);
    });
  });
}

template <class T>
void CrossEntropyBackward<T>::run(void*) const {
  const bool each = reduction == Reduction::none;
  const LoopNest<6> nest(log_sum_exp.ndim, log_sum_exp.shape,
                         {line_strides(x), index.data ? index.strides : kZeros, line_strides(probabilities),
                          each ? dy.strides : kZeros, log_sum_exp.strides, line_strides(dx)});
  const int last = nest.ndim - 1;
  const T scale = reduction == Reduction::mean ? T(1) / static_cast<T>(nest.size) : T(1);
  const auto function =
      of_target ? cross_entropy_kernels<T>().target_backward : cross_entropy_kernels<T>().backward;
  parallel_for(nest.size, cost_ns(nest.size, x.shape[1]), [&](int64_t begin, int64_t end) {
    nest.walk(begin, end, [&](int64_t count, const int64_t(&offsets)[6]) {
      CrossEntropyLines<T> lines{};
      lines.count = count, lines.n = x.shape[1], lines.scale = scale;
      lines.x = {x.data + offsets[0], nest.strides[0][last], x.strides[1]};
      if (index.data) lines.index = {index.data + offsets[1], nest.strides[1][last], 0};
      if (probabilities.data)
        lines.probabilities = {probabilities.data + offsets[2], nest.strides[2][last],
                               probabilities.strides[1]};
      lines.dy = {dy.data + (each ? offsets[3] : 0), each ? nest.strides[3][last] : 0, 0};
      lines.saved = {log_sum_exp.data + offsets[4], nest.strides[4][last], 0};
      lines.dx = {dx.data + offsets[5], nest.strides[5][last], dx.strides[1]};
      function(lines);
    });
  });
}

template struct CrossEntropyForward<float>;
template struct CrossEntropyForward<double>;
template struct CrossEntropyBackward<float>;
template struct CrossEntropyBackward<double>;

}  // namespace ranvier
