// An activation, or its backward, becomes the epilogue of the product that makes what it reads. The epilogue
// runs the same function on the finished product: the bits stay.
#include "kernels/conv2d/conv2d.h"
#include "kernels/matmul/matmul.h"
#include "kernels/norm/batch_norm.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// The instruction that makes x, if nobody but instruction i reads it and its result may as well lie where y
// is: y is the same elements in the same order, and not in use before.
template <class T>
int producer(const Graph& graph, const TensorView<const T>& x, const TensorView<T>& y, int i) {
  const int from = graph.buffer(x), to = graph.buffer(y);
  if (!graph.is_temporary(from) || !graph.is_whole(x) || !graph.is_whole(y) || !same_layout(x, y)) return -1;
  if (from == to || graph.used_before(to, i)) return -1;
  if (graph.readers(from) != std::vector<int>{i}) return -1;
  return graph.writer(from);
}

template <class T>
bool fuse_forward(Graph& graph, int i) {
  const ActivationForward<T>* f = graph.as<ActivationForward<T>>(i);
  if (!f) return false;
  const int p = producer(graph, f->x, f->y, i);
  if (p < 0) return false;
  if (Matmul<T>* m = graph.as<Matmul<T>>(p)) {
    if (m->activation.kind != Activation::count) return false;
    m->activation = {f->kind, f->alpha, f->beta};
    m->c.data = f->y.data;
  } else if (Conv2dForward<T>* c = graph.as<Conv2dForward<T>>(p)) {
    if (c->activation != Conv2dActivation::none || f->kind != Activation::relu) return false;
    c->activation = Conv2dActivation::relu;
    c->y.data = f->y.data;
  } else if (BatchNormForward<T>* n = graph.as<BatchNormForward<T>>(p)) {
    const bool dense = n->y.shape[2] == 1 || n->y.strides[2] == n->y.shape[1];
    if (n->relu || f->kind != Activation::relu || !n->columns || !dense) return false;
    n->relu = true;
    n->y.data = f->y.data;
  } else {
    return false;
  }
  graph.merged(p, i);
  return true;
}

template <class T>
bool fuse_backward(Graph& graph, int i) {
  const ActivationBackward<T>* b = graph.as<ActivationBackward<T>>(i);
  if (!b) return false;
  const int p = producer(graph, b->dy, b->dx, i);
  if (p < 0 || !same_layout(b->saved, b->dy) || graph.written_after(graph.buffer(b->saved), p)) return false;
  Matmul<T>* m = graph.as<Matmul<T>>(p);
  if (!m || m->activation.kind != Activation::count || m->bias.data) return false;
  m->activation = {b->kind, b->alpha, b->beta};
  m->saved = as_const(at(m->c, const_cast<T*>(b->saved.data)));  // it lies as c does
  m->c.data = b->dx.data;
  graph.merged(p, i);
  return true;
}

}  // namespace

void fuse_activations(Graph& graph) {
  for (int i = 0; i < graph.size(); ++i)
    fuse_forward<float>(graph, i) || fuse_forward<double>(graph, i) || fuse_backward<float>(graph, i) ||
        fuse_backward<double>(graph, i);
}

}  // namespace ranvier
