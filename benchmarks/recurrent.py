"""A recurrent layer by the same code for ranvier and PyTorch."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

NAMES = ("weight_ih_l0", "weight_hh_l0", "bias_ih_l0", "bias_hh_l0")


def recurrent(
    library: Any, kind: str, gradient: bool, x: np.ndarray, dy: np.ndarray, **weights: np.ndarray
) -> Callable[[], Any]:
    """The states of all steps, or the gradients of the weights for dy: a training step without its loss."""
    hidden, inputs = weights[NAMES[1]].shape[1], weights[NAMES[0]].shape[1]
    layer = getattr(library.nn, kind)(inputs, hidden)
    layer.load_state_dict({name: library.tensor(w) for name, w in weights.items()})
    sequence, upstream = library.tensor(x), library.tensor(dy)

    def forward() -> Any:
        with library.no_grad():
            return layer(sequence)[0]

    def forward_and_backward() -> Any:
        layer.zero_grad()
        layer(sequence)[0].backward(upstream)
        return [getattr(layer, name).grad for name in NAMES]

    return forward_and_backward if gradient else forward
