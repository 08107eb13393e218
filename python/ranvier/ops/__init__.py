"""Differentiable ops on Tensors: one module for each kernel family, forward and backward side by side.

A module lists its ops in ``__all__``; these are the names of this package, of ``ranvier`` and, for layers and
losses, of ``ranvier.nn.functional``. Its METHODS are the names that become methods of Tensor.
"""

import importlib as _importlib
import types as _types
import typing as _typing

import ranvier.ops.attach
from ranvier.ops.activation.piecewise import *
from ranvier.ops.activation.smooth import *
from ranvier.ops.diagonal import *
from ranvier.ops.elementwise.arithmetic import *
from ranvier.ops.elementwise.compare import *
from ranvier.ops.elementwise.extrema import *
from ranvier.ops.elementwise.functions import *
from ranvier.ops.elementwise.power import *
from ranvier.ops.elementwise.where import *
from ranvier.ops.index import *
from ranvier.ops.join import *
from ranvier.ops.matmul import *
from ranvier.ops.norms import *
from ranvier.ops.reduce import *
from ranvier.ops.repeat import *
from ranvier.ops.scan import *
from ranvier.ops.scatter import *
from ranvier.ops.shape import *
from ranvier.ops.softmax import *
from ranvier.ops.sort import *
from ranvier.ops.variance import *

if _typing.TYPE_CHECKING:
    from ranvier.ops.layers import *
else:
    __all__ = [name for name, value in globals().items() if isinstance(value, _types.FunctionType)]


def __getattr__(name: str) -> _typing.Any:
    """The ops that no method of Tensor needs are loaded with the first use of one of them."""
    layers = _importlib.import_module("ranvier.ops.layers")
    if name == "layers":
        return layers
    if name not in layers.__all__:
        raise AttributeError(f"module 'ranvier.ops' has no attribute {name!r}")
    globals().update({op: getattr(layers, op) for op in layers.__all__})
    return globals()[name]
