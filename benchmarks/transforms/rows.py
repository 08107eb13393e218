"""A row of the benchmark: its inputs, and its function in the words of PyTorch and of JAX."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, TypeAlias

import numpy as np

Array: TypeAlias = np.ndarray[Any, Any]
Parameters: TypeAlias = dict[str, Array]
Inputs: TypeAlias = tuple[Array | Parameters, ...]
Function: TypeAlias = Callable[..., Any]
"""A function of a library's own tensors, one for each of the inputs."""
Moment: TypeAlias = tuple[float, float]
"""The expected value of a random answer's moment, and the largest error that is allowed."""

# Each way to call a library, and the process that does it.
LIBRARIES = {
    "ranvier": "ranvier",
    "rv.compile": "ranvier",
    "torch.func": "torch",
    "opacus": "torch",
    "jax": "jax",
    "jax.jit": "jax",
}
EAGER = ("ranvier", "torch.func", "jax")
COMPILED = ("rv.compile", "jax.jit")
EVERY_WAY = (*EAGER, *COMPILED)


@dataclass(frozen=True)
class Row:
    """One function, which all libraries compute for the same inputs."""

    table: str
    name: str
    inputs: Callable[[], Inputs]
    torch: Callable[[Any], Function]  # of the library, ranvier or torch
    jax: Callable[[Any], Function]  # of the module jax
    terms: int  # of the longest chain of sums: the error that is allowed grows with it
    ways: Sequence[str] = EVERY_WAY
    opacus: Callable[..., Callable[[], Any]] | None = None  # of the inputs: the whole call
    exact: Row | None = None  # a random row without its random numbers: its answer is compared
    moments: Sequence[Moment] | None = None  # of an answer that is random in each library
    quick: bool = True  # also in the quick mode


def float32(values: Array) -> Array:
    """Random numbers as all libraries get them."""
    return values.astype(np.float32)
