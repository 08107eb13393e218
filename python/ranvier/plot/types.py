"""The types in the signatures of pictures. matplotlib is not imported: only type checkers see its classes."""

import os
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

if TYPE_CHECKING:
    from matplotlib.axes import Axes as Axes
    from matplotlib.figure import Figure as Figure
else:
    Axes = Figure = Any

Panels: TypeAlias = np.ndarray[Any, np.dtype[Any]]  # of Axes
Path: TypeAlias = str | os.PathLike[str]
