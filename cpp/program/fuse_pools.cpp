// conv2d, ReLU and max-pool become one call, and their backward looks at the maxima only: behind a pool of
// 2 x 2 windows at most one gradient of four is not zero, and the forward pass knows which.
//
//   conv2d -> z -> pool -> y, where          conv2d_pool -> y, where
//   pool_backward(dy, where) -> dz           dy
//   [relu_backward(dz, z) -> dz']            [relu_backward(dy, y) -> dy']
//   conv2d_backward_weight(dz', x)           conv2d_pool_backward_weight(dy', where, x)
//   conv2d_backward_input(dz', w)            conv2d_pool_backward_input(dy', where, w)
//
// y has the same bits. The gradients are sums of the same terms in another order, without those whose factor
// in dz is zero.
#include <algorithm>

#include "kernels/activation/activation.h"
#include "kernels/conv2d/pooled.h"
#include "kernels/pooling/pooling.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

using Pool = MaxPool2dForward<float, uint8_t>;
using PoolBackward = MaxPool2dBackward<float, uint8_t>;

bool apart(const PoolAxis& a) {
  return a.kernel > 0 && a.kernel == a.stride && !a.padding && a.dilation == 1;
}

struct Pattern {
  int conv, pool;                           // instructions
  int pool_backward = -1, activation = -1;  // activation: relu_backward, if it stands between the two
  std::vector<int> gradients;               // of conv2d, to weight and input
};

bool reads_only(Graph& graph, int buffer, std::vector<int> expected) {
  expected.erase(std::remove(expected.begin(), expected.end(), -1), expected.end());
  std::sort(expected.begin(), expected.end());
  return graph.readers(buffer) == expected;
}

// The readers of dz, if all are gradients of conv2d.
bool find_gradients(Graph& graph, const TensorView<float>& dz, Pattern& p) {
  const int buffer = graph.buffer(dz);
  if (!graph.is_temporary(buffer) || !graph.is_whole(dz)) return false;
  for (int i : graph.readers(buffer)) {
    const auto* weight = graph.as<Conv2dBackwardWeight<float>>(i);
    const auto* input = graph.as<Conv2dBackwardInput<float>>(i);
    if (weight ? graph.buffer(weight->x) == buffer : !input || graph.buffer(input->w) == buffer) return false;
    p.gradients.push_back(i);
  }
  return !p.gradients.empty();
}

bool find_backward(Graph& graph, const Conv2dForward<float>& conv, const Pool& pool, Pattern& p) {
  const int z = graph.buffer(pool.x);
  const std::vector<int> uses = graph.readers(graph.buffer(pool.where));
  if (uses.empty()) return reads_only(graph, z, {p.pool});
  const PoolBackward* back = uses.size() == 1 ? graph.as<PoolBackward>(uses[0]) : nullptr;
  if (!back) return false;
  p.pool_backward = uses[0];
  if (conv.activation == Conv2dActivation::none)
    return reads_only(graph, z, {p.pool}) && find_gradients(graph, back->dx, p);
  const std::vector<int> masks = graph.readers(graph.buffer(back->dx));
  const auto* mask = masks.size() == 1 ? graph.as<ActivationBackward<float>>(masks[0]) : nullptr;
  if (!mask || mask->kind != Activation::relu || graph.buffer(mask->saved) != z) return false;
  p.activation = masks[0];
  return reads_only(graph, z, {p.pool, p.activation}) && find_gradients(graph, mask->dx, p);
}

bool find(Graph& graph, int i, Pattern& p) {
  const Pool* pool = graph.as<Pool>(i);
  if (!pool || !pool->channels_last || !apart(pool->rows) || !apart(pool->columns)) return false;
  const int z = graph.buffer(pool->x);
  if (!graph.is_temporary(z) || !graph.is_whole(pool->x) || !graph.is_whole(pool->y)) return false;
  p.pool = i;
  p.conv = graph.writer(z);
  const auto* conv = p.conv < 0 ? nullptr : graph.as<Conv2dForward<float>>(p.conv);
  if (!conv || conv->geometry.groups != 1 || !same_layout(conv->y, pool->x)) return false;
  if (graph.used_before(graph.buffer(pool->y), i) || graph.used_before(graph.buffer(pool->where), i))
    return false;
  return find_backward(graph, *conv, *pool, p);
}

void replace_gradient(Graph& graph, int i, const TensorView<const float>& dy, const Pool& pool) {
  const int64_t window[2] = {pool.rows.kernel, pool.columns.kernel};
  const TensorView<const uint8_t> where = as_const(pool.where);
  if (const auto* w = graph.as<Conv2dBackwardWeight<float>>(i))
    graph.replace(
        i, Conv2dPoolBackwardWeight<float>{
               dy, where, w->x, w->dw, w->db, w->geometry, {w->taps[0], w->taps[1]}, {window[0], window[1]}});
  else if (const auto* b = graph.as<Conv2dBackwardInput<float>>(i))
    graph.replace(
        i, Conv2dPoolBackwardInput<float>{dy, where, b->w, {}, b->dx, b->geometry, {window[0], window[1]}});
}

void rewrite(Graph& graph, const Pattern& p) {
  const Pool pool = *graph.as<Pool>(p.pool);
  const Conv2dForward<float> conv = *graph.as<Conv2dForward<float>>(p.conv);
  const bool keeps_where = p.pool_backward >= 0;
  if (keeps_where) {
    TensorView<const float> dy = graph.as<PoolBackward>(p.pool_backward)->dy;
    if (p.activation >= 0) {
      auto* mask = graph.as<ActivationBackward<float>>(p.activation);
      float* masked = reinterpret_cast<float*>(graph.new_temporary(numel(pool.y) * sizeof(float)));
      mask->dy = dy, mask->saved = as_const(pool.y), mask->dx = at(pool.y, masked);
      dy = as_const(mask->dx);
      graph.find_uses(p.activation);
    }
    graph.remove(p.pool_backward);
    for (int i : p.gradients) replace_gradient(graph, i, dy, pool);
  }
  graph.replace(p.conv, Conv2dPoolForward<float>{conv.x,
                                                 conv.w,
                                                 conv.bias,
                                                 pool.y,
                                                 keeps_where ? pool.where : TensorView<uint8_t>{},
                                                 conv.geometry,
                                                 conv.activation,
                                                 conv.winograd,
                                                 {pool.rows.kernel, pool.columns.kernel},
                                                 {conv.y.shape[2], conv.y.shape[3]}});
  graph.merged(p.conv, p.pool);
}

// The ReLU's backward that alone reads the gradient to a pooled convolution's input.
void fuse_mask(Graph& graph, int i) {
  const auto* mask = graph.as<ActivationBackward<float>>(i);
  if (!mask || mask->kind != Activation::relu || !same_layout(mask->dy, mask->dx)) return;
  const int from = graph.buffer(mask->dy), p = graph.writer(from);
  auto* input = p < 0 ? nullptr : graph.as<Conv2dPoolBackwardInput<float>>(p);
  if (!input || input->saved.data || !graph.is_temporary(from) || !reads_only(graph, from, {i})) return;
  if (!same_layout(input->dx, mask->dy) || graph.used_before(graph.buffer(mask->dx), i)) return;
  if (graph.written_after(graph.buffer(mask->saved), p)) return;
  input->saved = mask->saved;
  input->dx.data = mask->dx.data;
  graph.merged(p, i);
}

}  // namespace

void fuse_pools(Graph& graph) {
  for (int i = 0; i < graph.size(); ++i) {
    Pattern pattern{};
    if (find(graph, i, pattern)) rewrite(graph, pattern);
  }
  for (int i = 0; i < graph.size(); ++i) fuse_mask(graph, i);
}

}  // namespace ranvier
