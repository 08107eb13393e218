"""`torch._utils` and `torch.storage`: what pickles of PyTorch's tensors name that no torch.save wrote."""

from __future__ import annotations

import io
from typing import Any

import ranvier as rv
from ranvier.torch.files import load
from ranvier.torch.files.values import KNOWN

_FUNCTIONS = {
    path.rpartition(".")[2]: known.call for path, known in KNOWN.items() if path.startswith("torch._utils.")
}


def _load_from_bytes(content: bytes) -> Any:
    """The storage in a file that is part of a pickle."""
    return load(io.BytesIO(content), weights_only=False)


def __getattr__(name: str) -> Any:
    if name not in _FUNCTIONS:
        raise AttributeError(f"module 'torch._utils' has no attribute {name!r}")
    return _FUNCTIONS[name]


def _flatten_dense_tensors(tensors: Any) -> Any:
    """The elements of tensors, one after the other."""
    return rv.cat([x.reshape(-1) for x in tensors])


def _unflatten_dense_tensors(flat: Any, tensors: Any) -> tuple[Any, ...]:
    """Parts of a tensor in the shapes of others."""
    parts = flat.split([x.numel() for x in tensors])
    return tuple(part.view_as(x) for part, x in zip(parts, tensors, strict=True))
