"""PyTorch's `utils`, as far as it exists here: `ranvier.utils.data`."""

from ranvier.utils import data

__all__ = ["data"]
