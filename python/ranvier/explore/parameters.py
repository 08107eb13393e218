"""The loss of a model as a function of all its parameters in one vector."""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt

from ranvier.autograd import Function, Tensor, borrowed, bump, enable_grad, no_grad
from ranvier.autograd import grad as gradients
from ranvier.autograd.memory import Array

__all__ = ["ParameterLoss"]


class ParameterLoss:
    """L(w) = loss(model(x), y), where w (d,) are all trainable parameters of the model.

    A call writes w into the model and returns the loss, a Tensor with a gradient to w. So
    `explore.random_search` and `explore.gradient_descent` work for a network as for any other function. The
    model keeps the vector of the last call; `load(path.best)` sets another.

    Args:
        model: a Module with at least one trainable parameter, evaluated in its present mode.
        loss: called as `loss(output, y)`.
        x, y: the samples and targets, arrays or Tensors.

    Attributes:
        start: the parameters at the construction, (d,), float64.
        size: d.

    Raises ValueError: a model without trainable parameters, or a vector of another length.

    >>> import ranvier as rv
    >>> _ = rv.manual_seed(0)
    >>> x, y = rv.tensor([[0.0], [1.0], [2.0]]), rv.tensor([[1.0], [3.0], [5.0]])
    >>> line = rv.nn.Linear(1, 1)
    >>> loss = rv.explore.ParameterLoss(line, rv.nn.MSELoss(), x, y)
    >>> path = rv.explore.gradient_descent(loss, loss.start, lr=0.2, steps=300)
    >>> path.end.round(3).tolist()
    [2.0, 1.0]
    """

    def __init__(self, model: Any, loss: Any, x: Any, y: Any) -> None:
        self.model, self.loss = model, loss
        self.x, self.y = (v if isinstance(v, Tensor) else borrowed(np.asarray(v)) for v in (x, y))
        self.parameters = [p for p in model.parameters() if p.requires_grad]
        if not self.parameters:
            raise ValueError(
                "[ParameterLoss] got a model without trainable parameters; expected at least one"
            )
        self.start = np.concatenate([p._array.reshape(-1).astype(np.float64) for p in self.parameters])
        self.size = self.start.size

    def __call__(self, vector: Any) -> Tensor:
        return _Loss(self).apply(vector)

    def load(self, vector: npt.ArrayLike) -> None:
        """Writes a vector (d,) into the model's parameters."""
        vector = np.asarray(getattr(vector, "_array", vector))
        if vector.shape != (self.size,):
            raise ValueError(
                f"[ParameterLoss] got a vector of shape {vector.shape}; expected ({self.size},), the "
                "model's trainable parameters"
            )
        begin = 0
        for p in self.parameters:
            end = begin + p.numel()
            p._array[...] = vector[begin:end].reshape(p.shape)
            bump(p)
            begin = end

    def value(self) -> Tensor:
        """The loss for the present parameters."""
        x = self.x
        wanted = self.parameters[0].dtype
        if x.dtype.kind == "f" and x.dtype != wanted:
            x = x.to(wanted)
        return self.loss(self.model(x), self.y)


class _Loss(Function):
    """L(w), whose gradient is that of the model's parameters."""

    def __init__(self, of: ParameterLoss) -> None:
        self.of = of

    def forward(self, vector: Array) -> Array:
        self.of.load(vector)
        if not self.needs[0]:
            with no_grad():
                return self.of.value()._array.astype(vector.dtype)
        with enable_grad():
            value = self.of.value()
            slopes = gradients(value, self.of.parameters, allow_unused=True)
        flat = [
            np.zeros(p.numel()) if g is None else g.numpy().reshape(-1)
            for g, p in zip(slopes, self.of.parameters, strict=True)
        ]
        self.gradient = np.concatenate(flat).astype(vector.dtype)
        return value._array.astype(vector.dtype)

    def backward(self, dy: Array) -> Array:
        return dy * self.gradient
