"""Differentiable operations on Tensors: one file for each room, forward and backward side by side.

Importing this package attaches the operators and methods to Tensor.
"""

import importlib
import sys
import types
from typing import TYPE_CHECKING, Any

from ranvier.ops import attach as attach
from ranvier.ops.activation import (
    celu,
    elu,
    gelu,
    glu,
    hardshrink,
    hardsigmoid,
    hardswish,
    hardtanh,
    heaviside,
    leaky_relu,
    logsigmoid,
    mish,
    prelu,
    relu,
    relu6,
    selu,
    sigmoid,
    silu,
    softplus,
    softshrink,
    softsign,
    tanh,
    tanhshrink,
)
from ranvier.ops.diagonal import diagonal, trace
from ranvier.ops.elementwise import (
    abs,
    add,
    clamp,
    clip,
    cos,
    div,
    eq,
    exp,
    expm1,
    ge,
    gt,
    le,
    log,
    log1p,
    lt,
    masked_fill,
    maximum,
    minimum,
    mul,
    ne,
    neg,
    pow,
    reciprocal,
    round,
    sign,
    sin,
    sqrt,
    square,
    sub,
    where,
)
from ranvier.ops.index import gather, index_select, masked_select, nonzero, take_along_dim
from ranvier.ops.join import (
    cat,
    chunk,
    concatenate,
    narrow,
    select,
    split,
    stack,
    unbind,
)
from ranvier.ops.matmul import matmul
from ranvier.ops.norms import count_nonzero, logsumexp, norm, prod
from ranvier.ops.products import bmm, dot, mm, mv, outer
from ranvier.ops.reduce import (
    all,
    amax,
    amin,
    any,
    argmax,
    argmin,
    max,
    mean,
    min,
    sum,
)
from ranvier.ops.repeat import meshgrid, repeat, repeat_interleave, roll, tile
from ranvier.ops.scan import cumprod, cumsum
from ranvier.ops.scatter import index_add, scatter, scatter_add
from ranvier.ops.shape import (
    broadcast_to,
    expand,
    flatten,
    flip,
    movedim,
    permute,
    ravel,
    reshape,
    squeeze,
    swapaxes,
    t,
    transpose,
    unflatten,
    unsqueeze,
)
from ranvier.ops.softmax import log_softmax, softmax, softmin
from ranvier.ops.sort import argsort, kthvalue, median, sort, topk
from ranvier.ops.triangle import tril, triu
from ranvier.ops.variance import std, std_mean, var, var_mean

if TYPE_CHECKING:
    from ranvier.ops.attention import scaled_dot_product_attention
    from ranvier.ops.conv1d import conv1d
    from ranvier.ops.conv2d import conv2d
    from ranvier.ops.conv_transpose import conv_transpose1d, conv_transpose2d
    from ranvier.ops.distance import cosine_similarity, pairwise_distance
    from ranvier.ops.dropout import alpha_dropout, dropout, dropout1d, dropout2d
    from ranvier.ops.einsum import einsum
    from ranvier.ops.embedding import embedding
    from ranvier.ops.interpolate import interpolate
    from ranvier.ops.linear import linear
    from ranvier.ops.loss import (
        bce,
        bce_with_logits,
        cosine_embedding,
        cross_entropy,
        focal,
        gaussian_nll,
        hinge_embedding,
        huber,
        kl_div,
        l1,
        margin_ranking,
        mse,
        multi_margin,
        nll,
        poisson_nll,
        sigmoid_focal,
        smooth_l1,
        soft_margin,
        triplet_margin,
    )
    from ranvier.ops.norm import batch_norm, group_norm, instance_norm, layer_norm, rms_norm
    from ranvier.ops.one_hot import one_hot
    from ranvier.ops.pad import pad
    from ranvier.ops.pooling import (
        adaptive_avg_pool1d,
        adaptive_avg_pool2d,
        adaptive_max_pool1d,
        adaptive_max_pool2d,
        avg_pool1d,
        avg_pool2d,
        max_pool1d,
        max_pool2d,
    )

# Rooms that no method of Tensor needs are loaded with the first use of one of their names: all of them would
# take a third of the time of `import ranvier`.
_LATER = {
    "attention": "scaled_dot_product_attention",
    "conv1d": "conv1d",
    "conv2d": "conv2d",
    "conv_transpose": "conv_transpose1d conv_transpose2d",
    "distance": "cosine_similarity pairwise_distance",
    "dropout": "alpha_dropout dropout dropout1d dropout2d",
    "einsum": "einsum",
    "embedding": "embedding",
    "interpolate": "interpolate",
    "linear": "linear",
    "loss": (
        "bce bce_with_logits cosine_embedding cross_entropy focal gaussian_nll hinge_embedding "
        "huber kl_div l1 margin_ranking mse multi_margin nll poisson_nll sigmoid_focal smooth_l1 "
        "soft_margin triplet_margin"
    ),
    "norm": "batch_norm group_norm instance_norm layer_norm rms_norm",
    "one_hot": "one_hot",
    "pad": "pad",
    "pooling": (
        "adaptive_avg_pool1d adaptive_avg_pool2d adaptive_max_pool1d adaptive_max_pool2d avg_pool1d "
        "avg_pool2d max_pool1d max_pool2d"
    ),
}
_ROOMS = {name: room for room, names in _LATER.items() for name in names.split()}


def __getattr__(name: str) -> Any:
    if name not in _ROOMS:
        raise AttributeError(f"module 'ranvier.ops' has no attribute {name!r}")
    value = getattr(importlib.import_module(f"ranvier.ops.{_ROOMS[name]}"), name)
    globals()[name] = value
    return value


class _Ops(types.ModuleType):
    """Where a room has the name of an op, ``ops.conv2d`` is the op, also after Python has loaded the room."""

    def __setattr__(self, name: str, value: Any) -> None:
        if isinstance(value, types.ModuleType) and name in __all__:
            value = vars(value).get(name, vars(self).get(name))
        super().__setattr__(name, value)


sys.modules[__name__].__class__ = _Ops


__all__: list[str] = [
    "abs",
    "adaptive_avg_pool1d",
    "adaptive_avg_pool2d",
    "adaptive_max_pool1d",
    "adaptive_max_pool2d",
    "add",
    "all",
    "alpha_dropout",
    "amax",
    "amin",
    "any",
    "argmax",
    "argmin",
    "argsort",
    "avg_pool1d",
    "avg_pool2d",
    "batch_norm",
    "bce",
    "bce_with_logits",
    "bmm",
    "broadcast_to",
    "cat",
    "celu",
    "chunk",
    "clamp",
    "clip",
    "concatenate",
    "conv1d",
    "conv2d",
    "conv_transpose1d",
    "conv_transpose2d",
    "cos",
    "cosine_embedding",
    "cosine_similarity",
    "count_nonzero",
    "cross_entropy",
    "cumprod",
    "cumsum",
    "diagonal",
    "div",
    "dot",
    "dropout",
    "dropout1d",
    "dropout2d",
    "einsum",
    "elu",
    "embedding",
    "eq",
    "exp",
    "expand",
    "expm1",
    "flatten",
    "flip",
    "focal",
    "gather",
    "gaussian_nll",
    "ge",
    "gelu",
    "glu",
    "group_norm",
    "gt",
    "hardshrink",
    "hardsigmoid",
    "hardswish",
    "hardtanh",
    "heaviside",
    "hinge_embedding",
    "huber",
    "index_add",
    "index_select",
    "instance_norm",
    "interpolate",
    "kl_div",
    "kthvalue",
    "l1",
    "layer_norm",
    "le",
    "leaky_relu",
    "linear",
    "log",
    "log1p",
    "log_softmax",
    "logsigmoid",
    "logsumexp",
    "lt",
    "margin_ranking",
    "masked_fill",
    "masked_select",
    "matmul",
    "max",
    "max_pool1d",
    "max_pool2d",
    "maximum",
    "mean",
    "median",
    "meshgrid",
    "min",
    "minimum",
    "mish",
    "mm",
    "movedim",
    "mse",
    "mul",
    "multi_margin",
    "mv",
    "narrow",
    "ne",
    "neg",
    "nll",
    "nonzero",
    "norm",
    "one_hot",
    "outer",
    "pad",
    "pairwise_distance",
    "permute",
    "poisson_nll",
    "pow",
    "prelu",
    "prod",
    "ravel",
    "reciprocal",
    "relu",
    "relu6",
    "repeat",
    "repeat_interleave",
    "reshape",
    "rms_norm",
    "roll",
    "round",
    "scaled_dot_product_attention",
    "scatter",
    "scatter_add",
    "select",
    "selu",
    "sigmoid",
    "sigmoid_focal",
    "sign",
    "silu",
    "sin",
    "smooth_l1",
    "soft_margin",
    "softmax",
    "softmin",
    "softplus",
    "softshrink",
    "softsign",
    "sort",
    "split",
    "sqrt",
    "square",
    "squeeze",
    "stack",
    "std",
    "std_mean",
    "sub",
    "sum",
    "swapaxes",
    "t",
    "take_along_dim",
    "tanh",
    "tanhshrink",
    "tile",
    "topk",
    "trace",
    "transpose",
    "tril",
    "triplet_margin",
    "triu",
    "unbind",
    "unflatten",
    "unsqueeze",
    "var",
    "var_mean",
    "where",
]
