"""Trees of Tensors, of this library and of PyTorch, as trees of numbers."""

from typing import Any

import numpy as np


def text(tree: Any) -> Any:
    """A tree with lists for tensors, and their dtypes where these are not float32."""
    if isinstance(tree, dict):
        return {key: text(value) for key, value in tree.items()}
    if isinstance(tree, (list, tuple)):
        return type(tree)(text(value) for value in tree)
    if hasattr(tree, "tolist"):
        values = np.round(tree.detach().numpy().astype(np.float64), 5) + 0.0
        kind = str(tree.dtype).rpartition(".")[-1]
        shape = tuple(tree.shape) if not values.size else ()
        return (
            (values.tolist(), *shape)
            if shape
            else values.tolist()
            if kind == "float32"
            else (values.tolist(), kind)
        )
    return tree
