"""Differentiable ops on Tensors: one module for each kernel family, forward and backward side by side.

A module lists its ops in ``__all__``; these are the names of this package, of ``ranvier`` and, for layers and
losses, of ``ranvier.nn.functional``. Its METHODS are the names that become methods of Tensor.
"""

import functools as _functools
import importlib as _importlib
import types as _types
import typing as _typing

import ranvier.ops.attach
import ranvier.ops.first_use as _first_use
from ranvier.ops.activation.piecewise import *
from ranvier.ops.activation.smooth import *
from ranvier.ops.activation.softmax import *
from ranvier.ops.elementwise.arithmetic import *
from ranvier.ops.elementwise.choice import *
from ranvier.ops.elementwise.compare import *
from ranvier.ops.elementwise.functions import *
from ranvier.ops.matrix.matmul import *
from ranvier.ops.reduction.norms import *
from ranvier.ops.reduction.reduce import *
from ranvier.ops.shape.index import *
from ranvier.ops.shape.join import *
from ranvier.ops.shape.reshape import *

if _typing.TYPE_CHECKING:
    from ranvier.ops.creation import *
    from ranvier.ops.elementwise.elementary import *
    from ranvier.ops.elementwise.logic import *
    from ranvier.ops.elementwise.pairs import *
    from ranvier.ops.layers import *
    from ranvier.ops.matrix.algebra import *
    from ranvier.ops.matrix.cholesky import *
    from ranvier.ops.matrix.exponential import *
    from ranvier.ops.matrix.factors import *
    from ranvier.ops.matrix.fourier import *
    from ranvier.ops.matrix.inverse import *
    from ranvier.ops.reduction.quantiles import *
    from ranvier.ops.reduction.sort import *
    from ranvier.ops.reduction.statistics import *
    from ranvier.ops.reduction.variance import *
    from ranvier.ops.shape.arrange import *
    from ranvier.ops.shape.repeat import *
    from ranvier.ops.shape.scatter import *
    from ranvier.ops.shape.stacks import *
    from ranvier.ops.shape.write import *
else:
    __all__ = [name for name, value in globals().items() if isinstance(value, _types.FunctionType)]


@_functools.cache
def _rare(module: str, name: str) -> _typing.Any:
    """An op that few networks use. It does not become an attribute: guards compare those of this module, so
    each program of a layer that imports it would have to be recorded again."""
    return getattr(_importlib.import_module(f"ranvier.ops.{module}"), name)


def __getattr__(name: str) -> _typing.Any:
    """The ops of layers and losses, and rare ones, are loaded with the first use of one of them."""
    module = _first_use.MODULE_OF.get(name)
    if module is not None:
        return _rare(module, name)
    layers = _importlib.import_module("ranvier.ops.layers")
    if name == "layers":
        return layers
    if name not in layers.__all__:
        raise AttributeError(f"module 'ranvier.ops' has no attribute {name!r}")
    globals().update({op: getattr(layers, op) for op in layers.__all__})
    return globals()[name]
