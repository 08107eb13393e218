"""Finds what is wrong with a network or its training, and tells how large its layers are."""

import types as _types
import typing as _typing

from ranvier.explore.diagnosis import *
from ranvier.explore.examine import *
from ranvier.explore.fit import *
from ranvier.explore.size import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
