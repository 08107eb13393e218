"""PyTorch's sample inputs as arguments for this library: same values, dtypes and strides."""

from typing import Any

import numpy as np
import ranvier as rv
import torch

FLAT = (str, int, float, bool, type(None), type(Ellipsis), np.generic)
DTYPES = {
    getattr(torch, name): np.dtype(name)
    for name in ("float16", "float32", "float64", "uint8", "int8", "int16", "int32", "int64", "bool")
} | {torch.bfloat16: np.dtype(rv.bfloat16)}


class NotHere(Exception):
    """The sample holds something that this library does not have: a complex number, a sparse tensor ..."""


def copied(tensor: torch.Tensor) -> torch.Tensor:
    """The same values with the same strides in its own memory, a leaf."""
    tensor = tensor.detach()
    storage = tensor.untyped_storage().clone()
    out = torch.empty(0, dtype=tensor.dtype)
    return out.set_(storage, tensor.storage_offset(), tensor.size(), tensor.stride())  # type: ignore[call-overload]


def as_ours(tensor: torch.Tensor) -> rv.Tensor:
    """A Tensor on the same memory. PyTorch makes no array of bfloat16."""
    if tensor.dtype != torch.bfloat16:
        return rv.from_numpy(tensor.numpy())
    return rv.from_numpy(tensor.view(torch.int16).numpy().view(DTYPES[tensor.dtype]))


class Arguments:
    """The arguments of one sample for both libraries, and the tensors among them, pair by pair."""

    def __init__(self, sample: Any) -> None:
        self.pairs: dict[int, tuple[torch.Tensor, rv.Tensor]] = {}
        if "out" in sample.kwargs:
            raise NotHere("out=")
        values = (sample.input, *sample.args)
        self.theirs, self.ours = (tuple(part) for part in zip(*map(self._both, values), strict=True))
        named = {name: self._both(value) for name, value in sample.kwargs.items()}
        self.their_names = {name: both[0] for name, both in named.items()}
        self.our_names = {name: both[1] for name, both in named.items()}

    def _both(self, value: Any) -> tuple[Any, Any]:
        if isinstance(value, torch.Tensor):
            return self._tensors(value)
        if isinstance(value, torch.Size):
            return value, tuple(value)
        if isinstance(value, (list, tuple)):
            pairs = [self._both(part) for part in value]
            return type(value)(pair[0] for pair in pairs), type(value)(pair[1] for pair in pairs)
        if isinstance(value, slice):
            return value, value
        if isinstance(value, torch.dtype):
            if value not in DTYPES:
                raise NotHere(str(value))
            return value, DTYPES[value]
        if isinstance(value, torch.device):
            return value, str(value)
        if isinstance(value, torch.memory_format):
            return value, str(value).removeprefix("torch.")
        if isinstance(value, torch.layout):
            if value is not torch.strided:
                raise NotHere(str(value))
            return value, "strided"
        if isinstance(value, FLAT):
            return value, value
        raise NotHere(type(value).__name__)

    def _tensors(self, value: torch.Tensor) -> tuple[torch.Tensor, rv.Tensor]:
        if id(value) not in self.pairs:
            if value.dtype not in DTYPES:
                raise NotHere(str(value.dtype))
            if value.ndim > 64:
                raise NotHere(f"{value.ndim} dimensions")
            if value.layout is not torch.strided:
                raise NotHere(str(value.layout))
            theirs, ours = copied(value), as_ours(copied(value.resolve_conj().resolve_neg()))
            if value.requires_grad:
                theirs.requires_grad_()
                ours.requires_grad_()
            self.pairs[id(value)] = theirs, ours
        return self.pairs[id(value)]

    @property
    def leaves(self) -> list[tuple[torch.Tensor, rv.Tensor]]:
        return [pair for pair in self.pairs.values() if pair[0].requires_grad]


_WIDER = {torch.float32: torch.float64, torch.float16: torch.float32, torch.bfloat16: torch.float32}


def widened(value: Any) -> Any:
    """A sample in a wider dtype: halves in float32, float32 in float64."""
    if isinstance(value, torch.Tensor) and value.dtype in _WIDER:
        return value.detach().to(_WIDER[value.dtype]).requires_grad_(value.requires_grad)
    return _WIDER.get(value, value) if isinstance(value, torch.dtype) else value


def described(sample: Any) -> str:
    """A sample on one line: shapes and dtypes for tensors, other values as they are."""

    def text(value: Any) -> str:
        if isinstance(value, torch.Tensor):
            strided = "" if value.is_contiguous() else " strided"
            return f"{str(value.dtype).removeprefix('torch.')}{tuple(value.shape)}{strided}"
        if isinstance(value, (list, tuple)) and not isinstance(value, torch.Size):
            inside = ", ".join(map(text, value))
            return f"[{inside}]" if isinstance(value, list) else f"({inside},)"
        return repr(value)

    parts = [*map(text, (sample.input, *sample.args)), *(f"{k}={text(v)}" for k, v in sample.kwargs.items())]
    return ", ".join(parts)
