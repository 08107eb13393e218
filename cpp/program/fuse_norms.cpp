// Batch norm takes the ReLU behind it along, and the max-pool behind that. Backward the mask of that ReLU is
// laid on the pool's gradient, which has a fraction of the elements:
//
//   batch_norm -> n -> relu -> a -> max_pool -> y, where     batch_norm(relu, pool) -> y, where
//   max_pool_backward(dy, where) -> da                       relu_backward(dy, y) -> dy'
//   relu_backward(da, a) -> dn                               max_pool_backward(dy', where) -> dn
//
// (The ReLU joins batch_norm in fuse_activations.) All bits stay.
#include <algorithm>

#include "kernels/activation/activation.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/pooling/pooling.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

using Pool = MaxPool2dForward<float, uint8_t>;
using PoolBackward = MaxPool2dBackward<float, uint8_t>;

bool apart(const PoolAxis& a) {
  return a.kernel > 0 && a.kernel == a.stride && !a.padding && a.dilation == 1;
}

// Its loops over rows without gaps.
template <class T>
bool is_dense(const Graph& graph, const TensorView<T>& v) {
  return graph.is_whole(v) && v.strides[1] == 1 && (v.shape[2] == 1 || v.strides[2] == v.shape[1]);
}

int only_reader(const Graph& graph, int buffer) {
  const std::vector<int> readers = graph.readers(buffer);
  return graph.is_temporary(buffer) && readers.size() == 1 ? readers[0] : -1;
}

struct Pattern {
  int norm, pool;                     // instructions
  int pool_backward = -1, mask = -1;  // mask: relu_backward, behind it
};

// What takes the gradient to a pool's input, and the ReLU's backward if there is one.
bool find_backward(Graph& graph, const BatchNormForward<float>& norm, const Pool& pool, Pattern& p) {
  const int a = graph.buffer(pool.x);
  std::vector<int> expected{p.pool};
  const std::vector<int> uses = graph.readers(graph.buffer(pool.where));
  if (uses.size() > 1) return false;
  if (!uses.empty()) p.pool_backward = uses[0];
  if (!uses.empty() && norm.relu) {
    const PoolBackward* back = graph.as<PoolBackward>(p.pool_backward);
    if (!back || !graph.is_whole(back->dx)) return false;
    p.mask = only_reader(graph, graph.buffer(back->dx));
    const auto* mask = p.mask < 0 ? nullptr : graph.as<ActivationBackward<float>>(p.mask);
    if (!mask || mask->kind != Activation::relu || graph.buffer(mask->saved) != a) return false;
    if (!graph.is_whole(mask->dx) || !same_layout(mask->dx, back->dx)) return false;
    expected.push_back(p.mask);
  }
  return graph.readers(a) == expected;
}

bool find(Graph& graph, int i, Pattern& p) {
  const Pool* pool = graph.as<Pool>(i);
  if (!pool || !pool->channels_last || !apart(pool->rows) || !apart(pool->columns)) return false;
  if (!graph.is_temporary(graph.buffer(pool->x)) || !graph.is_whole(pool->x) || !graph.is_whole(pool->y))
    return false;
  p.pool = i, p.norm = graph.writer(graph.buffer(pool->x));
  const auto* norm = p.norm < 0 ? nullptr : graph.as<BatchNormForward<float>>(p.norm);
  if (!norm || !norm->columns || norm->pool.y.data) return false;
  if (!is_dense(graph, norm->x) || !is_dense(graph, norm->y)) return false;
  if (norm->y.shape[1] != pool->x.shape[1] || norm->y.shape[2] != pool->rows.in * pool->columns.in)
    return false;
  const int y = graph.buffer(pool->y), where = graph.buffer(pool->where);
  if (graph.used_before(y, i) || graph.used_before(where, i)) return false;
  return find_backward(graph, *norm, *pool, p);
}

void rewrite(Graph& graph, const Pattern& p) {
  const Pool pool = *graph.as<Pool>(p.pool);
  if (p.mask >= 0) {  // the two change places, and results
    PoolBackward back = *graph.as<PoolBackward>(p.pool_backward);
    ActivationBackward<float> mask = *graph.as<ActivationBackward<float>>(p.mask);
    back.dx.data = mask.dx.data;
    mask.dy = back.dy, mask.saved = as_const(pool.y);
    mask.dx = at(pool.y, reinterpret_cast<float*>(graph.new_temporary(numel(pool.y) * sizeof(float))));
    back.dy = as_const(mask.dx);
    graph.exchange(p.pool_backward, mask, p.mask, back);
  }
  auto* norm = graph.as<BatchNormForward<float>>(p.norm);
  norm->y.data = nullptr;
  norm->pool.y = pool.y;
  if (p.pool_backward >= 0) norm->pool.where = pool.where;
  norm->pool.window[0] = pool.rows.kernel, norm->pool.window[1] = pool.columns.kernel;
  norm->pool.size[0] = pool.rows.in, norm->pool.size[1] = pool.columns.in;
  graph.merged(p.norm, p.pool);
}

}  // namespace

void fuse_norms(Graph& graph) {
  for (int i = 0; i < graph.size(); ++i) {
    Pattern pattern{};
    if (find(graph, i, pattern)) rewrite(graph, pattern);
  }
}

}  // namespace ranvier
