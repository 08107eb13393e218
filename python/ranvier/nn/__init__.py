"""Layers, networks and losses, under PyTorch's names: the classes that the modules list in ``__all__``."""

import importlib as _importlib
import typing as _typing

import ranvier.extension as _extension
from ranvier.nn.module import Buffer as Buffer, Module as Module, Parameter as Parameter
from ranvier.nn.registry import absent as _absent
from ranvier.nn.table import LAYERS as _LAYERS, MODULE_OF as _MODULE_OF

if _typing.TYPE_CHECKING:  # all modules of nn/table.py
    from ranvier.nn import functional, init, utils
    from ranvier.nn.activation.piecewise import *
    from ranvier.nn.activation.smooth import *
    from ranvier.nn.activation.softmax import *
    from ranvier.nn.attention import *
    from ranvier.nn.container import *
    from ranvier.nn.conv import *
    from ranvier.nn.distance import *
    from ranvier.nn.dropout import *
    from ranvier.nn.embedding import *
    from ranvier.nn.key_value_cache import *
    from ranvier.nn.lazy import *
    from ranvier.nn.linear import *
    from ranvier.nn.loss.classes import *
    from ranvier.nn.loss.elements import *
    from ranvier.nn.loss.margins import *
    from ranvier.nn.norm import *
    from ranvier.nn.pooling import *
    from ranvier.nn.rare import *
    from ranvier.nn.recurrent import *
    from ranvier.nn.recurrent_cell import *
    from ranvier.nn.resample import *
    from ranvier.nn.reshape import *
    from ranvier.nn.transformer import *

if not _typing.TYPE_CHECKING:
    __all__ = ["Buffer", "Module", "Parameter", *_MODULE_OF, "functional", "init", "utils"]
    __all__ += [name for name in _extension.attributes(__name__) if name[0].isupper()]
_MODULES = {"activation", "functional", "init", "loss", "modes", "parameter", "quantized", "utils", *_LAYERS}


def __getattr__(name: str) -> _typing.Any:
    """A layer, a module, or a name that satellites add, loaded at its first use."""
    if name in _MODULE_OF:
        value = getattr(_importlib.import_module(f"ranvier.nn.{_MODULE_OF[name]}"), name)
        globals()[name] = value
        return value
    if name in _MODULES:
        return _importlib.import_module(f"ranvier.nn.{name}")
    if _extension.adds(__name__, name):
        return _extension.attribute(__name__, name)
    raise _absent(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_MODULE_OF, *_MODULES, *_extension.attributes(__name__)})


_extension.loaded(__name__)
