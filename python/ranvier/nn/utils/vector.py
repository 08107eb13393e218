"""Parameters as one vector, and back."""

from __future__ import annotations

from collections.abc import Iterable

from ranvier.autograd.mode import no_grad
from ranvier.autograd.tensor import Tensor
from ranvier.ops import cat


def parameters_to_vector(parameters: Iterable[Tensor]) -> Tensor:
    """The elements of all parameters, one after another, in one dimension; on the tape.

    Raises ValueError if there is none.

    >>> import ranvier as rv
    >>> rv.nn.utils.parameters_to_vector([rv.ones(2, 2), rv.zeros(1)])
    tensor([1., 1., 1., 1., 0.])
    """
    flat = [parameter.reshape(-1) for parameter in parameters]
    if not flat:
        raise ValueError("[parameters_to_vector] got no parameters; expected at least one")
    return cat(flat)


def vector_to_parameters(vec: Tensor, parameters: Iterable[Tensor]) -> None:
    """Copies a vector into the memory of the parameters, in their order.

    Raises ValueError unless it has as many elements as all of them together.

    >>> import ranvier as rv
    >>> layer = rv.nn.Linear(2, 1)
    >>> rv.nn.utils.vector_to_parameters(rv.tensor([1.0, 2.0, 3.0]), layer.parameters())
    >>> layer.bias.item()
    3.0
    """
    targets = list(parameters)
    wanted = sum(target.numel() for target in targets)
    if vec.ndim != 1 or vec.numel() != wanted:
        raise ValueError(
            f"[vector_to_parameters] got a vector of shape {vec.shape}; expected ({wanted},), one number for "
            "each element of the parameters"
        )
    start = 0
    with no_grad():
        for target in targets:
            target.copy_(vec[start : start + target.numel()].reshape(target.shape))
            start += target.numel()
