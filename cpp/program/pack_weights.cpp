// Weights that stay as they are, in the order in which the inner loops read them: packed once, not in each
// run.
#include "kernels/conv2d/conv2d.h"
#include "kernels/conv2d_pool/conv2d_pool.h"
#include "kernels/matmul/matmul.h"
#include "kernels/matmul/plan.h"
#include "program/fuse.h"

namespace ranvier {
namespace {

template <class T>
TensorView<T> new_line(Graph& graph, int64_t size) {
  TensorView<T> v;
  v.ndim = 1, v.shape[0] = size, v.strides[0] = 1;
  v.data = reinterpret_cast<T*>(graph.new_temporary(size * sizeof(T)));
  return v;
}

// b of a product that packs it, or turns round so as not to.
template <class T>
bool pack_matmul(Graph& graph, int i, int team) {
  Matmul<T>* m = graph.as<Matmul<T>>(i);
  if (!m || m->c.shape[0] != 1 || m->packed.data || numel(m->b) == 0 || !graph.is_fixed(graph.buffer(m->b)))
    return false;
  const MatmulPlan<T> plan(*m, team);
  if (plan.dots || plan.stream || plan.stack) return false;
  if (!plan.transposed && !plan.pack_b && !plan.ragged_b) return false;
  m->packed.data = m->b.data;  // what is asked for is the plan of a packed b
  MatmulPack<T> pack{m->b, {}, MatmulPlan<T>(*m, team).nr};
  pack.packed = new_line<T>(graph, pack.size());
  graph.prepare(i, pack);
  m->packed = as_const(pack.packed);
  graph.find_uses(i);
  return true;
}

// The weights of `call`, which is a convolution like `conv`.
template <class T, class Call>
bool pack_conv(Graph& graph, int i, Call& call, const Conv2dForward<T>& conv) {
  if (call.packed.data || numel(call.w) == 0 || !graph.is_fixed(graph.buffer(call.w))) return false;
  Conv2dPack<T> pack{conv, {}};
  const int64_t size = pack.size();
  if (size == 0) return false;
  pack.packed = new_line<T>(graph, size);
  graph.prepare(i, pack);
  call.packed = as_const(pack.packed);
  graph.find_uses(i);
  return true;
}

template <class T>
bool pack_conv(Graph& graph, int i) {
  auto* conv = graph.as<Conv2dForward<T>>(i);
  return conv && pack_conv<T>(graph, i, *conv, *conv);
}

bool pack_pooled_conv(Graph& graph, int i) {
  auto* pooled = graph.as<Conv2dPoolForward<float>>(i);
  if (!pooled) return false;
  TensorView<float> z = pooled->y;
  z.shape[2] = pooled->size[0], z.shape[3] = pooled->size[1];
  return pack_conv<float>(
      graph, i, *pooled,
      {pooled->x, pooled->w, pooled->bias, z, pooled->geometry, Conv2dActivation::none, pooled->winograd});
}

}  // namespace

void pack_weights(Graph& graph, int team) {
  for (int i = 0; i < graph.size(); ++i)
    pack_matmul<float>(graph, i, team) || pack_matmul<double>(graph, i, team) || pack_conv<float>(graph, i) ||
        pack_conv<double>(graph, i) || pack_pooled_conv(graph, i);
}

}  // namespace ranvier
