"""The ops of layers and losses under the names of ``torch.nn.functional``.

Layers look the functions up here at each call, as PyTorch's do, so that a function that a program puts in the
place of one of these is called by the layers, too: counters of operations and recorders do so. Captured steps
compare the attributes of this module.

The functions become attributes when they are needed, by ``__getattr__`` below, because an import of all
would be slow. `ranvier.ops.table` says which module has which function. Of the names with a leading
underscore, layers use `_OWN` and `_is_replaced`. `ranvier.torch` calls `_load` and `_put`: it puts objects
that ask the classes of Tensors in the places of the functions (torch/installation/replaceable.py,
torch/torch_function/activation.py). Names that this file imports have a leading underscore, so that they do
not count as its functions.
"""

import operator as _operator
import typing as _typing

import ranvier.ops.table as _table
from ranvier.nn.registry import absent as _absent
from ranvier.nn.table import LOSSES as _LOSSES
from ranvier.ops import _rare
from ranvier.tensors.spellings import OF_LAYERS as _OF_LAYERS, spelled as _spelled

# For type checkers, which do not see what `_add` does: kept by hand, after `ranvier.ops.table`.
if _typing.TYPE_CHECKING:
    from ranvier.nn.loss.functional import *
    from ranvier.ops.activation.piecewise import *
    from ranvier.ops.activation.smooth import *
    from ranvier.ops.activation.softmax import *
    from ranvier.ops.image.conv import *
    from ranvier.ops.image.pooling import *
    from ranvier.ops.image.resample import *
    from ranvier.ops.image.sampling import *
    from ranvier.ops.loss.ctc import ctc_loss as ctc_loss
    from ranvier.ops.loss.rare import *
    from ranvier.ops.matrix.linear import linear as linear
    from ranvier.ops.neural.attention import *
    from ranvier.ops.neural.distance import *
    from ranvier.ops.neural.dropout import *
    from ranvier.ops.neural.embedding import *
    from ranvier.ops.neural.normalization import *
    from ranvier.ops.neural.rare import *

_Function = _typing.Callable[..., _typing.Any]


def _modules_of_later_functions() -> dict[str, str]:
    """{name: the module of `ranvier.ops` that has it} of functions that become attributes at the first use of
    one of their module."""
    modules = {}
    for module in _table.LAYER_MODULES:
        for name in _table.function_names(_table.WITH_LAYERS[module]):
            modules[name] = module
    return modules


_LATER = _modules_of_later_functions()
# PyTorch has these as functions made in C, which also take NumPy's names of arguments (`axis`, `keepdims`
# ...).
_BUILT_IN = frozenset(_OF_LAYERS.split())
# The functions that the library has put here. A program may replace attributes of this module, not these.
_OWN: dict[str, _Function] = {}


def _add(functions: dict[str, _Function]) -> None:
    """Makes functions attributes, but for those that are there or that a program has replaced."""
    for name, function in functions.items():
        if name in _OWN:
            continue
        if name in _BUILT_IN:
            function = _spelled(function)
        _OWN[name] = function
        globals().setdefault(name, function)


def _put(name: str, function: _Function) -> None:
    """Puts another object of the library in the place of a function, unless a program has replaced it."""
    # True also of a name that is not loaded yet, which neither has: both are None.
    if globals().get(name) is _OWN.get(name):
        globals()[name] = function
    _OWN[name] = function


def _is_replaced() -> bool:
    """True if a program has replaced a function of this module. Each new layer with an example asks."""
    present = map(globals().get, _OWN)
    return not all(map(_operator.is_, present, _OWN.values()))


def _add_losses() -> None:
    import ranvier.nn.loss.functional as losses

    _add({name: getattr(losses, name) for name in _LOSSES})


def _load() -> None:
    """Makes all functions of layers and losses attributes, for code that compares or replaces them."""
    _add(_table.functions_of(_table.LAYER_MODULES))
    _add_losses()


def __getattr__(name: str) -> _typing.Any:
    """Loads a function at its first use. Those of layers and losses become attributes; a rare one does not:
    ``ranvier.ops`` says why."""
    if name in _table.FUNCTIONAL_OF:
        return _rare(_table.FUNCTIONAL_OF[name], name)
    if name in _LATER:
        _add(_table.functions_of([_LATER[name]]))
    elif name in _LOSSES:
        _add_losses()
    else:
        raise _absent(__name__, name)
    return globals()[name]


def __dir__() -> list[str]:
    return sorted({*globals(), *_LATER, *_LOSSES, *_table.FUNCTIONAL_OF})
