// Packs the weights of a program's products and convolutions once, if they do not change from run to run:
// into the order in which the inner loops read them. The packing becomes an instruction that runs after
// renew() only.
#include "base/caches.h"
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

// A vector of memory in which the program keeps packed weights.
template <class T>
TensorView<T> new_line(Graph& graph, int64_t size) {
  TensorView<T> line{nullptr, 1, {size}, {1}};
  graph.allocate(line);
  return line;
}

constexpr int64_t kManyRows = 64;  // rows of a with which a small product takes longer than to copy b

// Packs b of a product whose plan packs it in each run, or works around it by transposing.
template <class T>
void pack(Graph& graph, int i, Matmul<T>& m, int team) {
  if (m.c.shape[0] != 1 || m.packed.data || numel(m.b) == 0 || numel(m.c) == 0 || !graph.is_fixed(m.b))
    return;
  if (m.is_small() && m.c.shape[1] >= kManyRows) return;
  const MatmulPlan<T> plan(m, team);
  if (plan.way != MatmulWay::few_rows && plan.way != MatmulWay::tiles) return;
  // A large b is read at the speed of memory as it is, and a copy would take as much memory again.
  if (plan.way == MatmulWay::few_rows && m.c.shape[1] <= kDotRows &&
      numel(m.b) * int64_t(sizeof(T)) > caches.l2)
    return;
  if (plan.way == MatmulWay::tiles && !plan.transposed && !plan.pack_b && !plan.ragged_b) return;
  m.packed.data = m.b.data;  // for the plan of a packed b
  MatmulPack<T> pack{m.b, {}, MatmulPlan<T>(m, team).nr, &m.kernels()};
  pack.packed = new_line<T>(graph, pack.size());
  graph.prepare(i, pack);
  m.packed = as_const(pack.packed);
  graph.find_uses(i);
}

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
        if (!graph.makes_fixed(i)) pack(graph, i, call, team);  // else it runs as rarely as a packing would
      });
}

}  // namespace ranvier
