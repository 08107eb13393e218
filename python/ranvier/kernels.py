"""The core's kernels on NumPy arrays, without tensors and tape.

Every function takes float32 or float64 arrays of any strides, returns new arrays and accepts ``out=``, an
array to write the result into. ``f_backward`` takes the gradient of f's result and returns those of its
inputs.

>>> import numpy as np
>>> from ranvier import kernels
>>> y = kernels.relu(np.array([-1.0, 2.0], np.float32))
>>> y
array([0., 2.], dtype=float32)
>>> kernels.relu_backward(np.ones(2, np.float32), y)
array([0., 1.], dtype=float32)
"""

from ranvier._core import (
    adaptive_avg_pool2d,
    adaptive_avg_pool2d_backward,
    avg_pool2d,
    avg_pool2d_backward,
    bce,
    bce_backward,
    bce_with_logits,
    bce_with_logits_backward,
    conv2d,
    conv2d_backward,
    cross_entropy,
    cross_entropy_backward,
    elu,
    elu_backward,
    gelu,
    gelu_backward,
    gelu_tanh,
    gelu_tanh_backward,
    hardtanh,
    hardtanh_backward,
    leaky_relu,
    leaky_relu_backward,
    log_softmax,
    log_softmax_backward,
    max_pool2d,
    max_pool2d_backward,
    mse,
    mse_backward,
    relu,
    relu_backward,
    sigmoid,
    sigmoid_backward,
    silu,
    silu_backward,
    softmax,
    softmax_backward,
    softplus,
    softplus_backward,
    step,
    step_backward,
    tanh,
    tanh_backward,
)

__all__ = [
    "adaptive_avg_pool2d",
    "adaptive_avg_pool2d_backward",
    "avg_pool2d",
    "avg_pool2d_backward",
    "bce",
    "bce_backward",
    "bce_with_logits",
    "bce_with_logits_backward",
    "conv2d",
    "conv2d_backward",
    "cross_entropy",
    "cross_entropy_backward",
    "elu",
    "elu_backward",
    "gelu",
    "gelu_backward",
    "gelu_tanh",
    "gelu_tanh_backward",
    "hardtanh",
    "hardtanh_backward",
    "leaky_relu",
    "leaky_relu_backward",
    "log_softmax",
    "log_softmax_backward",
    "max_pool2d",
    "max_pool2d_backward",
    "mse",
    "mse_backward",
    "relu",
    "relu_backward",
    "sigmoid",
    "sigmoid_backward",
    "silu",
    "silu_backward",
    "softmax",
    "softmax_backward",
    "softplus",
    "softplus_backward",
    "step",
    "step_backward",
    "tanh",
    "tanh_backward",
]
