"""One right call of every public op and kernel: (arrays, attributes by name). Tests spoil one argument.

Names and defaults are those of the signatures, and an array that must be given is X. Below are the calls for
which that is not right, and attributes other than the defaults.
"""

import ast
import inspect
from typing import Any

import numpy as np
from ranvier import kernels, ops
from ranvier.ops.table import AT_IMPORT, WITH_LAYERS, functions_of

Call = tuple[tuple[Any, ...], dict[str, Any]]
OP_NAMES = {op.__name__ for op in functions_of(AT_IMPORT | WITH_LAYERS).values()}  # one of aliases
# The arrays that a call changes, by place: running statistics and their count.
WRITES = {("ops", "batch_norm"): (1, 2), ("kernels", "batch_norm"): (3, 4, 5)}
# other names of arguments, arguments in place of others, and memory to write to
NOT_OF_OPS = (
    "third axis keepdims dtype inplace out decimals alpha unbiased input other dims size shape repeats"
)
NOT_OF_OPS += " sparse_grad split_size_or_sections"
NOT_OF_KERNELS = "out saved from_0 height width"


def _array(*shape: int) -> np.ndarray[Any, Any]:
    return np.random.default_rng(7).uniform(0.1, 0.9, shape).astype(np.float32)


X = _array(2, 3)
IMAGES = _array(2, 4, 5, 6)
GRID = _array(2, 3, 4, 2)
WEIGHT = _array(6, 2, 3, 2)
SIGNALS = _array(2, 4, 7)
WEIGHT_1D = _array(6, 2, 3)
CLASSES = np.array([2, 0])
WEIGHTS = _array(3)
SIGNS = np.where(X > 0.5, 1, -1).astype(np.float32)
INDEX = np.array([[1, 0, 2], [0, 0, 1]])
MASK = np.array([[True, False, True], [False, True, True]])
PLACES = np.array([[1, -2, 1, 0], [0, 3, 2, 4]])
FOUR, LINES, LINE = _array(4), _array(5, 6), (5, 6)

Given = tuple[tuple[Any, ...] | None, dict[str, Any]]


def of(*arrays: Any, star: Any = None, **attributes: Any) -> Given:
    """star: arguments that follow the arrays by position."""
    return arrays or None, attributes if star is None else {"*": star, **attributes}


def each(names: str, *arrays: Any, **attributes: Any) -> dict[str, Given]:
    return dict.fromkeys(names.split(), of(*arrays, **attributes))


def _call(parameters: dict[str, Any], left_out: str, given: Given) -> Call:
    """parameters: their defaults by name, `inspect.Parameter.empty` where there is none."""
    arrays, attributes = given
    empty = inspect.Parameter.empty
    if arrays is None:
        arrays = (X,) * sum(
            default is empty and name not in attributes for name, default in parameters.items()
        )
    names = [name for name in list(parameters)[len(arrays) :] if parameters[name] is not empty]
    defaults = {name: parameters[name] for name in names if name not in left_out.split()}
    return arrays, {**defaults, **attributes}


def _of_op(name: str) -> dict[str, Any]:
    parameters = inspect.signature(getattr(ops, name)).parameters.values()
    return {p.name: p.default for p in parameters if p.kind is not p.VAR_POSITIONAL}


def _of_kernel(name: str) -> dict[str, Any]:
    line = getattr(kernels, name).__doc__.partition("\n")[0]
    arguments = ast.parse(f"def {line}: pass").body[0].args  # type: ignore[attr-defined]
    required = len(arguments.args) - len(arguments.defaults)
    defaults = [inspect.Parameter.empty] * required + [ast.literal_eval(x) for x in arguments.defaults]
    return {argument.arg: default for argument, default in zip(arguments.args, defaults, strict=True)}


GEOMETRY = {"padding": 1, "groups": 2}
STAMPS = {"stride": 2, "padding": 1, "output_padding": 1, "groups": 2}
WINDOW = {"kernel_size": 2, "stride": 2, "padding": 1}
LARGER = {"scale_factor": 2.0, "mode": "bilinear", "align_corners": False}
FRAME = {"pad": (1, 2, 0, 1)}

OF_OPS: dict[str, Given] = {
    **each("all amax amin any argmax argmin max mean min sum logsumexp prod count_nonzero median", dim=1),
    **each("log_softmax softmax squeeze unsqueeze unbind sort", X, dim=1),
    **each("std var", dim=1, correction=1),
    **each("std_mean var_mean", dim=1, unbiased=True, correction=1),
    **each("cumprod cumsum", dim=1, dtype=None),
    **each("cat stack", [X, X]),
    **each("flip permute", star=(1, 0)),
    **each("repeat tile", star=(2, 1)),
    **each("celu elu", alpha=1.0),
    **each("matmul mm", X, X.T.copy()),
    **each("dot outer", X[0], X[1]),
    **each("mv prelu", X, X[0]),
    **each("conv_transpose1d", SIGNALS, WEIGHT_1D[:4], FOUR, **STAMPS),
    **each("conv_transpose2d", IMAGES, WEIGHT[:4], FOUR, **STAMPS),
    **each("max_pool1d avg_pool1d", SIGNALS, **WINDOW),
    **each("max_pool2d avg_pool2d", IMAGES, **WINDOW),
    **each("adaptive_avg_pool1d adaptive_max_pool1d", SIGNALS, output_size=3),
    "adaptive_avg_pool2d": of(IMAGES, output_size=(2, 3)),
    "adaptive_max_pool2d": of(IMAGES, output_size=(2, 3), return_indices=True),
    "alpha_dropout": of(training=True),
    "argsort": of(dim=1, descending=True, stable=True),
    "batch_norm": of(IMAGES, FOUR, FOUR, FOUR, FOUR),
    "bce": of(weight=WEIGHTS),
    "bce_with_logits": of(weight=WEIGHTS, pos_weight=WEIGHTS),
    "bmm": of(_array(2, 3, 4), _array(2, 4, 5)),
    "broadcast_to": of(size=(4, 2, 3)),
    "chunk": of(chunks=2, dim=1),
    "clip": of(min=0.2, max=0.8),
    "conv1d": of(SIGNALS, WEIGHT_1D, _array(6), **GEOMETRY),
    "conv2d": of(IMAGES, WEIGHT, _array(6), **GEOMETRY),
    "cosine_embedding": of(X, X, SIGNS[:, 0]),
    "cross_entropy": of(X, CLASSES, weight=WEIGHTS, label_smoothing=0.1),
    "diagonal": of(offset=1),
    "div": of(rounding_mode="floor"),
    "dropout2d": of(IMAGES),
    "einsum": ((), {"*": ("ij,kj->ik", X, X)}),
    "embedding": of(CLASSES, X.T, padding_idx=1),
    "expand": of(star=(4, 2, 3)),
    "flatten": of(IMAGES, start_dim=1),
    "gather": of(dim=1, index=INDEX),
    "gaussian_nll": of(full=True),
    "glu": of(dim=0),
    "group_norm": of(IMAGES, num_groups=2, weight=FOUR, bias=FOUR),
    "hardtanh": of(min_val=-0.5, max_val=0.5),
    "heaviside": of(values=0.5),
    "index_add": of(dim=1, index=INDEX[0], source=X, alpha=1),
    "index_select": of(dim=1, index=INDEX[0]),
    "instance_norm": of(IMAGES, weight=FOUR, bias=FOUR),
    "interpolate": of(IMAGES, size=None, recompute_scale_factor=False, **LARGER),
    "kl_div": of(reduction="batchmean"),
    "kthvalue": of(k=2, dim=1),
    "layer_norm": of(IMAGES, normalized_shape=LINE, weight=LINES, bias=LINES),
    "leaky_relu": of(negative_slope=0.1),
    "linear": of(X, _array(4, 3), FOUR),
    "margin_ranking": of(X, X, SIGNS, margin=0.5),
    "masked_fill": of(X, MASK, value=0.0),
    "masked_select": of(X, MASK),
    "meshgrid": of(X[0], X[1], indexing="ij"),
    "movedim": of(source=0, destination=1),
    "narrow": of(dim=1, start=1, length=2),
    "nll": of(X, CLASSES, weight=WEIGHTS),
    "norm": of(p=3, dim=1, dtype=None),
    "one_hot": of(CLASSES, num_classes=3),
    "pad": of(IMAGES, value=0.5, **FRAME),
    "pairwise_distance": of(X, 2 * X),
    "poisson_nll": of(log_input=False, full=True),
    "repeat_interleave": of(repeats=2, dim=1),
    "reshape": of(star=(3, 2)),
    "rms_norm": of(normalized_shape=3, weight=WEIGHTS, eps=1e-5),
    "roll": of(shifts=1, dims=1),
    "scaled_dot_product_attention": of(scale=0.5),
    "scatter": of(dim=1, index=INDEX, src=X, reduce="add"),
    "scatter_add": of(dim=1, index=INDEX, src=X),
    "select": of(dim=1, index=1),
    "split": of(split_size=2, dim=1),
    "take_along_dim": of(indices=INDEX, dim=1),
    "topk": of(k=2, dim=1),
    "transpose": of(dim0=0, dim1=1),
    "triplet_margin": of(X, 2 * X, 3 * X, swap=True),
    "unflatten": of(dim=1, sizes=(1, 3)),
    "where": of(MASK, X, X),
}
OPS = {
    name: _call(_of_op(name), NOT_OF_OPS, OF_OPS.get(name, of())) for name in sorted(OP_NAMES | OF_OPS.keys())
}

_POOLED, _WHERE = kernels.max_pool2d(IMAGES, **WINDOW)
_POOLED_1D, _WHERE_1D = kernels.max_pool1d(SIGNALS, **WINDOW)
_LOSS, _DIVISOR, _TOPS_AND_SUMS = kernels.cross_entropy(X, CLASSES)
_SAVED = (_LOSS, X, CLASSES, _DIVISOR)
_OF_BATCH = kernels.batch_norm(IMAGES)[1:]
_OF_GROUPS = kernels.group_norm(IMAGES, 2)[1:]
_OF_LINES = kernels.layer_norm(IMAGES, LINE)[1:]
_SIGNALS_SHAPE, _SHAPE = {"shape": SIGNALS.shape}, {"shape": IMAGES.shape}
_AXES = {"axis": 1, "keepdims": False}


def both(names: str, *arrays: Any, **attributes: Any) -> dict[str, Given]:
    """Losses and their gradients."""
    backward = {
        f"{name}_backward": of(X, *(arrays or (X, X)), **{**attributes, "reduction": "none"})
        for name in names.split()
    }
    return {**each(names, *(arrays or (X, X)), **attributes), **backward}


def with_gradient(names: str, **attributes: Any) -> dict[str, Given]:
    """Functions of X and their gradients."""
    return {
        **each(names, X, **attributes),
        **each(" ".join(f"{n}_backward" for n in names.split()), X, X, **attributes),
    }


OF_KERNELS: dict[str, Given] = {
    **each("max mean min sum argmax argmin norm prod sum_abs", X, **_AXES),
    **each("std var", X, X.mean(1), correction=1.0, **_AXES),
    **each("cumprod cumsum", X, axis=1),
    **with_gradient("softmax log_softmax", axis=1),
    **with_gradient("heaviside", values=0.5),
    **with_gradient("hardtanh", min_val=-0.5, max_val=0.5),
    **with_gradient("leaky_relu", negative_slope=0.1),
    **with_gradient("clip", low=0.2, high=0.8),
    **both("bce", weight=WEIGHTS),
    **both("bce_with_logits", weight=WEIGHTS, pos_weight=WEIGHTS),
    **both("huber kl_div l1 mse smooth_l1"),
    "cross_entropy": of(X, CLASSES, weight=WEIGHTS, label_smoothing=0.1),
    "cross_entropy_backward": of(*_SAVED, _TOPS_AND_SUMS, weight=WEIGHTS, label_smoothing=0.1),
    "nll": of(X, CLASSES, weight=WEIGHTS),
    "nll_backward": of(*_SAVED, weight=WEIGHTS),
    **each("adaptive_avg_pool1d adaptive_max_pool1d", SIGNALS, output_size=3),
    "adaptive_avg_pool1d_backward": of(SIGNALS[:, :, :3], **_SIGNALS_SHAPE),
    "adaptive_max_pool1d_backward": of(*kernels.adaptive_max_pool1d(SIGNALS, 3), **_SIGNALS_SHAPE),
    "adaptive_avg_pool2d": of(IMAGES, output_size=(2, 3)),
    "adaptive_avg_pool2d_backward": of(IMAGES[:, :, :2, :3], **_SHAPE),
    "adaptive_max_pool2d": of(IMAGES, output_size=(2, 3), return_indices=True),
    "adaptive_max_pool2d_backward": of(*kernels.adaptive_max_pool2d(IMAGES, (2, 3)), **_SHAPE),
    **each("avg_pool1d max_pool1d", SIGNALS, **WINDOW),
    **each("avg_pool2d max_pool2d", IMAGES, **WINDOW),
    "avg_pool1d_backward": of(_POOLED_1D, **_SIGNALS_SHAPE, **WINDOW),
    "avg_pool2d_backward": of(_POOLED, **_SHAPE, **WINDOW),
    "max_pool1d_backward": of(_POOLED_1D, _WHERE_1D, **_SIGNALS_SHAPE, **WINDOW),
    "max_pool2d_backward": of(_POOLED, _WHERE, **_SHAPE, **WINDOW),
    "affine_images": of(IMAGES, np.ones((2, 6))),
    "batch_norm": of(IMAGES, FOUR, FOUR, FOUR, FOUR, np.array(3), training=False),
    "batch_norm_backward": of(IMAGES, IMAGES, FOUR, *_OF_BATCH),
    "concatenate": of([X, X]),
    "conv1d": of(SIGNALS, WEIGHT_1D, _array(6), activation="relu", **GEOMETRY),
    "conv1d_backward": of(kernels.conv1d(SIGNALS, WEIGHT_1D, **GEOMETRY), SIGNALS, WEIGHT_1D, **GEOMETRY),
    "conv2d": of(IMAGES, WEIGHT, _array(6), activation="relu", **GEOMETRY),
    "conv2d_backward": of(kernels.conv2d(IMAGES, WEIGHT, **GEOMETRY), IMAGES, WEIGHT, **GEOMETRY),
    "conv_transpose1d": of(SIGNALS, WEIGHT_1D[:4], FOUR, **STAMPS),
    "conv_transpose1d_backward": of(
        kernels.conv_transpose1d(SIGNALS, WEIGHT_1D[:4], **STAMPS), SIGNALS, WEIGHT_1D[:4], **STAMPS
    ),
    "conv_transpose2d": of(IMAGES, WEIGHT[:4], FOUR, **STAMPS),
    "conv_transpose2d_backward": of(
        kernels.conv_transpose2d(IMAGES, WEIGHT[:4], **STAMPS), IMAGES, WEIGHT[:4], **STAMPS
    ),
    "copy": of(IMAGES, channels_last=True),
    "cosine_similarity": of(X, 2 * X),
    "cosine_similarity_backward": of(X[:, 0], X, 2 * X),
    "cumprod_backward": of(X, X, axis=1),
    "embedding": of(CLASSES, X.T),
    "embedding_backward": of(X, CLASSES, num_embeddings=3, padding_idx=1),
    "erase_images": of(IMAGES, PLACES, np.array([1, 0])),
    "gather": of(X, INDEX, axis=1),
    "group_norm": of(IMAGES, num_groups=2, weight=FOUR, bias=FOUR),
    "group_norm_backward": of(
        IMAGES, IMAGES, num_groups=2, weight=FOUR, mean=_OF_GROUPS[0], rstd=_OF_GROUPS[1]
    ),
    "interpolate": of(IMAGES, size=None, **LARGER),
    "interpolate_backward": of(kernels.interpolate(IMAGES, **LARGER), shape=IMAGES.shape, **LARGER),
    "layer_norm": of(IMAGES, normalized_shape=LINE, weight=LINES, bias=LINES),
    "layer_norm_backward": of(
        IMAGES, IMAGES, normalized_shape=LINE, weight=LINES, mean=_OF_LINES[0], rstd=_OF_LINES[1]
    ),
    "matmul": of(X, X.T.copy(), _array(2), activation="relu"),
    "mix_images": of(IMAGES, np.array([1, 0]), np.array([0.25, 0.5])),
    "move_images": of(IMAGES, PLACES, height=4, width=7, mode="reflect"),
    "pad": of(IMAGES, value=0.5, **FRAME),
    "pad_backward": of(kernels.pad(IMAGES, **FRAME), **FRAME),
    "pairwise_distance": of(X, 2 * X, axis=1),
    "pairwise_distance_backward": of(X[:, 0], X, 2 * X, axis=1),
    "rms_norm": of(IMAGES, normalized_shape=LINE, weight=LINES),
    "rms_norm_backward": of(IMAGES, IMAGES, normalized_shape=LINE, weight=LINES, rstd=_OF_LINES[1]),
    "scatter": of(X, INDEX, X, axis=1),
    "running_extreme": of(X, axis=1, greatest=True),
    "scatter_reduce": of(X, INDEX, X, axis=1, reduce="amax"),
    "cdist": of(X, 2 * X),
    "cdist_backward": of(*2 * [np.ones((len(X), len(X)), X.dtype)], X, 2 * X),
    "embedding_bag": of(np.array([0, 1, 1]), X, np.array([0, 2])),
    "embedding_bag_backward": of(X[:2], X[:2], np.array([0, 1, 1]), X, np.array([0, 2])),
    "grid_sample": of(IMAGES, GRID),
    "grid_sample_backward": of(kernels.grid_sample(IMAGES, GRID), IMAGES, GRID),
    "nms": of(np.ones((2, 4), np.float32), threshold=0.5),
    "scatter_add": of(X, INDEX, axis=1, length=3),
    "scatter_backward": of(X, INDEX, axis=1),
    "ctc_loss": of(X[:, None], np.array([[1]]), np.array([2]), np.array([1])),
    "solve_triangular": of(np.eye(3, dtype=np.float32), np.ones((3, 2), np.float32)),
    "sort": of(X, axis=1, count=2),
    "sum_exp": of(X, X.max(1), **_AXES),
    "where": of(MASK, X, X),
}
KERNELS = {
    name: _call(_of_kernel(name), NOT_OF_KERNELS, OF_KERNELS.get(name, of())) for name in kernels.__all__
}
