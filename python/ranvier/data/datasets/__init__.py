"""Data sets: digits and iris are in the package; MNIST and Fashion-MNIST are read or downloaded;
tables, archives and images are read from files."""

import types as _types
import typing as _typing

from ranvier.data.datasets.downloads import *
from ranvier.data.datasets.files import *
from ranvier.data.datasets.images import *
from ranvier.data.datasets.samples import *
from ranvier.data.datasets.tables import *

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
