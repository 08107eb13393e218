"""The operations under the names of ``torch.nn.functional``."""

from ranvier.ops import (
    adaptive_avg_pool2d,
    avg_pool2d,
    conv2d,
    cross_entropy,
    elu,
    gelu,
    hardtanh,
    leaky_relu,
    linear,
    log_softmax,
    max_pool2d,
    one_hot,
    relu,
    relu6,
    sigmoid,
    silu,
    softmax,
    softplus,
    step,
    tanh,
)
from ranvier.ops import bce as binary_cross_entropy
from ranvier.ops import bce_with_logits as binary_cross_entropy_with_logits
from ranvier.ops import mse as mse_loss

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "conv2d",
    "cross_entropy",
    "elu",
    "gelu",
    "hardtanh",
    "leaky_relu",
    "linear",
    "log_softmax",
    "max_pool2d",
    "mse_loss",
    "one_hot",
    "relu",
    "relu6",
    "sigmoid",
    "silu",
    "softmax",
    "softplus",
    "step",
    "tanh",
]
