"""Tools to understand how networks learn: small searches, comparisons, measurements and diagnoses."""

import types as _types
import typing as _typing

from ranvier.explore import surfaces
from ranvier.explore.compare import *
from ranvier.explore.depth import *
from ranvier.explore.diagnosis import *
from ranvier.explore.examine import *
from ranvier.explore.filters import *
from ranvier.explore.fit import *
from ranvier.explore.parameters import *
from ranvier.explore.search import *
from ranvier.explore.size import *
from ranvier.explore.surfaces import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
    __all__ += ["surfaces"]
