"""Differentiable ops on Tensors: one module for each kernel family, forward and backward side by side.

`table.py` lists the names of all ops and says when their modules are loaded. The names are attributes of this
package and of ``ranvier``, methods of Tensor and, for the ops of layers, names of ``ranvier.nn.functional``.
"""

import functools as _functools
import typing as _typing

import ranvier.ops.attach
import ranvier.ops.table as _table

if _typing.TYPE_CHECKING:  # all modules of the table, for type checkers and editors
    from ranvier.ops.activation.piecewise import *
    from ranvier.ops.activation.smooth import *
    from ranvier.ops.activation.softmax import *
    from ranvier.ops.elementwise.arithmetic import *
    from ranvier.ops.elementwise.binary import *
    from ranvier.ops.elementwise.choice import *
    from ranvier.ops.elementwise.compare import *
    from ranvier.ops.elementwise.elementary import *
    from ranvier.ops.elementwise.functions import *
    from ranvier.ops.elementwise.logic import *
    from ranvier.ops.image.conv import *
    from ranvier.ops.image.pooling import *
    from ranvier.ops.image.resample import *
    from ranvier.ops.loss.classification import *
    from ranvier.ops.loss.margin import *
    from ranvier.ops.loss.probability import *
    from ranvier.ops.loss.regression import *
    from ranvier.ops.making.draws import *
    from ranvier.ops.making.rare import *
    from ranvier.ops.matrix.algebra import *
    from ranvier.ops.matrix.cholesky import *
    from ranvier.ops.matrix.einsum import *
    from ranvier.ops.matrix.exponential import *
    from ranvier.ops.matrix.factorizations import *
    from ranvier.ops.matrix.fourier import *
    from ranvier.ops.matrix.inverse import *
    from ranvier.ops.matrix.linear import *
    from ranvier.ops.matrix.matmul import *
    from ranvier.ops.neural.attention import *
    from ranvier.ops.neural.distance import *
    from ranvier.ops.neural.dropout import *
    from ranvier.ops.neural.embedding import *
    from ranvier.ops.neural.normalization import *
    from ranvier.ops.reduction.norms import *
    from ranvier.ops.reduction.quantiles import *
    from ranvier.ops.reduction.reduce import *
    from ranvier.ops.reduction.sort import *
    from ranvier.ops.reduction.statistics import *
    from ranvier.ops.reduction.variance import *
    from ranvier.ops.shape.arrange import *
    from ranvier.ops.shape.index import *
    from ranvier.ops.shape.join import *
    from ranvier.ops.shape.repeat import *
    from ranvier.ops.shape.reshape import *
    from ranvier.ops.shape.scatter import *
    from ranvier.ops.shape.stacking import *
    from ranvier.ops.shape.write import *

__all__ = [name for name, module in _table.LATER.items() if not module.startswith("loss.")]


@_functools.cache
def _rare(module: str, name: str) -> _typing.Any:
    """An op that few networks use. It does not become an attribute of this module: for the guards of compiled
    steps, what has its name here is the program's (`compile/guarding/library_guards.py`)."""
    return getattr(_table.module_of(f"ranvier.ops.{module}"), name)


def load_layers() -> None:
    """Loads the ops of layers and losses as attributes, for code that compares or replaces the attributes."""
    for name, function in _table.functions_of(_table.WITH_LAYERS).items():
        globals().setdefault(name, function)


def __getattr__(name: str) -> _typing.Any:
    """An op, loaded at its first use. One that many networks use becomes an attribute, with all ops of its
    module; a rare op is looked up here again at each use."""
    if name not in _table.LATER:
        raise AttributeError(f"module 'ranvier.ops' has no attribute {name!r}")
    module = _table.LATER[name]
    if module not in _table.WITH_LAYERS:
        return _rare(module, name)
    globals().update(_table.functions_of([module]))
    return globals()[name]
