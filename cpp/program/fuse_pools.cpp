// conv2d, ReLU and max-pool become one call.
//
//   conv2d(relu) -> a -> pool -> y, where          conv2d_pool(relu) -> y, where
//   pool(a) -> y'                                  -
//   relu_backward(dy, y') -> dy'                   relu_backward(dy, y) -> dy'
//   conv2d_pool_backward(dy', where, x, w)         the same
//
// (fuse_activations has merged the ReLU.) The backward of the eager step reads the maxima only, too, and
// pools once more for the ReLU's mask: see ops/pooling.py. All bits stay.
#include <algorithm>

#include "kernels/activation/activation.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/pooling/pooling.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

using Pool = MaxPool2dForward<float, uint8_t>;

bool same_axis(const PoolAxis& a, const PoolAxis& b) {
  return a.in == b.in && a.out == b.out && a.kernel == b.kernel && a.stride == b.stride &&
         a.padding == b.padding && a.dilation == b.dilation;
}

// A pool with unused offsets repeats an earlier one, whose y is used instead.
void find_again(Graph& graph, int i, const Pool& again) {
  if (!graph.is_temporary(again.y) || !graph.is_whole(again.y) || graph.is_read(again.where)) return;
  const int x = graph.buffer(again.x);
  for (int j : graph.readers(x)) {
    const Pool* pool = j < i ? graph.as<Pool>(j) : nullptr;
    if (!pool || pool->x.data != again.x.data || !same_layout(pool->x, again.x)) continue;
    if (!same_axis(pool->rows, again.rows) || !same_axis(pool->columns, again.columns)) continue;
    if (!graph.is_whole(pool->y) || !same_layout(pool->y, again.y)) continue;
    if (graph.written_between(x, j, i) || graph.written_after(graph.buffer(pool->y), j)) continue;
    graph.redirect(graph.buffer(again.y), pool->y.data);
    graph.merged(j, i, false);
    return;
  }
}

// Offsets are found before the ReLU. Where it cuts off the maximum they may differ from the pool's, so they
// may only be read beside a gradient that is zero there.
bool is_masked(Graph& graph, int i, const Pool& pool) {
  if (const auto* weight = graph.as<Conv2dPoolBackwardWeight<float>>(i))
    return is_masked_by(graph, weight->dy, pool.y);
  const auto* input = graph.as<Conv2dPoolBackwardInput<float>>(i);
  return input && is_masked_by(graph, input->dy, pool.y);
}

void fuse_pool(Graph& graph, int i, const Pool& pool) {
  if (!pool.channels_last || !side_by_side(pool.rows) || !side_by_side(pool.columns)) return;
  if (!graph.is_whole(pool.y) || !graph.is_temporary(pool.where)) return;
  const int c = graph.producer(pool.x, i);
  if (!graph.as<Conv2dForward<float>>(c)) return;
  const Conv2dForward<float> conv = *graph.as<Conv2dForward<float>>(c);
  if (conv.geometry.groups != 1 || !same_layout(conv.y, pool.x)) return;
  const std::vector<int> readers = graph.readers(graph.buffer(pool.where));
  if (conv.activation == Conv2dActivation::relu &&
      !std::all_of(readers.begin(), readers.end(), [&](int j) { return is_masked(graph, j, pool); }))
    return;
  graph.replace(c, Conv2dPoolForward<float>{conv.x,
                                            conv.w,
                                            conv.bias,
                                            pool.y,
                                            readers.empty() ? TensorView<uint8_t>{} : pool.where,
                                            conv.geometry,
                                            conv.activation,
                                            conv.algorithms,
                                            {pool.rows.kernel, pool.columns.kernel},
                                            {conv.y.shape[2], conv.y.shape[3]},
                                            {},
                                            conv.norm});
  graph.merged(c, i);
}

// The ReLU's backward that alone reads the gradient to a pooled convolution's input.
void fuse_mask(Graph& graph, int i, const ActivationBackward<float>& mask) {
  if (mask.kind != Activation::relu || !same_layout(mask.dy, mask.dx)) return;
  const int p = graph.producer(mask.dy, i);
  auto* input = graph.as<Conv2dPoolBackwardInput<float>>(p);
  if (!input || input->saved.data || !same_layout(input->dx, mask.dy)) return;
  if (graph.written_after(graph.buffer(mask.saved), p)) return;
  input->saved = mask.saved;
  input->dx.data = mask.dx.data;
  graph.merged(p, i);
}

}  // namespace

void fuse_pools(Graph& graph) {
  graph.each<Pool>([&](int i, const Pool& pool) { find_again(graph, i, pool); });
  graph.each<Pool>([&](int i, const Pool& pool) { fuse_pool(graph, i, pool); });
  graph.each<ActivationBackward<float>>([&](int i, const auto& mask) { fuse_mask(graph, i, mask); });
}

}  // namespace ranvier
