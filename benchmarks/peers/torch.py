"""PyTorch's side of the cases."""

from __future__ import annotations

import os
from collections.abc import Callable, Sequence
from operator import attrgetter
from typing import Any

import numpy as np
import torch

from benchmarks import attention as shared, recurrent as recurrent_layers
from benchmarks.functional import bags, functional
from benchmarks.peers.torch_networks import fit, inference, train_step
from benchmarks.peers.torch_optimizers import OPTIMIZERS, ema, weight_penalty
from benchmarks.small_calls import chain_backward, on_the_tape
from benchmarks.views import viewed

__all__ = ["ema", "fit", "inference", "train_step", "weight_penalty"]  # found by name
globals().update(OPTIMIZERS)

Window = Sequence[int]  # kernel_size, stride, padding

torch.set_num_threads(int(os.environ["RANVIER_PEER_THREADS"]))


def version() -> str:
    return str(torch.__version__)


def to_numpy(result: Any) -> np.ndarray:
    return result.detach().numpy() if isinstance(result, torch.Tensor) else np.asarray(result)


def matmul(a: np.ndarray, b: np.ndarray) -> Callable[[], Any]:
    x, y = torch.from_numpy(a), torch.from_numpy(b)
    return lambda: x @ y


def elementwise(
    function: str, views: dict[str, str] | None = None, numbers: Sequence[float] = (), **arrays: np.ndarray
) -> Callable[[], Any]:
    operands = (*(torch.from_numpy(x) for x in viewed(arrays, views)), *numbers)
    if function == "relu":  # has no output argument
        operands = (*operands, 0)
    compute = (
        torch._C._nn.gelu
        if function == "gelu"
        else getattr(torch, {"relu": "clamp_min"}.get(function, function))
    )
    out = torch.empty_like(compute(*operands))
    return lambda: compute(*operands, out=out)


def _functional(
    function: str, gradient: bool, dim: int | None = None, **arrays: np.ndarray
) -> Callable[[], Any]:
    return functional(torch, function, arrays, gradient, {} if dim is None else {"dim": dim})


activation = softmax = loss = _functional


def attention(**case: Any) -> Callable[[], Any]:
    return shared.attention(torch, **case)


def encoder_step(**case: Any) -> Callable[[], Any]:
    return shared.encoder_step(torch, **case)


def recurrent(**case: Any) -> Callable[[], Any]:
    return recurrent_layers.recurrent(torch, **case)


def _with_settings(function: str, gradient: bool, **case: Any) -> Callable[[], Any]:
    arrays = {name: value for name, value in case.items() if isinstance(value, np.ndarray)}
    settings = {name: value for name, value in case.items() if name not in arrays}
    return functional(torch, function, arrays, gradient, settings)


distance = grid_sample = _with_settings


def kernel_call(x: np.ndarray, y: np.ndarray) -> Callable[[], Any]:
    t = torch.from_numpy(x)
    return lambda: torch.relu(t)


def tape(case: str, **arrays: np.ndarray) -> Callable[[], Any]:
    return on_the_tape(torch, case, **arrays)


def tape_backward(**arrays: np.ndarray) -> Callable[[], Any]:
    return chain_backward(torch, **arrays)


def reduce(x: np.ndarray, function: str, axes: list[int] | None) -> Callable[[], Any]:
    t = torch.from_numpy(x)
    compute = getattr(torch, {"max": "amax"}.get(function, function))
    return (lambda: compute(t)) if axes is None else (lambda: compute(t, dim=axes))


def arg_reduce(x: np.ndarray, function: str, axis: int) -> Callable[[], Any]:
    t = torch.from_numpy(x)
    return lambda: getattr(torch, function)(t, axis)


def index_select(x: np.ndarray, rows: np.ndarray) -> Callable[[], Any]:
    t, index = torch.from_numpy(x), torch.from_numpy(rows)
    return lambda: t.index_select(0, index)


def index_add(dy: np.ndarray, rows: np.ndarray, length: int) -> Callable[[], Any]:
    t, index = torch.from_numpy(dy), torch.from_numpy(rows)
    return lambda: torch.zeros(length, t.shape[1]).index_add_(0, index, t)


def cumsum(x: np.ndarray, axis: int) -> Callable[[], Any]:
    t = torch.from_numpy(x)
    return lambda: torch.cumsum(t, axis)


def argsort(x: np.ndarray) -> Callable[[], Any]:
    t = torch.from_numpy(x)
    return lambda: torch.argsort(t, dim=-1, stable=True)


def topk(x: np.ndarray, k: int) -> Callable[[], Any]:
    t = torch.from_numpy(x)
    return lambda: torch.topk(t, k)[0]


def _images(channels_last: bool, *arrays: np.ndarray) -> list[torch.Tensor]:
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return [torch.from_numpy(a).contiguous(memory_format=layout) for a in arrays]


def function_call(
    function: str, settings: dict[str, Any], channels_last: bool = False, **arrays: np.ndarray
) -> Callable[[], Any]:
    """Any function of torch, given by its dotted name, on arrays given by its parameters' names."""
    compute = attrgetter(function)(torch)
    tensors = {
        name: _images(channels_last, a)[0] if a.ndim == 4 else torch.from_numpy(a)
        for name, a in arrays.items()
    }
    return lambda: compute(**tensors, **settings)


def conv2d(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, channels_last: bool = False, **settings: int
) -> Callable[[], Any]:
    (image, kernel), b = _images(channels_last, x, w), torch.from_numpy(bias)
    return lambda: torch.nn.functional.conv2d(image, kernel, b, **settings)


def conv2d_pool(window: int, **layer: Any) -> Callable[[], Any]:
    z = conv2d(**layer)
    return lambda: torch.nn.functional.max_pool2d(torch.relu(z()), window)


def flip_images(x: np.ndarray, place: np.ndarray) -> Callable[[], Any]:
    images, mirrored = torch.from_numpy(x), torch.from_numpy(place[:, 3] != 0).reshape(-1, 1, 1, 1)
    return lambda: torch.where(mirrored, images.flip(3), images)


def affine_images(x: np.ndarray, matrix: np.ndarray) -> Callable[[], Any]:
    """For square images: coordinates are from -1 to 1 here."""
    images, last = torch.from_numpy(x), x.shape[3] - 1
    m = matrix.reshape(-1, 2, 3).copy()
    m[:, :, 2] = m[:, :, 0] + m[:, :, 1] + 2 * m[:, :, 2] / last - 1
    theta = torch.from_numpy(m.astype(np.float32))

    def rotated() -> torch.Tensor:
        grid = torch.nn.functional.affine_grid(theta, list(images.shape), align_corners=True)
        return torch.nn.functional.grid_sample(images, grid, align_corners=True)

    return rotated


def mix_images(x: np.ndarray, partner: np.ndarray, weight: np.ndarray) -> Callable[[], Any]:
    images, others = torch.from_numpy(x), torch.from_numpy(partner)
    share = torch.from_numpy(weight.astype(np.float32)).reshape(-1, 1, 1, 1)
    return lambda: share * images + (1 - share) * images[others]


def batch_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, channels_last: bool = False
) -> Callable[[], Any]:
    (image,) = _images(channels_last, x)
    w, b = torch.from_numpy(weight), torch.from_numpy(bias)
    return lambda: torch.nn.functional.batch_norm(image, None, None, w, b, training=True)


def batch_norm_inference(
    x: np.ndarray,
    weight: np.ndarray,
    bias: np.ndarray,
    mean: np.ndarray,
    var: np.ndarray,
    channels_last: bool = False,
) -> Callable[[], Any]:
    (image,) = _images(channels_last, x)
    w, b, m, v = (torch.from_numpy(a) for a in (weight, bias, mean, var))
    return lambda: torch.nn.functional.batch_norm(image, m, v, w, b, training=False)


def batch_norm_backward(
    x: np.ndarray, dy: np.ndarray, weight: np.ndarray, channels_last: bool = False
) -> Callable[[], Any]:
    image, gradient = _images(channels_last, x, dy)
    w = torch.from_numpy(weight)
    _, mean, rstd = torch.native_batch_norm(image, w, None, None, None, True, 0.1, 1e-5)
    backward = torch.ops.aten.native_batch_norm_backward
    arguments = (None, None, mean, rstd, True, 1e-5, [True, True, True])
    return lambda: backward(gradient, image, w, *arguments)


def group_norm(
    x: np.ndarray, weight: np.ndarray, bias: np.ndarray, groups: int, channels_last: bool = False
) -> Callable[[], Any]:
    (image,) = _images(channels_last, x)
    w, b = torch.from_numpy(weight), torch.from_numpy(bias)
    return lambda: torch.nn.functional.group_norm(image, groups, w, b)


def layer_norm(x: np.ndarray, weight: np.ndarray, bias: np.ndarray) -> Callable[[], Any]:
    lines, w, b = (torch.from_numpy(a) for a in (x, weight, bias))
    return lambda: torch.nn.functional.layer_norm(lines, w.shape, w, b)


def layer_norm_backward(x: np.ndarray, dy: np.ndarray, weight: np.ndarray) -> Callable[[], Any]:
    lines, gradient, w = (torch.from_numpy(a) for a in (x, dy, weight))
    _, mean, rstd = torch.native_layer_norm(lines, w.shape, w, None, 1e-5)
    backward = torch.ops.aten.native_layer_norm_backward
    return lambda: backward(gradient, lines, w.shape, mean, rstd, w, w, [True, True, True])


def rms_norm(x: np.ndarray, weight: np.ndarray) -> Callable[[], Any]:
    lines, w = torch.from_numpy(x), torch.from_numpy(weight)
    return lambda: torch.nn.functional.rms_norm(lines, w.shape, w, 1e-5)


def embedding(index: np.ndarray, weight: np.ndarray) -> Callable[[], Any]:
    i, w = torch.from_numpy(index), torch.from_numpy(weight)
    return lambda: torch.nn.functional.embedding(i, w)


def embedding_backward(index: np.ndarray, dy: np.ndarray, rows: int) -> Callable[[], Any]:
    i, gradient = torch.from_numpy(index), torch.from_numpy(dy)
    return lambda: torch.ops.aten.embedding_dense_backward(gradient, i, rows, -1, False)


def embedding_bag(**case: Any) -> Callable[[], Any]:
    return bags(torch, **case)


def conv1d(x: np.ndarray, w: np.ndarray, bias: np.ndarray, padding: int) -> Callable[[], Any]:
    signal, kernel, b = (torch.from_numpy(a) for a in (x, w, bias))
    return lambda: torch.nn.functional.conv1d(signal, kernel, b, padding=padding)


def conv_transpose2d(
    x: np.ndarray, w: np.ndarray, bias: np.ndarray, channels_last: bool = False, **settings: int
) -> Callable[[], Any]:
    image, kernel = _images(channels_last, x, w)
    b = torch.from_numpy(bias)
    return lambda: torch.nn.functional.conv_transpose2d(image, kernel, b, **settings)


def interpolate(x: np.ndarray, channels_last: bool = False, **settings: Any) -> Callable[[], Any]:
    (image,) = _images(channels_last, x)
    return lambda: torch.nn.functional.interpolate(image, **settings)


def interpolate_backward(dy: np.ndarray, mode: str, channels_last: bool = False) -> Callable[[], Any]:
    """The gradient of an enlargement to twice the size."""
    (gradient,) = _images(channels_last, dy)
    function = getattr(torch.ops.aten, f"upsample_{mode}2d_backward")
    n, c, p, q = dy.shape
    corners = () if mode == "nearest" else (False,)
    return lambda: function(gradient, [p, q], [n, c, p // 2, q // 2], *corners, 2.0, 2.0)


def pad(x: np.ndarray, sizes: list[int], mode: str, channels_last: bool = False) -> Callable[[], Any]:
    (image,) = _images(channels_last, x)
    return lambda: torch.nn.functional.pad(image, sizes, mode)


def conv2d_backward(
    dy: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    stride: int,
    padding: int,
    groups: int,
    channels_last: bool = False,
) -> Callable[[], Any]:
    gradient, image, kernel = _images(channels_last, dy, x, w)
    function = torch.ops.aten.convolution_backward
    geometry = [stride] * 2, [padding] * 2, [1, 1], False, [0, 0], groups
    return lambda: function(gradient, image, kernel, [len(w)], *geometry, [True, True, True])


def conv2d_pool_backward(
    dy: np.ndarray,
    where: np.ndarray,
    x: np.ndarray,
    w: np.ndarray,
    padding: int,
    window: int,
    need_dx: bool,
    channels_last: bool = False,
) -> Callable[[], Any]:
    """The gradients of the pool and then of the convolution, as the tape calls them."""
    rows, columns = (size + 2 * padding - w.shape[2] + 1 for size in x.shape[2:])
    row, column = np.divmod(where.astype(np.int64), window)
    row += np.arange(dy.shape[2])[:, None] * window
    column += np.arange(dy.shape[3]) * window
    z = np.zeros((*dy.shape[:2], rows, columns), np.float32)
    gradient, result, image, kernel = _images(channels_last, dy, z, x, w)
    (indices,) = _images(channels_last, row * columns + column)
    pool, convolution = (
        torch.ops.aten.max_pool2d_with_indices_backward,
        torch.ops.aten.convolution_backward,
    )
    geometry = [1, 1], [padding] * 2, [1, 1], False, [0, 0], 1

    def call() -> Any:
        dz = pool(gradient, result, [window] * 2, [window] * 2, [0, 0], [1, 1], False, indices)
        gradients = convolution(dz, image, kernel, [len(w)], *geometry, [need_dx, True, True])
        return gradients if need_dx else gradients[1:]

    return call


def max_pool2d(x: np.ndarray, channels_last: bool, window: Window = (2, 2, 0)) -> Callable[[], Any]:
    (t,), settings = _images(channels_last, x), [[size] * 2 for size in window]
    return lambda: torch.ops.aten.max_pool2d_with_indices(t, *settings)[0]


def max_pool2d_backward(
    x: np.ndarray, dy: np.ndarray, channels_last: bool, window: Window = (2, 2, 0)
) -> Callable[[], Any]:
    (t, g), settings = _images(channels_last, x, dy), [[size] * 2 for size in window]
    _, where = torch.ops.aten.max_pool2d_with_indices(t, *settings)
    backward = torch.ops.aten.max_pool2d_with_indices_backward
    return lambda: backward(g, t, *settings, [1, 1], False, where)


def avg_pool2d(x: np.ndarray, channels_last: bool, window: Window = (2, 2, 0)) -> Callable[[], Any]:
    (t,) = _images(channels_last, x)
    return lambda: torch.nn.functional.avg_pool2d(t, *window)


def global_average(x: np.ndarray, channels_last: bool) -> Callable[[], Any]:
    (t,) = _images(channels_last, x)
    return lambda: torch.nn.functional.adaptive_avg_pool2d(t, 1)


def copy(x: np.ndarray, channels_last: bool) -> Callable[[], Any]:
    """From one layout to the other."""
    (t,) = _images(not channels_last, x)
    layout = torch.channels_last if channels_last else torch.contiguous_format
    return lambda: t.clone(memory_format=layout)


def transpose(x: np.ndarray, axes: list[int]) -> Callable[[], Any]:
    t = torch.from_numpy(x).permute(axes)
    return lambda: t.contiguous()


def concatenate(axis: int, **arrays: np.ndarray) -> Callable[[], Any]:
    tensors = [torch.from_numpy(a) for a in arrays.values()]
    return lambda: torch.cat(tensors, axis)


def small_matrices(function: str, **arrays: np.ndarray) -> Callable[[], Any]:
    tensors = [torch.from_numpy(a) for a in arrays.values()]
    compute = getattr(torch.linalg, function)
    if function == "solve_triangular":
        return lambda: compute(*tensors, upper=False)
    if function == "eigh":
        return lambda: compute(*tensors)[0]
    if function == "qr":
        return lambda: compute(*tensors)[1]
    return lambda: compute(*tensors)
