// Batch norm takes the ReLU behind it along, and the max-pool behind that:
//
//   batch_norm(relu) -> a -> max_pool -> y, where     batch_norm(relu, pool) -> y, where
//   relu_backward(dy, y) -> dy'                       the same
//   max_pool_backward(dy', where) -> dn               the same
//
// (The ReLU joins batch_norm in fuse_activations; fuse_pools has found y for the mask.) All bits stay.
#include "kernels/norm/batch_norm.h"
#include "kernels/pooling/pooling.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

using Pool = MaxPool2dForward<float, uint8_t>;
using PoolBackward = MaxPool2dBackward<float, uint8_t>;

// Its loops over rows without gaps.
template <class T>
bool is_dense(const Graph& graph, const TensorView<T>& v) {
  return graph.is_whole(v) && v.strides[1] == 1 && (v.shape[2] == 1 || v.strides[2] == v.shape[1]);
}

// Behind a ReLU offsets may only be read beside a gradient that is zero where it cut off: see fuse_pools.
bool fits_backward(Graph& graph, const BatchNormForward<float>& norm, const Pool& pool) {
  for (int i : graph.readers(graph.buffer(pool.where))) {
    const PoolBackward* back = graph.as<PoolBackward>(i);
    if (norm.relu && (!back || !is_masked_by(graph, back->dy, pool.y))) return false;
  }
  return true;
}

void fuse_pool(Graph& graph, int i) {
  if (!graph.as<Pool>(i)) return;
  const Pool pool = *graph.as<Pool>(i);
  if (!pool.channels_last || !side_by_side(pool.rows) || !side_by_side(pool.columns)) return;
  const int a = graph.buffer(pool.x), y = graph.buffer(pool.y), where = graph.buffer(pool.where);
  if (!graph.is_temporary(a) || !graph.is_whole(pool.x) || !graph.is_whole(pool.y)) return;
  if (!graph.is_temporary(where) || graph.readers(a) != std::vector<int>{i}) return;
  const int n = graph.writer(a);
  auto* norm = n < 0 ? nullptr : graph.as<BatchNormForward<float>>(n);
  if (!norm || !norm->columns || norm->pool.y.data) return;
  if (!is_dense(graph, norm->x) || !is_dense(graph, norm->y)) return;
  if (norm->y.shape[1] != pool.x.shape[1] || norm->y.shape[2] != pool.rows.in * pool.columns.in) return;
  if (graph.used_before(y, i) || graph.used_before(where, i) || !fits_backward(graph, *norm, pool)) return;
  norm->y.data = nullptr;
  norm->pool.y = pool.y;
  if (!graph.readers(where).empty()) norm->pool.where = pool.where;
  norm->pool.window[0] = pool.rows.kernel, norm->pool.window[1] = pool.columns.kernel;
  norm->pool.size[0] = pool.rows.in, norm->pool.size[1] = pool.columns.in;
  graph.merged(n, i);
}

}  // namespace

void fuse_norms(Graph& graph) {
  for (int i = 0; i < graph.size(); ++i) fuse_pool(graph, i);
}

}  // namespace ranvier
