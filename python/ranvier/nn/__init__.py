"""Layers, networks and losses, under PyTorch's names: the classes that the modules list in ``__all__``."""

import importlib as _importlib
import typing as _typing

from ranvier.nn import functional, init, utils
from ranvier.nn.activation.piecewise import *
from ranvier.nn.activation.smooth import *
from ranvier.nn.attention import *
from ranvier.nn.container import *
from ranvier.nn.conv import *
from ranvier.nn.conv_transpose import *
from ranvier.nn.distance import *
from ranvier.nn.dropout import *
from ranvier.nn.embedding import *
from ranvier.nn.lazy import *
from ranvier.nn.linear import *
from ranvier.nn.loss.classes import *
from ranvier.nn.loss.margin import *
from ranvier.nn.loss.probability import *
from ranvier.nn.loss.rare import *
from ranvier.nn.loss.regression import *
from ranvier.nn.module import *
from ranvier.nn.names import absent as _absent
from ranvier.nn.neuron import *
from ranvier.nn.norm import *
from ranvier.nn.pad import *
from ranvier.nn.parallel import DataParallel, SyncBatchNorm
from ranvier.nn.pooling import *
from ranvier.nn.positional import *
from ranvier.nn.rare import *
from ranvier.nn.recurrent import *
from ranvier.nn.recurrent_cell import *
from ranvier.nn.reshape import *
from ranvier.nn.transformer import *
from ranvier.nn.transformer_decoder import *
from ranvier.nn.upsample import *

if not _typing.TYPE_CHECKING:
    __all__ = [name for name, value in globals().items() if isinstance(value, type)]
    __all__ += ["functional", "init", "utils"]


def __getattr__(name: str) -> _typing.Any:
    """PyTorch's paths ``nn.modules`` and ``nn.parameter``: see :mod:`ranvier.paths`."""
    if name in ("modules", "parameter"):
        return _importlib.import_module(f"ranvier.nn.{name}")
    raise _absent(__name__, name)
