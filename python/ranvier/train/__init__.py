"""Training: `Trainer`, its callbacks and its history."""

import types as _types
import typing as _typing

from ranvier.train.callbacks import *
from ranvier.train.callbacks.base import HintWarning as HintWarning
from ranvier.train.history import *
from ranvier.train.nonfinite import NonFiniteError as NonFiniteError
from ranvier.train.trainer import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
