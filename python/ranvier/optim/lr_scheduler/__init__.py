"""Learning-rate schedules under PyTorch's names, with its values."""

import types as _types
import typing as _typing

from ranvier.optim.lr_scheduler.base import *
from ranvier.optim.lr_scheduler.cyclic import *
from ranvier.optim.lr_scheduler.multiplicative import *
from ranvier.optim.lr_scheduler.sequences import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
