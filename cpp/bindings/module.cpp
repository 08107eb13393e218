// The extension module ranvier._core: one register_* call for each room.
#include "bindings/array_args.h"
#include "bindings/rooms.h"

PYBIND11_MODULE(_core, m) {
  namespace bind = ranvier::bind;
  m.doc() = "ranvier's kernels on NumPy arrays; see python/ranvier/kernels.py for their documentation";
  bind::import_numpy();
  bind::register_runtime(m);
  bind::register_matmul(m);
  bind::register_conv2d(m);
  bind::register_conv2d_pool(m);
  bind::register_conv2d_pool_backward(m);
  bind::register_conv_transpose(m);
  bind::register_interpolate(m);
  bind::register_pad(m);
  bind::register_pooling(m);
  bind::register_avg_pool(m);
  bind::register_clip(m);
  bind::register_lbfgs(m);
  bind::register_optimizer(m);
  bind::register_penalty(m);
  bind::register_augment(m);
  bind::register_dropout(m);
  bind::register_probe(m);
  bind::register_activation(m);
  bind::register_elementwise(m);
  bind::register_softmax(m);
  bind::register_distance(m);
  bind::register_loss(m);
  bind::register_class_loss(m);
  bind::register_reduce(m);
  bind::register_copy(m);
  bind::register_index(m);
  bind::register_scan(m);
  bind::register_sort(m);
  bind::register_norm(m);
  bind::register_embedding(m);
  bind::register_recurrent(m);
  bind::register_program(m);
}
