// A batch norm by running statistics is one line, y = (x - m) a + b, for each channel. Behind a conv2d or
// matmul its numbers are prepared once, and the layer applies them to what it has just computed, before the
// ReLU and the pool that follow. All bits stay.
#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/batch_norm.h"
#include "kernels/norm/scale.h"
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

// Whether the numbers follow from fixed buffers, or absent ones, alone.
template <class T>
bool is_fixed(const Graph& graph, const BatchNormForward<T>& norm) {
  for (const TensorView<const T>& v :
       {as_const(norm.running_mean), as_const(norm.running_var), norm.weight, norm.bias})
    if (v.data && !graph.is_fixed(graph.buffer(v))) return false;
  return true;
}

template <class T>
TensorView<const T> prepare_line(Graph& graph, int i, const BatchNormForward<T>& norm) {
  const int64_t channels = norm.x.shape[1];
  BatchNormScale<T> s{};
  s.mean = as_const(norm.running_mean), s.var = as_const(norm.running_var);
  s.weight = norm.weight, s.bias = norm.bias;
  s.eps = norm.eps;
  s.line = {nullptr, 2, {3, channels}, {channels, 1}};
  s.line.data = reinterpret_cast<T*>(graph.new_temporary(numel(s.line) * sizeof(T)));
  graph.prepare(i, s);
  return as_const(s.line);
}

template <class T>
void fuse_scale(Graph& graph, int i) {
  if (!graph.as<BatchNormForward<T>>(i)) return;
  const BatchNormForward<T> norm = *graph.as<BatchNormForward<T>>(i);
  if (norm.training || !norm.columns || numel(norm.x) == 0 || !is_fixed(graph, norm)) return;
  if (!graph.readers(graph.buffer(norm.mean)).empty() || !graph.readers(graph.buffer(norm.rstd)).empty())
    return;
  const int from = graph.buffer(norm.x), to = graph.buffer(norm.y);
  if (!graph.is_temporary(from) || !is_rows(graph, norm.x, 1) || !is_rows(graph, norm.y, 1)) return;
  if (graph.readers(from) != std::vector<int>{i} || graph.used_before(to, i)) return;
  const int p = graph.writer(from);
  if (p < 0) return;
  if (auto* c = graph.as<Conv2dForward<T>>(p)) {
    if (c->activation != Conv2dActivation::none || c->norm.data || !is_rows(graph, c->y, 1)) return;
    c->norm = prepare_line(graph, p, norm);
    c->y.data = norm.y.data;
  } else if (auto* m = graph.as<Matmul<T>>(p)) {
    if (m->activation.kind != Activation::count || m->norm.data || m->saved.data) return;
    if (m->c.shape[0] != 1 || !is_rows(graph, m->c, 2)) return;
    m->norm = prepare_line(graph, p, norm);
    m->c.data = norm.y.data;
  } else {
    return;
  }
  graph.merged(p, i);
}

}  // namespace

void fuse_scales(Graph& graph) {
  for (int i = 0; i < graph.size(); ++i) fuse_scale<float>(graph, i), fuse_scale<double>(graph, i);
}

}  // namespace ranvier
