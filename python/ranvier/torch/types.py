"""torch.types: names for annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, Any

import ranvier

Number = int | float | bool
Device = ranvier.device | str | int | None
Storage = Any
FileLike = str | os.PathLike[str] | IO[bytes]
_int, _float, _bool, _dtype, _device = int, float, bool, ranvier.dtype, ranvier.device
_size = Sequence[int]
_TensorOrTensors = ranvier.Tensor | Sequence[ranvier.Tensor]
