"""torch.get_rng_state and torch.set_rng_state: the state of the random numbers as a Tensor of bytes."""

from __future__ import annotations

import json
from typing import Any

import numpy as np

import ranvier as rv


def get_rng_state() -> rv.Tensor:
    """The state, which a file of PyTorch can hold.

    >>> import ranvier as rv
    >>> state = get_rng_state(); a = rv.rand(2); set_rng_state(state)
    >>> bool((rv.rand(2) == a).all()), str(state.dtype).endswith("uint8")
    (True, True)
    """
    return rv.tensor(np.frombuffer(json.dumps(rv.get_rng_state()).encode(), np.uint8).copy())


def set_rng_state(new_state: Any) -> None:
    """Goes back to a state from get_rng_state. Raises RuntimeError for another Tensor, as PyTorch's."""
    if isinstance(new_state, rv.Tensor):
        try:
            new_state = json.loads(new_state.numpy().tobytes())
        except ValueError:
            raise RuntimeError(
                f"[set_rng_state] got a state of {len(new_state)} bytes, which is not of get_rng_state here"
            ) from None
    rv.set_rng_state(new_state)
