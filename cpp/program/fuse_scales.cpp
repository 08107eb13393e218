// A batch norm by running statistics is one line, y = (x - m) a + b, for each channel. After a conv2d or
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

// Whether its numbers follow from fixed buffers, or absent ones, alone.
template <class T>
bool is_fixed(const Graph& graph, const BatchNormForward<T>& norm) {
  for (const TensorView<const T>& v :
       {as_const(norm.running_mean), as_const(norm.running_var), norm.weight, norm.bias})
    if (v.data && !graph.is_fixed(v)) return false;
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
  graph.allocate(s.line);
  graph.prepare(i, s);
  return as_const(s.line);
}

template <class T>
void fuse_scale(Graph& graph, int i, const BatchNormForward<T>& norm) {
  if (norm.training || !norm.columns || numel(norm.x) == 0 || !is_fixed(graph, norm)) return;
  if (graph.is_read(norm.mean) || graph.is_read(norm.rstd)) return;
  if (!is_rows(graph, norm.x, 1) || !is_rows(graph, norm.y, 1)) return;
  const int p = graph.producer(norm.x, i);
  if (auto* c = graph.as<Conv2dForward<T>>(p)) {
    if (c->activation != Conv2dActivation::none || c->norm.data || !is_rows(graph, c->y, 1)) return;
    c->norm = prepare_line(graph, p, norm);
    c->y.data = norm.y.data;
  } else if (auto* m = graph.as<Matmul<T>>(p)) {
    if (m->activation.kind != Activation::none || m->norm.data || m->saved.data) return;
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
  graph.each<BatchNormForward<float>, BatchNormForward<double>>(
      [&](int i, auto& norm) { fuse_scale(graph, i, norm); });
}

}  // namespace ranvier
