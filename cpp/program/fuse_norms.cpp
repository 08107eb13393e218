// A batch norm takes over the ReLU after it, and the max-pool after that:
//
//   batch_norm(relu) -> a -> max_pool -> y, where     batch_norm(relu, pool) -> y, where
//   relu_backward(dy, y) -> dy'                       the same
//   max_pool_backward(dy', where) -> dn               the same
//
// (fuse_activations has merged the ReLU; fuse_pools has found y for the mask.) All bits stay.
#include <algorithm>

#include "kernels/norm/batch_norm.h"
#include "kernels/pooling/pooling.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

using Norm = BatchNormForward<float>;
using Pool = MaxPool2dForward<float, uint8_t>;
using PoolBackward = MaxPool2dBackward<float, uint8_t>;

// Whether the kernel can take its rows one after the other.
template <class T>
bool is_dense(const Graph& graph, const TensorView<T>& v) {
  return graph.is_whole(v) && v.strides[1] == 1 && (v.shape[2] == 1 || v.strides[2] == v.shape[1]);
}

void fuse_pool(Graph& graph, int i, const Pool& pool) {
  if (!pool.channels_last || !side_by_side(pool.rows) || !side_by_side(pool.columns)) return;
  if (!graph.is_whole(pool.y) || !graph.is_temporary(pool.where)) return;
  const int n = graph.producer(pool.x, i);
  Norm* norm = graph.as<Norm>(n);
  if (!norm || !norm->columns || norm->pool.y.data) return;
  if (!is_dense(graph, norm->x) || !is_dense(graph, norm->y)) return;
  if (norm->y.shape[1] != pool.x.shape[1] || norm->y.shape[2] != pool.rows.in * pool.columns.in) return;
  const std::vector<int> readers = graph.readers(graph.buffer(pool.where));
  const auto is_masked = [&](int j) {
    const PoolBackward* back = graph.as<PoolBackward>(j);
    return back && is_masked_by(graph, back->dy, pool.y);
  };
  // After a ReLU offsets may only be read beside a gradient that is zero where it cut off: see fuse_pools.
  if (norm->relu && !std::all_of(readers.begin(), readers.end(), is_masked)) return;
  norm->y.data = nullptr;
  norm->pool.y = pool.y;
  if (!readers.empty()) norm->pool.where = pool.where;
  norm->pool.window[0] = pool.rows.kernel, norm->pool.window[1] = pool.columns.kernel;
  norm->pool.size[0] = pool.rows.in, norm->pool.size[1] = pool.columns.in;
  graph.merged(n, i);
}

}  // namespace

void fuse_norms(Graph& graph) {
  graph.each<Pool>([&](int i, const Pool& pool) { fuse_pool(graph, i, pool); });
}

}  // namespace ranvier
