"""Differentiable operations on Tensors: one file for each room, forward and backward side by side.

Importing this package attaches the operators and methods to Tensor.
"""

from ranvier.ops.activation import (
    elu,
    gelu,
    hardtanh,
    leaky_relu,
    relu,
    relu6,
    sigmoid,
    silu,
    softplus,
    step,
    tanh,
)

__all__: list[str] = [
    "elu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softplus",
    "step",
    "tanh",
]
