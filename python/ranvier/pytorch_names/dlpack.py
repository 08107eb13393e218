"""`from_dlpack` and `to_dlpack`: tensors shared with other libraries, as `torch.utils.dlpack`."""

from typing import Any

from ranvier import Tensor
from ranvier import from_dlpack as from_dlpack

__all__ = ["from_dlpack", "to_dlpack"]


def to_dlpack(tensor: Tensor) -> Any:
    """The DLPack capsule of a Tensor, which another library's `from_dlpack` takes, once.

    Raises RuntimeError: the Tensor requires grad.
    """
    return tensor.__dlpack__()
