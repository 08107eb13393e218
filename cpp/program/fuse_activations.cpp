// An activation, or its backward, becomes the epilogue of the product, convolution or norm that makes what it
// reads. The epilogue runs the same function on the finished product: the bits stay.
#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/batch_norm.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// Whether y may be made where x is: the same elements in the same order.
template <class T>
bool same_elements(const Graph& graph, const TensorView<const T>& x, const TensorView<T>& y) {
  return graph.is_whole(y) && same_layout(x, y);
}

template <class T>
void fuse(Graph& graph, int i, const ActivationForward<T>& f) {
  if (!same_elements(graph, f.x, f.y)) return;
  const int p = graph.producer(f.x, i);
  const bool relu = f.kind == Activation::relu;
  if (auto* m = graph.as<Matmul<T>>(p); m && m->activation.kind == Activation::none) {
    m->activation = {f.kind, f.alpha, f.beta};
    m->c.data = f.y.data;
  } else if (auto* c = graph.as<Conv2dForward<T>>(p); c && relu && c->activation == Conv2dActivation::none) {
    c->activation = Conv2dActivation::relu;
    c->y.data = f.y.data;
  } else if (auto* n = graph.as<BatchNormForward<T>>(p); n && relu && !n->relu && n->columns) {
    if (n->y.shape[2] != 1 && n->y.strides[2] != n->y.shape[1]) return;
    n->relu = true;
    n->y.data = f.y.data;
  } else {
    return;
  }
  graph.merged(p, i);
}

template <class T>
void fuse(Graph& graph, int i, const ActivationBackward<T>& b) {
  if (!same_elements(graph, b.dy, b.dx) || !same_layout(b.saved, b.dy)) return;
  const int p = graph.producer(b.dy, i);
  auto* m = graph.as<Matmul<T>>(p);
  if (!m || m->activation.kind != Activation::none || m->bias.data) return;
  if (graph.written_after(graph.buffer(b.saved), p)) return;
  m->activation = {b.kind, b.alpha, b.beta};
  m->saved = as_const(at(m->c, const_cast<T*>(b.saved.data)));  // its layout is that of c
  m->c.data = b.dx.data;
  graph.merged(p, i);
}

}  // namespace

void fuse_activations(Graph& graph) {
  graph.each<ActivationForward<float>, ActivationForward<double>, ActivationBackward<float>,
             ActivationBackward<double>>([&](int i, auto& call) { fuse(graph, i, call); });
}

}  // namespace ranvier
