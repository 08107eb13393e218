"""Pictures with matplotlib (the extra `plot`), which is imported when the first picture is drawn.

Each function draws in the Axes `ax` or the Figure `figure` if given, else in a new figure, and returns the
Axes. With `path` it saves the picture; the ending of the path gives the format (.png, .svg, .pdf ...).
Without matplotlib (`pip install 'ranvier[plot]'`) it raises ImportError.
"""

import types as _types
import typing as _typing

from ranvier.plot.boundary import *
from ranvier.plot.curves import *
from ranvier.plot.figure import *
from ranvier.plot.graphs import *
from ranvier.plot.image_grids import *
from ranvier.plot.matrices import *
from ranvier.plot.networks import *
from ranvier.tensors.errors import own_errors as _own_errors

if not _typing.TYPE_CHECKING:
    __all__ = [n for n, v in globals().items() if n[0] != "_" and not isinstance(v, _types.ModuleType)]
    _own_errors(globals(), __all__)
