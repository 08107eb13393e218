"""One right call of every public op and kernel: (arrays, attributes by name). Tests spoil one argument."""

from __future__ import annotations

from typing import Any

import numpy as np
from ranvier import kernels, ops

Call = tuple[tuple[Any, ...], dict[str, Any]]
OP_NAMES = {getattr(ops, name).__name__ for name in (*ops.__all__, *ops.layers.__all__)}  # one of aliases
# The arrays that a call changes, by place: running statistics and their count.
WRITES = {("ops", "batch_norm"): (1, 2), ("kernels", "batch_norm"): (3, 4, 5)}


def _array(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).uniform(0.1, 0.9, shape).astype(np.float32)


X = _array(2, 3)
IMAGES = _array(2, 4, 5, 6)
WEIGHT = _array(6, 2, 3, 2)
SIGNALS = _array(2, 4, 7)
WEIGHT_1D = _array(6, 2, 3)
CLASSES = np.array([2, 0])
WEIGHTS = _array(3)
SIGNS = np.where(X > 0.5, 1, -1).astype(np.float32)
INDEX = np.array([[1, 0, 2], [0, 0, 1]])
MASK = np.array([[True, False, True], [False, True, True]])
PLACES = np.array([[1, -2, 1, 0], [0, 3, 2, 4]])
GEOMETRY = {"stride": 1, "padding": 1, "dilation": 1, "groups": 2}
STAMPS = {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2, "dilation": 1}
WINDOW = {"kernel_size": 2, "stride": 2, "padding": 1, "ceil_mode": False}
LARGER = {"size": None, "scale_factor": 2.0, "mode": "bilinear", "align_corners": False}
FRAME = {"pad": (1, 2, 0, 1), "mode": "constant"}
AVERAGE_1D = {**WINDOW, "count_include_pad": True}
TAPS = {"dilation": 1, "return_indices": False}
AVERAGE = {**WINDOW, "count_include_pad": True, "divisor_override": None}
AXES = {"dim": 1, "keepdim": False}

_UNARY = (
    "abs cos exp expm1 log log1p neg reciprocal relu relu6 round sigmoid sign silu sin sqrt square tanh "
    "hardsigmoid hardswish logsigmoid mish selu softsign tanhshrink"
)
_UNARY_PLAIN = "ravel t"
_BINARY = "add eq ge gt le lt maximum minimum mul ne pow sub"
_REDUCTIONS = "all amax amin any argmax argmin max mean min sum"

OPS: dict[str, Call] = {
    **{name: ((X,), {}) for name in (*_UNARY.split(), *_UNARY_PLAIN.split())},
    **{name: ((X, X), {}) for name in _BINARY.split()},
    **dict.fromkeys(_REDUCTIONS.split(), ((X,), AXES)),
    **{name: ((X,), {**AXES, "correction": 1}) for name in ("std", "var")},
    **{name: ((X, X), {"reduction": "mean"}) for name in ("l1", "mse", "soft_margin")},
    "clip": ((X,), {"min": 0.2, "max": 0.8}),
    **{name: ((X,), {"dim": 1}) for name in ("log_softmax", "softmax", "softmin", "squeeze", "unsqueeze")},
    "transpose": ((X,), {"dim0": 0, "dim1": 1}),
    **{name: ((X,), {"diagonal": 0}) for name in ("tril", "triu")},
    **{name: (([X, X],), {"dim": 0}) for name in ("cat", "stack")},
    **{name: ((X,), {"*": (1, 0)}) for name in ("flip", "permute")},
    **{
        name: ((X,), {"dim": 1, "unbiased": True, "keepdim": False, "correction": 1})
        for name in ("std_mean", "var_mean")
    },
    **dict.fromkeys(("logsumexp", "prod"), ((X,), AXES)),
    "adaptive_avg_pool1d": ((SIGNALS,), {"output_size": 3}),
    "adaptive_avg_pool2d": ((IMAGES,), {"output_size": (2, 3)}),
    "adaptive_max_pool1d": ((SIGNALS,), {"output_size": 3, "return_indices": False}),
    "adaptive_max_pool2d": ((IMAGES,), {"output_size": (2, 3), "return_indices": True}),
    "avg_pool1d": ((SIGNALS,), AVERAGE_1D),
    "avg_pool2d": ((IMAGES,), AVERAGE),
    "batch_norm": (
        (IMAGES, *(_array(4) for _ in range(4))),
        {"training": False, "momentum": 0.1, "eps": 1e-5, "num_batches_tracked": None},
    ),
    "broadcast_to": ((X,), {"size": (4, 2, 3)}),
    "bmm": ((_array(2, 3, 4), _array(2, 4, 5)), {}),
    "chunk": ((X,), {"chunks": 2, "dim": 1}),
    "conv1d": ((SIGNALS, WEIGHT_1D, _array(6)), GEOMETRY),
    "conv2d": ((IMAGES, WEIGHT, _array(6)), GEOMETRY),
    "conv_transpose1d": ((SIGNALS, WEIGHT_1D[:4], _array(4)), STAMPS),
    "conv_transpose2d": ((IMAGES, WEIGHT[:4], _array(4)), STAMPS),
    "bce": ((X, X), {"weight": WEIGHTS, "reduction": "mean"}),
    "bce_with_logits": ((X, X), {"weight": WEIGHTS, "pos_weight": WEIGHTS, "reduction": "mean"}),
    "cross_entropy": (
        (X, CLASSES),
        {"weight": WEIGHTS, "ignore_index": -100, "label_smoothing": 0.1, "reduction": "mean"},
    ),
    "focal": ((X, CLASSES), {"gamma": 2.0, "alpha": WEIGHTS, "ignore_index": -100, "reduction": "mean"}),
    "gaussian_nll": ((X, X, X), {"full": True, "eps": 1e-6, "reduction": "mean"}),
    "hinge_embedding": ((X, SIGNS), {"margin": 1.0, "reduction": "mean"}),
    "huber": ((X, X), {"delta": 1.0, "reduction": "mean"}),
    "kl_div": ((X, X), {"log_target": False, "reduction": "batchmean"}),
    "margin_ranking": ((X, X, SIGNS), {"margin": 0.5, "reduction": "mean"}),
    "multi_margin": ((X, CLASSES), {"p": 1, "margin": 1.0, "weight": WEIGHTS, "reduction": "mean"}),
    "nll": ((X, CLASSES), {"weight": WEIGHTS, "ignore_index": -100, "reduction": "mean"}),
    "poisson_nll": ((X, X), {"log_input": False, "full": True, "eps": 1e-8, "reduction": "mean"}),
    "sigmoid_focal": ((X, X), {"alpha": 0.25, "gamma": 2.0, "reduction": "none"}),
    "smooth_l1": ((X, X), {"beta": 1.0, "reduction": "mean"}),
    "count_nonzero": ((X,), {"dim": 1}),
    "diagonal": ((X,), {"offset": 1, "dim1": 0, "dim2": 1}),
    "dot": ((X[0], X[1]), {}),
    "heaviside": ((X,), {"values": 0.5}),
    **{name: ((X,), {"p": 0.5, "training": True}) for name in ("alpha_dropout", "dropout")},
    "dropout1d": ((X[:, :, None],), {"p": 0.5, "training": True}),
    "dropout2d": ((IMAGES,), {"p": 0.5, "training": True}),
    "cosine_embedding": ((X, X, SIGNS[:, 0]), {"margin": 0.0, "reduction": "mean"}),
    "cosine_similarity": ((X, X), {"dim": 1, "eps": 1e-8}),
    "pairwise_distance": ((X, 2 * X), {"p": 2.0, "eps": 1e-6, "keepdim": False}),
    "triplet_margin": (
        (X, 2 * X, 3 * X),
        {"margin": 1.0, "p": 2.0, "eps": 1e-6, "swap": True, "reduction": "mean"},
    ),
    **{name: ((X,), {"alpha": 1.0}) for name in ("celu", "elu")},
    **{name: ((X,), {"lambd": 0.5}) for name in ("hardshrink", "softshrink")},
    "einsum": ((), {"*": ("ij,kj->ik", X, X)}),
    "embedding": (
        (CLASSES, X.T),
        {"padding_idx": 1, "max_norm": None, "norm_type": 2.0, "scale_grad_by_freq": False, "sparse": False},
    ),
    "expand": ((X,), {"*": (4, 2, 3)}),
    "flatten": ((IMAGES,), {"start_dim": 1, "end_dim": -1}),
    "gather": ((X,), {"dim": 1, "index": INDEX}),
    "gelu": ((X,), {"approximate": "none"}),
    "argsort": ((X,), {"dim": 1, "descending": True, "stable": True}),
    **{name: ((X,), {"dim": 1, "dtype": None}) for name in ("cumprod", "cumsum")},
    "group_norm": ((IMAGES,), {"num_groups": 2, "weight": _array(4), "bias": _array(4), "eps": 1e-5}),
    "index_add": ((X,), {"dim": 1, "index": INDEX[0], "source": X, "alpha": 1}),
    "index_select": ((X,), {"dim": 1, "index": INDEX[0]}),
    "glu": ((X,), {"dim": 0}),
    "hardtanh": ((X,), {"min_val": -0.5, "max_val": 0.5}),
    "kthvalue": ((X,), {"k": 2, "dim": 1, "keepdim": False}),
    "interpolate": ((IMAGES,), {**LARGER, "recompute_scale_factor": False, "antialias": False}),
    "instance_norm": (
        (IMAGES,),
        {
            "running_mean": None,
            "running_var": None,
            "weight": _array(4),
            "bias": _array(4),
            "use_input_stats": True,
            "momentum": 0.1,
            "eps": 1e-5,
        },
    ),
    "layer_norm": (
        (IMAGES,),
        {"normalized_shape": (5, 6), "weight": _array(5, 6), "bias": _array(5, 6), "eps": 1e-5},
    ),
    "leaky_relu": ((X,), {"negative_slope": 0.1}),
    "linear": ((X, _array(4, 3), _array(4)), {}),
    "matmul": ((X, X.T.copy()), {}),
    "masked_fill": ((X, MASK), {"value": 0.0}),
    "masked_select": ((X, MASK), {}),
    "median": ((X,), {"dim": 1, "keepdim": False}),
    "meshgrid": ((X[0], X[1]), {"indexing": "ij"}),
    "mm": ((X, X.T.copy()), {}),
    "max_pool1d": ((SIGNALS,), {**WINDOW, **TAPS}),
    "max_pool2d": ((IMAGES,), {**WINDOW, **TAPS}),
    "div": ((X, X), {"rounding_mode": "floor"}),
    "movedim": ((X,), {"source": 0, "destination": 1}),
    "mv": ((X, X[0]), {}),
    "narrow": ((X,), {"dim": 1, "start": 1, "length": 2}),
    "nonzero": ((X,), {"as_tuple": False}),
    "norm": ((X,), {"p": 3, "dim": 1, "keepdim": False, "dtype": None}),
    "pad": ((IMAGES,), {**FRAME, "value": 0.5}),
    "one_hot": ((CLASSES,), {"num_classes": 3}),
    "prelu": ((X, X[0]), {}),
    "outer": ((X[0], X[1]), {}),
    "repeat": ((X,), {"*": (2, 1)}),
    "repeat_interleave": ((X,), {"repeats": 2, "dim": 1, "output_size": None}),
    "reshape": ((X,), {"*": (3, 2)}),
    "roll": ((X,), {"shifts": 1, "dims": 1}),
    "scatter": ((X,), {"dim": 1, "index": INDEX, "src": X, "value": None, "reduce": "add"}),
    "scatter_add": ((X,), {"dim": 1, "index": INDEX, "src": X}),
    "scaled_dot_product_attention": (
        (X, X, X),
        {"attn_mask": None, "dropout_p": 0.0, "is_causal": False, "scale": 0.5, "enable_gqa": False},
    ),
    "select": ((X,), {"dim": 1, "index": 1}),
    "rms_norm": ((X,), {"normalized_shape": 3, "weight": _array(3), "eps": 1e-5}),
    "softplus": ((X,), {"beta": 1.0, "threshold": 20.0}),
    "split": ((X,), {"split_size": 2, "dim": 1}),
    "sort": ((X,), {"dim": 1, "descending": False, "stable": False}),
    "take_along_dim": ((X,), {"indices": INDEX, "dim": 1}),
    "tile": ((X,), {"*": (2, 1)}),
    "topk": ((X,), {"k": 2, "dim": 1, "largest": True, "sorted": True}),
    "trace": ((X,), {}),
    "unbind": ((X,), {"dim": 1}),
    "unflatten": ((X,), {"dim": 1, "sizes": (1, 3)}),
    "where": ((MASK, X, X), {}),
}

_PLAIN = (
    "gelu gelu_tanh relu sigmoid silu tanh hardsigmoid hardswish logsigmoid mish selu softsign tanhshrink"
)
_WITH: dict[str, dict[str, Any]] = {
    **{name: {"alpha": 1.0} for name in ("celu", "elu")},
    **{name: {"lambd": 0.5} for name in ("hardshrink", "softshrink")},
    "hardtanh": {"min_val": -0.5, "max_val": 0.5},
    "heaviside": {"values": 0.5},
    "leaky_relu": {"negative_slope": 0.1},
    "softplus": {"beta": 1.0, "threshold": 20.0},
    "softmax": {"axis": 1},
    "log_softmax": {"axis": 1},
    **{name: {} for name in _PLAIN.split()},
}
_POOLED, _WHERE = kernels.max_pool2d(IMAGES, **WINDOW)
_LOSS, _DIVISOR, _LOG_SUM_EXP = kernels.cross_entropy(X, CLASSES)
_ELEMENT_LOSSES: dict[str, dict[str, Any]] = {
    "bce": {"weight": WEIGHTS},
    "bce_with_logits": {"weight": WEIGHTS, "pos_weight": WEIGHTS},
    "cosine_margin": {"margin": 0.5},
    "hinge_embedding": {"margin": 1.0},
    "huber": {"delta": 1.0},
    "kl_div": {"log_target": False},
    "l1": {},
    "mse": {},
    "poisson_nll": {"log_input": False, "full": True, "eps": 1e-8},
    "sigmoid_focal": {"alpha": 0.25, "gamma": 2.0},
    "smooth_l1": {"beta": 1.0},
    "soft_margin": {},
}
_CLASS_LOSSES: dict[str, dict[str, Any]] = {
    "cross_entropy": {"weight": WEIGHTS, "ignore_index": -100, "label_smoothing": 0.1},
    "focal": {"gamma": 2.0, "alpha": WEIGHTS, "ignore_index": -100},
    "multi_margin": {"p": 1, "margin": 1.0, "weight": WEIGHTS},
    "nll": {"weight": WEIGHTS, "ignore_index": -100},
}
_SAVED = {
    name: (_DIVISOR, _LOG_SUM_EXP) if name in ("cross_entropy", "focal") else (_DIVISOR,)
    for name in _CLASS_LOSSES
}
_POOLED_1D, _WHERE_1D = kernels.max_pool1d(SIGNALS, **WINDOW)
_SIGNALS_SHAPE = {"shape": SIGNALS.shape}
_SHAPE = {"shape": IMAGES.shape}
NEEDS = {"need_dx": True, "need_dw": True, "need_db": True}

_ONE = "abs cos exp expm1 log log1p neg reciprocal round sign sin sqrt square"
_TWO = "add div eq ge gt le lt maximum minimum mul ne pow sub"
_SLOPE_OF_ONE = "abs cos expm1 log1p reciprocal sin sqrt square"
_SLOPE_OF_TWO = "div exponent maximum minimum pow"

_OF_BATCH = kernels.batch_norm(IMAGES)[1:]
_OF_GROUPS = kernels.group_norm(IMAGES, 2)[1:]
_OF_LINES = kernels.layer_norm(IMAGES, (5, 6))[1:]
_LINE = {"normalized_shape": (5, 6), "weight": _array(5, 6)}

KERNELS: dict[str, Call] = {
    "add_noise": ((X, np.array([1, 2])), {"mean": 0.0, "std": 0.1}),
    "affine_images": ((IMAGES, np.ones((2, 6))), {"fill": 0.0, "interpolation": "bilinear"}),
    "erase_images": ((IMAGES, PLACES, np.array([1, 0])), {"fill": 0.0}),
    "mix_images": ((IMAGES, np.array([1, 0]), np.array([0.25, 0.5])), {}),
    "move_images": ((IMAGES, PLACES), {"height": 4, "width": 7, "fill": 0.0, "mode": "reflect"}),
    **dict.fromkeys(_ONE.split(), ((X,), {})),
    **dict.fromkeys(_TWO.split(), ((X, X), {})),
    **{name + "_backward": ((X, X), {}) for name in _SLOPE_OF_ONE.split()},
    **{name + "_backward": ((X, X, X), {}) for name in _SLOPE_OF_TWO.split()},
    **dict.fromkeys(("max", "mean", "min", "sum"), ((X,), {"axis": 1, "keepdims": False})),
    **dict.fromkeys(("argmax", "argmin"), ((X,), {"axis": 1, "keepdims": False})),
    **dict.fromkeys(("norm", "prod", "sum_abs"), ((X,), {"axis": 1, "keepdims": False})),
    "sum_exp": ((X, X.max(1)), {"axis": 1, "keepdims": False}),
    **dict.fromkeys(("std", "var"), ((X, X.mean(1)), {"axis": 1, "keepdims": False, "correction": 1.0})),
    "clip": ((X,), {"low": 0.2, "high": 0.8}),
    "clip_backward": ((X, X), {"low": 0.2, "high": 0.8}),
    "batch_norm": (
        (IMAGES, *(_array(4) for _ in range(4)), np.array(3)),
        {"training": False, "momentum": 0.1, "eps": 1e-5},
    ),
    "batch_norm_backward": (
        (IMAGES, IMAGES, _array(4), *_OF_BATCH),
        {"training": True, "need_dx": True, "need_dweight": True, "need_dbias": True},
    ),
    "embedding": ((CLASSES, X.T), {}),
    "embedding_backward": (
        (X, CLASSES),
        {"num_embeddings": 3, "padding_idx": 1, "scale_grad_by_freq": False},
    ),
    "group_norm": ((IMAGES,), {"num_groups": 2, "weight": _array(4), "bias": _array(4), "eps": 1e-5}),
    "group_norm_backward": (
        (IMAGES, IMAGES),
        {"num_groups": 2, "weight": _array(4), "mean": _OF_GROUPS[0], "rstd": _OF_GROUPS[1]},
    ),
    "layer_norm": ((IMAGES,), {**_LINE, "bias": _array(5, 6), "eps": 1e-5}),
    "layer_norm_backward": ((IMAGES, IMAGES), {**_LINE, "mean": _OF_LINES[0], "rstd": _OF_LINES[1]}),
    "rms_norm": ((IMAGES,), {**_LINE, "eps": 1e-5}),
    "rms_norm_backward": ((IMAGES, IMAGES), {**_LINE, "rstd": _OF_LINES[1]}),
    "concatenate": (([X, X],), {"axis": 0}),
    "copy": ((IMAGES,), {"channels_last": True}),
    "gather": ((X, INDEX), {"axis": 1}),
    "matmul": ((X, X.T.copy(), _array(2)), {"activation": "relu"}),
    **{name: ((X,), {"axis": 1, "reverse": False}) for name in ("cumprod", "cumsum")},
    "cumprod_backward": ((X, X), {"axis": 1}),
    "sort": ((X,), {"axis": 1, "descending": False, "count": 2}),
    "scatter": ((X, INDEX, X), {"axis": 1, "add": False}),
    "scatter_add": ((X, INDEX), {"axis": 1, "length": 3}),
    "scatter_backward": ((X, INDEX), {"axis": 1}),
    "where": ((MASK, X, X), {}),
    **dict.fromkeys(("glu", "prelu", "prelu_weight_backward"), ((X, X), {})),
    **dict.fromkeys(("glu_backward", "prelu_backward"), ((X, X, X), {})),
    **{name: ((X,), attributes) for name, attributes in _WITH.items()},
    **{name + "_backward": ((X, X), attributes) for name, attributes in _WITH.items()},
    **{name: ((X, X), {"reduction": "mean", **more}) for name, more in _ELEMENT_LOSSES.items()},
    **{
        name + "_backward": ((X, X, X), {"reduction": "none", "of_target": False, **more})
        for name, more in _ELEMENT_LOSSES.items()
    },
    "cosine_similarity": ((X, 2 * X), {"axis": 1, "eps": 1e-8}),
    "cosine_similarity_backward": ((X[:, 0], X, 2 * X), {"axis": 1, "eps": 1e-8, "of_second": False}),
    "pairwise_distance": ((X, 2 * X), {"axis": 1, "p": 2.0, "eps": 1e-6}),
    "pairwise_distance_backward": (
        (X[:, 0], X, 2 * X),
        {"axis": 1, "p": 2.0, "eps": 1e-6, "of_second": False},
    ),
    "gaussian_nll": ((X, X, X), {"reduction": "mean", "full": True, "eps": 1e-6}),
    "gaussian_nll_backward": ((X, X, X, X), {"reduction": "none", "of": "var", "full": True, "eps": 1e-6}),
    "margin_ranking": ((X, X, X), {"reduction": "mean", "margin": 0.5}),
    "margin_ranking_backward": ((X, X, X, X), {"reduction": "none", "of": "x2", "margin": 0.5}),
    **{name: ((X, CLASSES), {"reduction": "mean", **more}) for name, more in _CLASS_LOSSES.items()},
    **{
        name + "_backward": ((_LOSS, X, CLASSES, *_SAVED[name]), {"reduction": "mean", **more})
        for name, more in _CLASS_LOSSES.items()
    },
    "adaptive_avg_pool1d": ((SIGNALS,), {"output_size": 3}),
    "adaptive_avg_pool2d": ((IMAGES,), {"output_size": (2, 3)}),
    "adaptive_max_pool1d": ((SIGNALS,), {"output_size": 3, "return_indices": False}),
    "adaptive_max_pool2d": ((IMAGES,), {"output_size": (2, 3), "return_indices": True}),
    "avg_pool1d": ((SIGNALS,), AVERAGE_1D),
    "adaptive_avg_pool2d_backward": ((IMAGES[:, :, :2, :3],), {**_SHAPE, "channels_last": False}),
    "adaptive_avg_pool1d_backward": ((SIGNALS[:, :, :3],), {**_SIGNALS_SHAPE, "channels_last": False}),
    "adaptive_max_pool1d_backward": (kernels.adaptive_max_pool1d(SIGNALS, 3), _SIGNALS_SHAPE),
    "adaptive_max_pool2d_backward": (kernels.adaptive_max_pool2d(IMAGES, (2, 3)), _SHAPE),
    "avg_pool1d_backward": ((_POOLED_1D,), {**_SIGNALS_SHAPE, **AVERAGE_1D, "channels_last": False}),
    "avg_pool2d": ((IMAGES,), AVERAGE),
    "avg_pool2d_backward": ((_POOLED,), {**_SHAPE, **AVERAGE, "channels_last": False}),
    "conv1d": ((SIGNALS, WEIGHT_1D, _array(6)), {**GEOMETRY, "activation": "relu"}),
    "conv1d_backward": (
        (kernels.conv1d(SIGNALS, WEIGHT_1D, **GEOMETRY), SIGNALS, WEIGHT_1D),
        {**GEOMETRY, **NEEDS},
    ),
    "conv2d": ((IMAGES, WEIGHT, _array(6)), {**GEOMETRY, "activation": "relu"}),
    "conv2d_backward": ((kernels.conv2d(IMAGES, WEIGHT, **GEOMETRY), IMAGES, WEIGHT), {**GEOMETRY, **NEEDS}),
    "conv_transpose1d": ((SIGNALS, WEIGHT_1D[:4], _array(4)), STAMPS),
    "conv_transpose1d_backward": (
        (kernels.conv_transpose1d(SIGNALS, WEIGHT_1D[:4], **STAMPS), SIGNALS, WEIGHT_1D[:4]),
        {**STAMPS, **NEEDS},
    ),
    "conv_transpose2d": ((IMAGES, WEIGHT[:4], _array(4)), STAMPS),
    "conv_transpose2d_backward": (
        (kernels.conv_transpose2d(IMAGES, WEIGHT[:4], **STAMPS), IMAGES, WEIGHT[:4]),
        {**STAMPS, **NEEDS},
    ),
    "interpolate": ((IMAGES,), LARGER),
    "interpolate_backward": (
        (kernels.interpolate(IMAGES, **LARGER),),
        {"shape": IMAGES.shape, **{key: value for key, value in LARGER.items() if key != "size"}},
    ),
    "pad": ((IMAGES,), {**FRAME, "value": 0.5}),
    "pad_backward": ((kernels.pad(IMAGES, **FRAME),), FRAME),
    "max_pool1d": ((SIGNALS,), {**WINDOW, **TAPS}),
    "max_pool1d_backward": ((_POOLED_1D, _WHERE_1D), {**_SIGNALS_SHAPE, **WINDOW, "dilation": 1}),
    "max_pool2d": ((IMAGES,), {**WINDOW, **TAPS}),
    "max_pool2d_backward": ((_POOLED, _WHERE), {**_SHAPE, **WINDOW, "dilation": 1}),
}
