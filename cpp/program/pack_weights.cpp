// The pass pack_weights (fuse.h): if the weights of a product or a convolution do not change from run to run,
// they are packed once into the order in which the inner loops read them. The packing becomes a prepared
// instruction, which runs after Program::renew() only.
#include "base/caches.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// A one-dimensional view of `size` elements in a new temporary, for packed weights.
template <class T>
TensorView<T> new_line(Graph& graph, int64_t size) {
  TensorView<T> line{nullptr, 1, {size}, {1}};
  graph.allocate(line);
  return line;
}

// A small product (Matmul::is_small) of at least this many rows is left as it is: its own loop, which reads b
// as it is, is faster than the tiles that a packed b requires (measured).
constexpr int64_t kManyRows = 64;

// Packs b of the product c = a b, if its plan would pack b in each run, or would avoid that by computing the
// transpose.
template <class T>
void pack(Graph& graph, int i, Matmul<T>& m, int team) {
  if (m.c.shape[0] != 1 || m.packed.data || numel(m.b) == 0 || numel(m.c) == 0 || !graph.is_fixed(m.b))
    return;
  if (m.is_small() && m.c.shape[1] >= kManyRows) return;
  const MatmulPlan<T> plan(m, team);
  if (plan.way != MatmulWay::few_rows && plan.way != MatmulWay::tiles) return;
  // A large b is read at the speed of memory as it is, and a copy would take as much memory again.
  if (plan.way == MatmulWay::few_rows && numel(m.b) * int64_t(sizeof(T)) > caches.l2) return;
  if (plan.way == MatmulWay::tiles && !plan.transposed && !plan.pack_b && !plan.ragged_b) return;
  m.packed.data = m.b.data;  // not null, so that the plan below is that of a product with a packed b
  MatmulPack<T> pack{m.b, {}, MatmulPlan<T>(m, team).nr, &m.kernels()};
  pack.packed = new_line<T>(graph, pack.size());
  graph.prepare(i, pack);
  m.packed = as_const(pack.packed);
  graph.find_uses(i);
}

// Packs the weights of a convolution, if its algorithm for these shapes has a packed form (size() is not 0).
template <class T>
void pack(Graph& graph, int i, Conv2dForward<T>& conv, int) {
  if (conv.packed_w.data || numel(conv.w) == 0 || !graph.is_fixed(conv.w)) return;
  Conv2dPack<T> pack{conv, {}};
  const int64_t size = pack.size();
  if (size == 0) return;
  pack.packed = new_line<T>(graph, size);
  graph.prepare(i, pack);
  conv.packed_w = as_const(pack.packed);
  graph.find_uses(i);
}

void pack(Graph& graph, int i, Conv2dPoolForward& pooled, int team) { pack(graph, i, pooled.conv, team); }

}  // namespace

void pack_weights(Graph& graph, int team) {
  graph.each<Matmul<float>, Matmul<double>, Conv2dForward<float>, Conv2dForward<double>, Conv2dPoolForward>(
      [&](int i, auto& call) {
        if (!graph.makes_fixed(i)) pack(graph, i, call, team);  // else the call itself becomes prepared
      });
}

}  // namespace ranvier
