// What each bind_<room>.cpp adds to the module; only module.cpp reads it, so that a new room rebuilds no
// other.
#pragma once
#include <pybind11/pybind11.h>

namespace ranvier::bind {

void register_runtime(pybind11::module_& m);
void register_matmul(pybind11::module_& m);
void register_conv2d(pybind11::module_& m);
void register_conv2d_pool(pybind11::module_& m);
void register_conv2d_pool_backward(pybind11::module_& m);
void register_conv_transpose(pybind11::module_& m);
void register_interpolate(pybind11::module_& m);
void register_pad(pybind11::module_& m);
void register_pooling(pybind11::module_& m);
void register_avg_pool(pybind11::module_& m);
void register_clip(pybind11::module_& m);
void register_lbfgs(pybind11::module_& m);
void register_optimizer(pybind11::module_& m);
void register_penalty(pybind11::module_& m);
void register_augment(pybind11::module_& m);
void register_dropout(pybind11::module_& m);
void register_probe(pybind11::module_& m);
void register_activation(pybind11::module_& m);
void register_elementwise(pybind11::module_& m);
void register_softmax(pybind11::module_& m);
void register_distance(pybind11::module_& m);
void register_loss(pybind11::module_& m);
void register_class_loss(pybind11::module_& m);
void register_reduce(pybind11::module_& m);
void register_copy(pybind11::module_& m);
void register_index(pybind11::module_& m);
void register_scan(pybind11::module_& m);
void register_sort(pybind11::module_& m);
void register_norm(pybind11::module_& m);
void register_embedding(pybind11::module_& m);
void register_recurrent(pybind11::module_& m);
void register_program(pybind11::module_& m);

}  // namespace ranvier::bind
