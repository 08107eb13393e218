"""Layers that find the size of their input at their first call: LazyLinear, LazyConv2d, LazyBatchNorm1d ...

Before the first call the parameters have no elements. They stay the same objects, so an optimizer can be made
before the first call. The first call changes the class of the layer to the class without "Lazy".
"""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.nn.init as init
from ranvier.nn.conv import Conv2d
from ranvier.nn.linear import Linear
from ranvier.nn.modes import evaluating
from ranvier.nn.module import Module
from ranvier.nn.norm import BatchNorm1d, BatchNorm2d
from ranvier.nn.parameter import Parameter, UninitializedParameter
from ranvier.nn.registry import REGISTRIES
from ranvier.nn.table import LAYERS
from ranvier.observe import leave_unrecorded
from ranvier.tensors.failures import OpError, misfit
from ranvier.tensors.tensor import Tensor
from ranvier.tensors.types import TensorLike
from ranvier.tensors.views import bump

__all__ = LAYERS["lazy"]


class _Lazy(Module):
    """A layer before its first call, in which it finds its size."""

    _base: Any  # the class of the layer afterwards
    _size = "num_features"  # the argument of that class that the first call finds
    _in_weight = 0  # the axis of the weight whose length is this size
    _settings: dict[str, Any]  # the other arguments
    _paths = None  # `arguments_of` (nn/arguments.py) refuses the layer: it has no size yet.

    def __init__(self, *args: Any, **settings: Any) -> None:
        Module.__init__(self)
        names = [name for name in self._names() if name != self._size]
        if len(args) > len(names):
            raise TypeError(f"[{type(self).__name__}] got {len(args)} arguments; expected {', '.join(names)}")
        settings = {**dict(zip(names, args, strict=False)), **settings}
        # The layer takes over the attributes of a small layer of its later class, and empties the tensors.
        smallest = settings.get("groups", 1)  # A convolution with groups needs a channel for each.
        with init.skipped():
            small = self._base(**{self._size: smallest}, **settings)
        self.__setstate__(small.__dict__)
        self.__dict__[self._size] = 0
        self._settings = settings
        for tensor in self._sized():
            tensor._array = np.empty((0,), tensor.dtype)
            if isinstance(tensor, Parameter):
                tensor.__class__ = UninitializedParameter

    @classmethod
    def _names(cls) -> list[str]:
        """The names of the arguments of the class afterwards."""
        import inspect

        return list(inspect.signature(cls._base).parameters)

    def _sized(self) -> list[Tensor]:
        """The parameters and buffers whose shape depends on the size: all except the number of batches."""
        tensors = (*self._parameters.values(), *self._buffers.values())
        return [tensor for tensor in tensors if tensor is not None and tensor.ndim > 0]

    def _example(self) -> None:
        return None

    def _size_of(self, x: TensorLike) -> int:
        """The number of channels of an input: its first axis for one image without a batch, else its second
        axis."""
        spatial_axes = getattr(self, "_axes", None)  # of a convolution
        if spatial_axes:
            unbatched_rank = spatial_axes + 1
        else:
            unbatched_rank = getattr(self._base, "_unbatched", 0)  # 0: the norm always needs a batch
        shape = np.shape(x)
        if len(shape) < 2:
            raise misfit(type(self).__name__, {"x": shape}, "(N, C, ...)")
        if len(shape) == unbatched_rank:
            return int(shape[0])
        return int(shape[1])

    def _materialise(self, size: int) -> None:
        """Makes the parameters for this size of input, and changes the class to ``_base``."""
        leave_unrecorded()  # A step that is being recorded runs once more: later calls differ from this one.
        layer = self._base(**{self._size: size}, **self._settings)
        for tensor, new in zip(self._sized(), _Lazy._sized(layer), strict=True):
            tensor._array = new._array.astype(tensor.dtype, copy=False)
            if isinstance(tensor, UninitializedParameter):
                tensor.__class__ = Parameter  # type: ignore[assignment]
            bump(tensor)  # counts as a change in place
        unchanged = {*REGISTRIES, *layer._parameters, *layer._buffers, "training", "_rv_hooks"}
        for name, value in layer.__dict__.items():
            if name not in unchanged:
                self.__dict__[name] = value
        del self.__dict__["_settings"]
        self.__class__ = self._base

    def _materialise_from(self, weight: TensorLike) -> None:
        """As :meth:`_materialise`, with the size that the weight of a state dict has; `Loading.load` of
        nn/state_dicts.py calls it, before it loads the layer."""
        shape = np.shape(weight)
        axis = self._in_weight
        if len(shape) <= axis:
            return
        if axis == 0:
            self._materialise(shape[axis])
        else:  # The weight of a convolution has in_channels / groups channels.
            self._materialise(shape[axis] * self._settings.get("groups", 1))

    def forward(self, input: TensorLike) -> Any:
        self._materialise(self._size_of(input))
        return self.forward(input)


class LazyLinear(_Lazy, Linear):
    """:class:`Linear` whose in_features is the length of the last axis of its first input.

    >>> import ranvier as rv
    >>> layer = rv.nn.LazyLinear(2)
    >>> layer(rv.ones(4, 3)).shape, layer
    ((4, 2), Linear(in_features=3, out_features=2, bias=True))
    """

    _base = Linear
    _size = "in_features"
    _in_weight = 1

    def _size_of(self, x: Any) -> int:
        if not np.ndim(getattr(x, "_array", x)):
            raise OpError("[LazyLinear] got x of shape (); expected (..., in_features)")
        return int(x.shape[-1])


class LazyConv2d(_Lazy, Conv2d):
    """:class:`Conv2d` whose in_channels is the number of channels of its first input.

    >>> import ranvier as rv
    >>> rv.nn.LazyConv2d(2, 3)(rv.ones(1, 4, 5, 5)).shape
    (1, 2, 3, 3)
    """

    _base = Conv2d
    _size = "in_channels"
    _in_weight = 1


class LazyBatchNorm1d(_Lazy, BatchNorm1d):  # type: ignore[misc]
    """:class:`BatchNorm1d` whose num_features is the number of channels of its first input.

    >>> import ranvier as rv
    >>> rv.nn.LazyBatchNorm1d()(rv.ones(2, 3)).shape
    (2, 3)
    """

    _base = BatchNorm1d


class LazyBatchNorm2d(_Lazy, BatchNorm2d):  # type: ignore[misc]
    """:class:`BatchNorm2d` whose num_features is the number of channels of its first input.

    >>> import ranvier as rv
    >>> rv.nn.LazyBatchNorm2d()(rv.ones(2, 3, 4, 4)).shape
    (2, 3, 4, 4)
    """

    _base = BatchNorm2d


def find_sizes(model: Module, sample: Any) -> None:
    """Calls a model with lazy layers once, in evaluation mode, with a batch of one sample. The Trainer calls
    it with the first of its samples (train/run.py)."""
    with evaluating(model):
        model(Tensor(sample))
