"""One right call of every public op, from its samples, and kernel: (arguments, settings by name).

Of a kernel, names and defaults are those of the signature, and an array that must be given is X. Below are
the calls for which that is not right, and settings other than the defaults.
"""

import ast
import inspect
from typing import Any

import numpy as np
from ranvier import kernels, ops
from ranvier.ops.matrix.quantized_weight import quantized
from samples import OPS as SAMPLES
from samples.sample import Marked, Op

Call = tuple[tuple[Any, ...], dict[str, Any]]
# The arrays that a call changes, by place: running statistics and their count, rows beyond max_norm.
WRITES = {("kernels", "batch_norm"): (3, 4, 5)}
WRITES |= {("ops", name): (1, 2) for name in ("batch_norm", "instance_norm")}
WRITES |= {("ops", name): (1,) for name in ("embedding", "embedding_bag")}
NOT_GIVEN = "out saved from_0 height width inplace"  # the calls do not pass the defaults of these


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
INDEX = np.array([[1, 0, 2], [0, 0, 1]])
MASK = np.array([[True, False, True], [False, True, True]])
PLACES = np.array([[1, -2, 1, 0], [0, 3, 2, 4]])
FOUR, LINES, LINE = _array(4), _array(5, 6), (5, 6)

Given = tuple[tuple[Any, ...] | None, dict[str, Any]]


def of(*arrays: Any, **attributes: Any) -> Given:
    return arrays or None, attributes


def each(names: str, *arrays: Any, **attributes: Any) -> dict[str, Given]:
    return dict.fromkeys(names.split(), of(*arrays, **attributes))


def _call(name: str) -> Call:
    (arrays, attributes), parameters = OF_KERNELS.get(name, of()), _parameters(name)
    empty = inspect.Parameter.empty
    if arrays is None:
        arrays = (X,) * sum(
            default is empty and name not in attributes for name, default in parameters.items()
        )
    names = [name for name in list(parameters)[len(arrays) :] if parameters[name] is not empty]
    defaults = {name: parameters[name] for name in names if name not in NOT_GIVEN.split()}
    return arrays, {**defaults, **attributes}


def _parameters(name: str) -> dict[str, Any]:
    """Their defaults by name, `inspect.Parameter.empty` where there is none."""
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

_MATRIX = quantized(_array(4, 3), "int8")
_QUANTIZED = tuple(part.numpy() for part in (_MATRIX.panels, _MATRIX.scale) if part is not None)
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
    "quantized_matmul": of(X, *_QUANTIZED, FOUR, kind="int8", n=4, k=3),
    "quantized_rows": of(*_QUANTIZED, CLASSES, kind="int8", n=4, k=3),
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
KERNELS = {name: _call(name) for name in kernels.__all__}


def _in_float32(value: Any) -> Any:
    if isinstance(value, dict):
        return {name: _in_float32(part) for name, part in value.items()}
    if isinstance(value, (list, tuple)):
        return type(value)(map(_in_float32, value))
    value = value.array if isinstance(value, Marked) else value
    return value.astype(np.float32) if isinstance(value, np.ndarray) and value.dtype.kind == "f" else value


def _of_sample(op: Op) -> Call:
    """The sample with most arguments; the settings that it does not give have their defaults."""
    whole = [sample for sample in op.samples if all(x.size for x in sample.arrays)]
    sample = max(whole, key=lambda sample: len(sample.args) + len(sample.settings))
    parameters = [*inspect.signature(op.function).parameters.values()]
    if any(p.kind is p.VAR_POSITIONAL for p in parameters):
        parameters = []
    names = NOT_GIVEN.split()
    left = [p for p in parameters[len(sample.args) :] if p.name not in names and p.default is not p.empty]
    defaults = {p.name: p.default for p in left}
    return _in_float32(sample.args), {**defaults, **_in_float32(sample.settings)}


OPS = {name: _of_sample(op) for name, op in SAMPLES.items() if op.function is getattr(ops, name, None)}
