"""The types of arguments that many functions take, named once.

Modules below this one import it under ``if TYPE_CHECKING``.
"""

from __future__ import annotations

from collections.abc import Sequence
from types import EllipsisType
from typing import Any, TypeAlias

import numpy as np

from ranvier.tensors.devices import device
from ranvier.tensors.dtypes import DtypeLike as DtypeLike
from ranvier.tensors.memory import Array as Array
from ranvier.tensors.tensor import Tensor

Number: TypeAlias = bool | int | float | complex | np.generic
"""One number of Python or NumPy."""

TensorLike: TypeAlias = Tensor | Array | Number
"""What an op computes with: a Tensor, a NumPy array or a number."""

ArrayLike: TypeAlias = Tensor | Array | Number | Sequence[Any]
"""What ``rv.tensor`` makes a Tensor of: nested lists of numbers, too."""


DeviceLike: TypeAlias = device | str | int
"""A device, its name or its number."""

Shape: TypeAlias = tuple[int, ...]
"""The sizes of a Tensor, one for each dimension."""

ShapeLike: TypeAlias = int | Sequence[int]
"""A shape as an argument: a sequence of sizes, or one size."""

Axis: TypeAlias = int | None
"""One dimension, negative ones counted from the end. None: all, or the function's usual one."""

Axes: TypeAlias = int | Sequence[int] | None
"""One dimension or several; None: all."""

Index: TypeAlias = int | slice | EllipsisType | Tensor | Array | Sequence[Any] | None
"""What stands between the brackets of ``x[...]``; several in a tuple."""

Key: TypeAlias = Index | tuple[Index, ...]
"""All that stands between the brackets of ``x[...]``."""
