"""Conv3d and max_pool3d for volumes (N, C, D, H, W), computed by the ops of images.

A layer is one image (H, W) of a volume.
"""

from __future__ import annotations

from typing import Any

import ranvier as rv
from ranvier.nn import conv
from ranvier.tape.function import Dtypes, in_dtypes
from ranvier.tensors.failures import OpError


def _three(op: str, what: str, value: Any, least: int) -> tuple[int, int, int]:
    """A setting as three numbers, for depth, height and width."""
    sizes = tuple(value) if isinstance(value, (tuple, list)) else (value,)
    if len(sizes) not in (1, 3) or not all(hasattr(n, "__index__") and n >= least for n in sizes):
        raise OpError(f"[{op}] got {what} {value!r}; expected one or three whole numbers from {least}")
    return sizes * (3 // len(sizes))


# Half floats are computed in float32: gradients add up over the layers of a kernel, and are rounded once.
@in_dtypes(Dtypes(autocast="lower"))
def conv3d(
    input: Any,
    weight: Any,
    bias: Any = None,
    stride: Any = 1,
    padding: Any = 0,
    dilation: Any = 1,
    groups: int = 1,
) -> Any:
    """F.conv3d: a `conv2d` for each layer of the result. Its channels are those of all layers that the kernel
    covers.

    >>> conv3d(rv.ones(1, 1, 3, 3, 3), rv.ones(1, 1, 2, 2, 2)).shape
    (1, 1, 2, 2, 2)
    """
    input, weight = rv.as_tensor(input), rv.as_tensor(weight)
    x = input.unsqueeze(0) if input.ndim == 4 else input
    if not x.ndim == weight.ndim == 5 or x.shape[1] != weight.shape[1] * groups or 0 in weight.shape[2:]:
        raise OpError(
            f"[conv3d] got x of shape {tuple(input.shape)}, weight of {tuple(weight.shape)} and {groups} "
            "groups; expected x (n, c, d, h, w), weight (out_channels, in_channels / groups, d, h, w)"
        )
    step, *steps = _three("conv3d", "stride", stride, 1)
    gap, *gaps = _three("conv3d", "dilation", dilation, 1)
    edges: Any = (padding,) * 3 if isinstance(padding, str) else _three("conv3d", "padding", padding, 0)
    before, *around = edges
    depth = weight.shape[2]
    reach = gap * (depth - 1)
    after = before
    if isinstance(padding, str):
        before, after = (reach // 2, reach - reach // 2) if padding == "same" else (0, 0)
    if before or after:
        x = rv.pad(x, (0, 0, 0, 0, before, after))
    layers = x.unfold(2, reach + 1, step)[..., ::gap]  # (n, c, layers out, h, w, layers of the kernel)
    n, c, count, h, w, _ = layers.shape
    images = layers.permute(0, 2, 1, 5, 3, 4).reshape(n * count, c * depth, h, w)
    settings: Any = steps, padding if isinstance(padding, str) else around, gaps, groups
    y = rv.conv2d(images, weight.flatten(1, 2), bias, *settings)
    y = y.reshape(n, count, *y.shape[1:]).transpose(1, 2).contiguous()
    return y if input.ndim == 5 else y[0]


@in_dtypes(Dtypes(autocast="float32"))
def max_pool3d(
    input: Any,
    kernel_size: Any,
    stride: Any = None,
    padding: Any = 0,
    dilation: Any = 1,
    ceil_mode: bool = False,
    return_indices: bool = False,
) -> Any:
    """F.max_pool3d: first the maxima of the windows within each layer, then the maxima over the layers of a
    window.

    >>> max_pool3d(rv.arange(8.0).reshape(1, 1, 2, 2, 2), 2)
    tensor([[[[[7.]]]]])
    """
    x = rv.as_tensor(input)
    if x.ndim not in (4, 5) or return_indices:
        raise OpError(
            f"[max_pool3d] got x of shape {tuple(x.shape)}, return_indices={return_indices}; expected x "
            "(n, c, d, h, w) or (c, d, h, w), no indices"
        )
    given: Any = ("kernel_size", kernel_size), ("stride", kernel_size if stride in (None, [], ()) else stride)
    given += ("padding", padding), ("dilation", dilation)
    window = [_three("max_pool3d", what, value, int(what != "padding")) for what, value in given]
    pool: Any = rv.max_pool2d
    *lead, depth, height, width = x.shape
    y = pool(x.reshape(-1, depth, height, width), *(sizes[1:] for sizes in window), ceil_mode)
    layers = ((sizes[0], one) for sizes, one in zip(window, (1, 1, 0, 1), strict=True))
    pooled = pool(y.flatten(2), *layers, ceil_mode)
    return pooled.reshape(*lead, pooled.shape[1], *y.shape[2:])


class Conv3d(conv._Conv):
    """nn.Conv3d. | sorted(Conv3d(1, 2, 3).state_dict()) -> ['bias', 'weight']"""

    _op, _axes = "conv3d", 3

    def _conv_forward(self, input: Any, weight: Any, bias: Any) -> Any:
        padding: Any = self.padding
        if self.padding_mode != "zeros":
            input, padding = rv.pad(input, self._around(), self.padding_mode), 0
        return conv3d(input, weight, bias, self.stride, padding, self.dilation, self.groups)
