"""The base classes of PyTorch's layers, for classes that derive from them, and torch.nn.modules.utils.

| import ranvier.nn.modules.dropout as dropout; isinstance(rv.nn.Dropout(), dropout._DropoutNd) -> True
"""

from __future__ import annotations

import importlib
from collections.abc import Iterable, Sequence
from typing import Any

from ranvier.nn import conv, dropout, loss as losses, norm, pooling, recurrent, recurrent_cell, resample

RNNBase = recurrent.RNNBase
RNNCellBase = recurrent_cell.RNNCellBase
_Loss = losses.Loss
_WeightedLoss = losses.WeightedLoss
_BatchNorm = norm._BatchNorm
_InstanceNorm = norm._InstanceNorm
_NormBase = norm._ChannelNorm
_ConvNd = conv.Convolution
_ConvTransposeNd = conv.TransposedConvolution
_DropoutNd = dropout._Dropout


class _ConvTransposeMixin(conv.TransposedConvolution):
    """The base class that PyTorch's transposed convolutions once had; classes of libraries derive from it."""


_AvgPoolNd = pooling._AvgPool
_MaxPoolNd = pooling._MaxPool
_AdaptiveAvgPoolNd = pooling._AdaptiveAvg
_AdaptiveMaxPoolNd = pooling._AdaptiveMax
_ConstantPadNd = resample._ConstantPad
_ReflectionPadNd = resample._ReflectionPad
_ReplicationPadNd = resample._ReplicationPad


def _ntuple(count: int, name: str = "parse") -> Any:
    """A function that repeats a number `count` times, and makes a tuple of an iterable."""

    def sizes(value: Any) -> tuple[Any, ...]:
        if isinstance(value, Iterable):
            return tuple(value)
        return (value,) * count

    return sizes


_single, _pair, _triple, _quadruple = map(_ntuple, (1, 2, 3, 4))


def _reverse_repeat_tuple(t: Sequence[Any], n: int) -> tuple[Any, ...]:
    return tuple(x for x in reversed(t) for _ in range(n))


def _list_with_default(out_size: Any, defaults: Sequence[int]) -> Any:
    if isinstance(out_size, int):
        return out_size
    if len(defaults) <= len(out_size):
        raise ValueError(f"Input dimension should be at least {len(out_size) + 1}")
    last = defaults[-len(out_size) :]
    return [d if size is None else size for size, d in zip(out_size, last, strict=False)]


def _get_activation_fn(activation: str) -> Any:
    """relu or gelu, by its name; RuntimeError for another."""
    if activation not in ("relu", "gelu"):
        raise RuntimeError(f"activation should be relu/gelu, not {activation}")
    return getattr(importlib.import_module("ranvier.nn.functional"), activation)


def consume_prefix_in_state_dict_if_present(state_dict: dict[str, Any], prefix: str) -> None:
    """Takes the prefix from the names of a state dict, such as "module." of DataParallel.

    >>> state = {"module.weight": 1, "bias": 2}
    >>> consume_prefix_in_state_dict_if_present(state, "module.")
    >>> state
    {'bias': 2, 'weight': 1}
    """
    for names in (state_dict, getattr(state_dict, "_metadata", {})):
        for name in list(names):
            if name.startswith(prefix) or (names is not state_dict and name == prefix.rstrip(".") != ""):
                names[name[len(prefix) :]] = names.pop(name)
