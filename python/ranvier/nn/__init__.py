"""Layers, networks and losses, under PyTorch's names: the classes that the modules list in ``__all__``."""

import importlib as _importlib
import typing as _typing

import ranvier.extension as _extension
from ranvier.nn import functional, init, utils
from ranvier.nn.activation import *
from ranvier.nn.attention import *
from ranvier.nn.container import *
from ranvier.nn.conv import *
from ranvier.nn.dropout import *
from ranvier.nn.embedding import *
from ranvier.nn.key_value_cache import *
from ranvier.nn.lazy import *
from ranvier.nn.linear import *
from ranvier.nn.loss import *
from ranvier.nn.module import *
from ranvier.nn.norm import *
from ranvier.nn.pooling import *
from ranvier.nn.rare import *
from ranvier.nn.recurrent import *
from ranvier.nn.recurrent_cell import *
from ranvier.nn.registry import absent as _absent
from ranvier.nn.resample import *
from ranvier.nn.reshape import *
from ranvier.nn.transformer import *

if not _typing.TYPE_CHECKING:
    __all__ = [name for name, value in globals().items() if isinstance(value, type)]
    __all__ += ["functional", "init", "utils"]
    __all__ += [name for name in _extension.attributes(__name__) if name[0].isupper()]


def __getattr__(name: str) -> _typing.Any:
    """A name that satellites add, or ``nn.parameter``, loaded at its first use."""
    if _extension.adds(__name__, name):
        return _extension.attribute(__name__, name)
    if name == "parameter":
        return _importlib.import_module("ranvier.nn.parameter")
    raise _absent(__name__, name)


def __dir__() -> list[str]:
    return sorted({*globals(), *_extension.attributes(__name__)})
