// A batch norm by running statistics is one scale and one shift for each channel. Behind a conv2d or matmul
// by weights that stay as they are, both go into the weights, once: what is left is the layer alone, whose
// epilogue is free for the ReLU and the pool that follow.
#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/fold.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// All of the buffer, the channels contiguous and the pixels evenly spaced.
template <class T>
bool is_rows(const Graph& graph, const TensorView<T>& v, int channel) {
  if (!graph.is_whole(v) || v.strides[channel] != 1) return false;
  int64_t expected = v.shape[channel];
  for (int d = v.ndim - 1; d >= 0; --d) {
    if (d == channel) continue;
    if (v.shape[d] != 1 && v.strides[d] != expected) return false;
    expected *= v.shape[d];
  }
  return true;
}

// The buffers that the folded weights follow from, each fixed or absent.
template <class T>
bool are_fixed(const Graph& graph, std::initializer_list<TensorView<const T>> views) {
  for (const TensorView<const T>& v : views)
    if (v.data && !graph.is_fixed(graph.buffer(v))) return false;
  return true;
}

// A weight as a 4-D view, without the axes along which it repeats.
template <class T>
TensorView<const T> four_axes(const TensorView<const T>& w) {
  TensorView<const T> v = w;
  for (int d = w.ndim; d < 4; ++d) v.shape[d] = 1, v.strides[d] = 0;
  for (int d = 0; d < 4; ++d)
    if (v.strides[d] == 0) v.shape[d] = 1;
  v.ndim = 4;
  return v;
}

template <class T>
TensorView<T> new_like(Graph& graph, const TensorView<const T>& v) {
  TensorView<T> made;
  made.ndim = v.ndim;
  for (int d = 0; d < v.ndim; ++d) made.shape[d] = v.shape[d], made.strides[d] = v.strides[d];
  made.data = reinterpret_cast<T*>(graph.new_temporary(numel(v) * sizeof(T)));
  return made;
}

// Of instruction i, whose weight is w with output channels along `axis`, and bias b; they become the folded
// ones.
template <class T>
bool fold(Graph& graph, int i, const BatchNormForward<T>& norm, int axis, TensorView<const T>& w,
          TensorView<const T>& b) {
  TensorView<const T> plain = four_axes(w);
  const int64_t channels = norm.x.shape[1];
  if (!graph.is_whole(plain) || plain.shape[axis] != channels ||
      !are_fixed<T>(graph,
                    {w, b, as_const(norm.running_mean), as_const(norm.running_var), norm.weight, norm.bias}))
    return false;
  FoldBatchNorm<T> f{};
  f.axis = axis, f.eps = norm.eps;
  f.w = plain, f.b = b;
  f.mean = as_const(norm.running_mean), f.var = as_const(norm.running_var);
  f.weight = norm.weight, f.bias = norm.bias;
  f.folded_w = new_like(graph, plain);
  f.folded_bias = new_like(graph, TensorView<const T>{nullptr, 1, {channels}, {1}});
  graph.prepare(i, f);
  w.data = f.folded_w.data, b = as_const(f.folded_bias);
  return true;
}

template <class T>
void fold_norm(Graph& graph, int i) {
  const BatchNormForward<T>* norm = graph.as<BatchNormForward<T>>(i);
  if (!norm || norm->training || !norm->columns) return;
  if (!graph.readers(graph.buffer(norm->mean)).empty() || !graph.readers(graph.buffer(norm->rstd)).empty())
    return;
  const int from = graph.buffer(norm->x), to = graph.buffer(norm->y);
  if (!graph.is_temporary(from) || !is_rows(graph, norm->x, 1) || !is_rows(graph, norm->y, 1)) return;
  if (graph.readers(from) != std::vector<int>{i} || graph.used_before(to, i)) return;
  const int p = graph.writer(from);
  if (p < 0) return;
  if (auto* c = graph.as<Conv2dForward<T>>(p)) {
    if (c->activation != Conv2dActivation::none || !is_rows(graph, c->y, 1)) return;
    if (!fold(graph, p, *norm, 0, c->w, c->bias)) return;
    c->y.data = norm->y.data;
  } else if (auto* m = graph.as<Matmul<T>>(p)) {
    if (m->activation.kind != Activation::count || !is_rows(graph, m->c, 2)) return;
    if (!fold(graph, p, *norm, 2, m->b, m->bias)) return;
    m->c.data = norm->y.data;
  } else {
    return;
  }
  graph[p].rounds = true;
  graph.merged(p, i);
}

}  // namespace

void fold_norms(Graph& graph) {
  for (int i = 0; i < graph.size(); ++i) fold_norm<float>(graph, i), fold_norm<double>(graph, i);
}

}  // namespace ranvier
