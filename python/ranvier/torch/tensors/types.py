"""torch.types and torch.nn.common_types: names of types for annotations."""

from __future__ import annotations

import os
from collections.abc import Sequence
from typing import IO, Any

import ranvier

Number = int | float | bool
Device = ranvier.device | str | int | None
Storage = Any
FileLike = str | os.PathLike[str] | IO[bytes]
_int = int
_float = float
_bool = bool
_dtype = ranvier.dtype
_device = ranvier.device
_size = Sequence[int]
_TensorOrTensors = ranvier.Tensor | Sequence[ranvier.Tensor]
_size_1_t = _size_2_t = _size_3_t = _size_4_t = _size_any_t = int | tuple[int, ...]
_size_any_opt_t = _size_2_opt_t = _size_3_opt_t = _size_any_t
_ratio_2_t = _ratio_3_t = _ratio_any_t = float | tuple[float, ...]
_tensor_list_t = _maybe_indices_t = _TensorOrTensors
