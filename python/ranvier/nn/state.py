"""Loading a state dict: all values are checked before the first is copied."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np

from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor, wrap


class LoadResult(NamedTuple):
    """The names that differed between a state dict and the module."""

    missing_keys: list[str]
    unexpected_keys: list[str]

    def __repr__(self) -> str:
        return "<All keys matched successfully>" if not any(self) else tuple.__repr__(self)


def as_array(value: Any) -> np.ndarray[Any, Any]:
    """The array of a Tensor, a torch tensor, or anything that NumPy takes."""
    if isinstance(value, Tensor):
        return value._array
    if hasattr(value, "detach"):
        value = value.detach().cpu()
    return np.asarray(value)


def load_into(owner: str, target: dict[str, Tensor], state: Any, strict: bool) -> LoadResult:
    """See :meth:`Module.load_state_dict`; ``target`` shares the memory of the module."""
    if not hasattr(state, "keys"):
        raise TypeError(
            f"[load_state_dict] got {type(state).__name__}; expected a mapping of names to arrays"
        )
    arrays = {name: as_array(state[name]) for name in state.keys()}  # noqa: SIM118
    # PyTorch's old files and most converters have no counts of batches
    needed = [name for name in target if not name.endswith("num_batches_tracked")]
    missing = [name for name in needed if name not in arrays]
    unexpected = [name for name in arrays if name not in target]
    problems = []
    if strict and missing:
        problems.append("Missing key(s) in state_dict: " + ", ".join(f'"{name}"' for name in missing) + ".")
    if strict and unexpected:
        problems.append(
            "Unexpected key(s) in state_dict: " + ", ".join(f'"{name}"' for name in unexpected) + "."
        )
    for name, tensor in target.items():
        if name in arrays and arrays[name].shape != tensor.shape:
            problems.append(
                f"size mismatch for {name}: got shape {arrays[name].shape}; expected {tensor.shape}"
            )
    if problems:
        raise RuntimeError(
            f"[load_state_dict] error(s) in loading state_dict for {owner}:\n\t" + "\n\t".join(problems)
        )
    with no_grad():
        for name, tensor in target.items():
            if name in arrays:
                tensor.copy_(wrap(arrays[name]))
    return LoadResult(missing, unexpected)
