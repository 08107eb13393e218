"""Differentiable ops on Tensors: one module for each kernel family, forward and backward side by side.

A module lists its ops in ``__all__``; these are the names of this package, of ``ranvier`` and, for layers and
losses, of ``ranvier.nn.functional``. Its METHODS are the names that become methods of Tensor.
"""

import importlib as _importlib
import types as _types
import typing as _typing

import ranvier.ops.attach
import ranvier.ops.numeric as _numeric
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
    from ranvier.ops.numeric.algebra import *
    from ranvier.ops.numeric.arrange import *
    from ranvier.ops.numeric.counts import *
    from ranvier.ops.numeric.elementary import *
    from ranvier.ops.numeric.factors import *
    from ranvier.ops.numeric.filled import *
    from ranvier.ops.numeric.logic import *
    from ranvier.ops.numeric.matrices import *
    from ranvier.ops.numeric.pairs import *
    from ranvier.ops.numeric.places import *
    from ranvier.ops.numeric.quantiles import *
    from ranvier.ops.numeric.random import *
    from ranvier.ops.numeric.stacks import *
    from ranvier.ops.numeric.statistics import *
else:
    __all__ = [name for name, value in globals().items() if isinstance(value, _types.FunctionType)]


def __getattr__(name: str) -> _typing.Any:
    """The ops of layers and losses, and rare ones, are loaded with the first use of one of them."""
    module = _numeric.MODULE_OF.get(name)
    if module is not None:
        globals()[name] = getattr(_importlib.import_module(f"ranvier.ops.numeric.{module}"), name)
        return globals()[name]
    layers = _importlib.import_module("ranvier.ops.layers")
    if name == "layers":
        return layers
    if name not in layers.__all__:
        raise AttributeError(f"module 'ranvier.ops' has no attribute {name!r}")
    globals().update({op: getattr(layers, op) for op in layers.__all__})
    return globals()[name]
