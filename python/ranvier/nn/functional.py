"""The operations under the names of ``torch.nn.functional``."""

from ranvier.ops import (
    adaptive_avg_pool2d,
    avg_pool2d,
    celu,
    conv1d,
    conv2d,
    conv_transpose1d,
    conv_transpose2d,
    cross_entropy,
    dropout,
    elu,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    kl_div,
    leaky_relu,
    linear,
    log_softmax,
    logsigmoid,
    max_pool2d,
    mish,
    one_hot,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softmax,
    softmin,
    softplus,
    softshrink,
    softsign,
    step,
    tanh,
    tanhshrink,
)
from ranvier.ops import bce as binary_cross_entropy
from ranvier.ops import bce_with_logits as binary_cross_entropy_with_logits
from ranvier.ops import focal as focal_loss
from ranvier.ops import gaussian_nll as gaussian_nll_loss
from ranvier.ops import hinge_embedding as hinge_embedding_loss
from ranvier.ops import huber as huber_loss
from ranvier.ops import l1 as l1_loss
from ranvier.ops import margin_ranking as margin_ranking_loss
from ranvier.ops import mse as mse_loss
from ranvier.ops import multi_margin as multi_margin_loss
from ranvier.ops import nll as nll_loss
from ranvier.ops import poisson_nll as poisson_nll_loss
from ranvier.ops import sigmoid_focal as sigmoid_focal_loss
from ranvier.ops import smooth_l1 as smooth_l1_loss
from ranvier.ops import soft_margin as soft_margin_loss

__all__ = [
    "adaptive_avg_pool2d",
    "avg_pool2d",
    "binary_cross_entropy",
    "binary_cross_entropy_with_logits",
    "celu",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cross_entropy",
    "dropout",
    "elu",
    "focal_loss",
    "gaussian_nll_loss",
    "gelu",
    "glu",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "hinge_embedding_loss",
    "huber_loss",
    "kl_div",
    "l1_loss",
    "leaky_relu",
    "linear",
    "log_softmax",
    "logsigmoid",
    "margin_ranking_loss",
    "max_pool2d",
    "mish",
    "mse_loss",
    "multi_margin_loss",
    "nll_loss",
    "one_hot",
    "poisson_nll_loss",
    "prelu",
    "relu",
    "relu6",
    "selu",
    "sigmoid",
    "sigmoid_focal_loss",
    "silu",
    "smooth_l1_loss",
    "soft_margin_loss",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "step",
    "tanh",
    "tanhshrink",
]
