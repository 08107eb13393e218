"""Tools that find faults of a network or its training (`diagnose`, `judge_fit`), and sizes of networks."""

import types as _types
import typing as _typing

from ranvier.explore.diagnosis import *
from ranvier.explore.examine import *
from ranvier.explore.fit import *
from ranvier.explore.size import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
