// A product that is then copied, or added in place, to other memory is written, or added, there: one pass
// over it less. A part of a distributed step ends with this, for each gradient. The bits stay, since a
// product of few enough terms is one sum, to which what is there is added last.
#include "kernels/copy/copy.h"
#include "kernels/elementwise/elementwise.h"
#include "kernels/matmul/matmul.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// The product that makes all of x for instruction i alone, and that could as well write to y; or -1.
template <class T>
int product(Graph& graph, int i, const TensorView<const T>& x, const TensorView<T>& y) {
  if (numel(x) == 0 || !graph.is_whole(x) || !same_layout(x, y)) return -1;
  const int buffer = graph.buffer(x);
  if (!graph.is_temporary(x) || graph.readers(buffer) != std::vector<int>{i}) return -1;
  const int p = graph.writer(buffer);
  if (!graph.as<Matmul<T>>(p) || p > i) return -1;
  return graph.is_untouched(y, p, i) ? p : -1;
}

template <class T>
void write_to(Graph& graph, int p, int i, const TensorView<T>& y) {
  graph.as<Matmul<T>>(p)->c.data = y.data;
  graph.merged(p, i);
}

template <class T>
void fuse(Graph& graph, int i, const Copy<T>& copy) {
  const int p = product(graph, i, copy.x, copy.y);
  if (p >= 0) write_to(graph, p, i, copy.y);
}

template <class T>
void fuse(Graph& graph, int i, const Elementwise<T>& e) {
  if (e.op != ElementwiseOp::add || e.x[0].data != e.y.data || !e.x[1].data) return;
  if (!same_layout(e.x[0], e.y)) return;
  const int p = product(graph, i, e.x[1], e.y);
  if (p < 0 || !graph.as<Matmul<T>>(p)->can_add()) return;
  graph.as<Matmul<T>>(p)->added = true;
  write_to(graph, p, i, e.y);
}

}  // namespace

void fuse_writes(Graph& graph) {
  graph.each<Copy<float>, Copy<double>, Elementwise<float>, Elementwise<double>>(
      [&](int i, auto& call) { fuse(graph, i, call); });
}

}  // namespace ranvier
