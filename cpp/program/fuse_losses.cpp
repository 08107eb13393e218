// log_softmax and nll_loss of its result are cross_entropy, which keeps one number of each line instead of
// all logarithms:
//
//   log_softmax -> l, nll(l) -> loss                cross_entropy -> loss, log_sum_exp
//   nll_backward -> dl                              cross_entropy_backward -> dx
//   log_softmax_backward(dl, l) -> dx
//
// It rounds differently, by a few units in the last place of the logarithms.
#include "kernels/loss/class_loss.h"
#include "kernels/softmax/softmax.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

struct Pattern {
  int softmax, loss;  // instructions
  int loss_backward = -1, softmax_backward = -1;
};

template <class T>
bool is_nll(const ClassLossBackward<T>* b, const Graph& graph, int divisor) {
  return b && b->kind == ClassLoss::nll && graph.buffer(b->divisor) == divisor;
}

// The readers of the logarithms l: the loss, and its backward and log_softmax's, or neither.
template <class T>
bool find(Graph& graph, int i, Pattern& p) {
  const auto* loss = graph.as<ClassLossForward<T>>(i);
  if (!loss || loss->kind != ClassLoss::nll || !loss->index.data) return false;
  const int l = graph.buffer(loss->x), divisor = graph.buffer(loss->divisor);
  p.loss = i, p.softmax = graph.writer(l);
  const auto* softmax = p.softmax < 0 ? nullptr : graph.as<SoftmaxForward<T>>(p.softmax);
  if (!softmax || !softmax->log || softmax->axis != 1 || !graph.is_temporary(l)) return false;
  if (softmax->y.data != loss->x.data || !same_layout(softmax->y, loss->x)) return false;
  if (graph.written_between(graph.buffer(softmax->x), p.softmax, graph.size())) return false;
  for (int j : graph.readers(l)) {
    const auto* back = graph.as<SoftmaxBackward<T>>(j);
    if (back && p.softmax_backward < 0 && graph.buffer(back->dy) != l)
      p.softmax_backward = j;
    else if (is_nll(graph.as<ClassLossBackward<T>>(j), graph, divisor) && p.loss_backward < 0)
      p.loss_backward = j;
    else if (j != i)
      return false;
  }
  if (p.softmax_backward < 0) return p.loss_backward < 0;
  const int dl = graph.buffer(graph.as<SoftmaxBackward<T>>(p.softmax_backward)->dy), made = graph.writer(dl);
  if (p.loss_backward >= 0 && p.loss_backward != made) return false;
  p.loss_backward = made;
  return made >= 0 && is_nll(graph.as<ClassLossBackward<T>>(made), graph, divisor) &&
         graph.is_temporary(dl) && graph.readers(dl) == std::vector<int>{p.softmax_backward};
}

template <class T>
void fuse_loss(Graph& graph, int i) {
  Pattern p{};
  if (!find<T>(graph, i, p)) return;
  const SoftmaxForward<T> softmax = *graph.as<SoftmaxForward<T>>(p.softmax);
  auto* loss = graph.as<ClassLossForward<T>>(i);
  TensorView<T>& sums = loss->log_sum_exp;  // one for each index, C-contiguous
  sums.ndim = loss->index.ndim;
  int64_t size = 1;
  for (int d = sums.ndim - 1; d >= 0; size *= sums.shape[d--])
    sums.shape[d] = loss->index.shape[d], sums.strides[d] = size;
  sums.data = reinterpret_cast<T*>(graph.new_temporary(size * sizeof(T)));
  loss->kind = ClassLoss::cross_entropy, loss->settings.smoothing = 0;
  loss->x = softmax.x;
  const TensorView<const T> saved = as_const(sums);
  graph.merged(i, p.softmax, false);
  graph[i].rounds = true;
  if (p.loss_backward < 0) return;
  auto* back = graph.as<ClassLossBackward<T>>(p.loss_backward);
  back->kind = ClassLoss::cross_entropy, back->settings.smoothing = 0;
  back->x = softmax.x, back->log_sum_exp = saved;
  back->dx = graph.as<SoftmaxBackward<T>>(p.softmax_backward)->dx;
  graph.merged(p.loss_backward, p.softmax_backward);
  graph[p.loss_backward].rounds = true;
}

}  // namespace

void fuse_losses(Graph& graph) {
  for (int i = 0; i < graph.size(); ++i) fuse_loss<float>(graph, i), fuse_loss<double>(graph, i);
}

}  // namespace ranvier
