"""Positional encodings: attention does not depend on the order of x, so a vector for each place is added."""

from __future__ import annotations

from typing import Any

import numpy as np

import ranvier.nn.init as init
import ranvier.ops as ops
from ranvier.autograd.creation import empty
from ranvier.autograd.tensor import Tensor, wrap
from ranvier.nn.dropout import Dropout
from ranvier.nn.module import Module, Parameter
from ranvier.nn.registry import whole
from ranvier.ops.elementwise.dtypes import as_tensor

__all__ = ["LearnedPositionalEncoding", "SinusoidalPositionalEncoding"]


class _PositionalEncoding(Module):
    """y = dropout(x + the first L rows of a table)."""

    _name: str

    def __init__(self, d_model: int, max_len: int, dropout: float, batch_first: bool) -> None:
        super().__init__()
        d_model, max_len = whole(self._name, "d_model", d_model), whole(self._name, "max_len", max_len)
        if d_model < 1 or max_len < 1:
            raise ValueError(
                f"[{self._name}] got {d_model} d_model and {max_len} max_len; expected numbers >= 1"
            )
        self.d_model = d_model
        self.max_len = max_len
        self.batch_first = batch_first
        self.dropout = Dropout(dropout)

    def _table(self) -> Tensor:
        """(max_len, d_model)"""
        raise NotImplementedError

    def forward(self, x: Any) -> Tensor:
        x = as_tensor(self._name, x)
        axis = 1 if x.ndim == 3 and self.batch_first else 0  # of the sequence
        if x.ndim not in (2, 3) or x.shape[-1] != self.d_model or x.shape[axis] > self.max_len:
            lead = "(N, L," if self.batch_first else "(L, N,"
            raise ValueError(
                f"[{self._name}] got x of shape {tuple(x.shape)}; expected {lead} {self.d_model}) or "
                f"(L, {self.d_model}), L at most {self.max_len}"
            )
        places = self._table()[: x.shape[axis]]
        if x.ndim == 3 and not self.batch_first:
            places = ops.unsqueeze(places, 1)
        return self.dropout(x + places)

    def extra_repr(self) -> str:
        return f"{self.d_model}, max_len={self.max_len}, batch_first={self.batch_first}"


class SinusoidalPositionalEncoding(_PositionalEncoding):
    """Adds sine and cosine waves of d_model / 2 lengths, from 2 pi to 10000 * 2 pi places, without
    parameters.

        y[t, 2 i] = x[t, 2 i] + sin(t / 10000^(2 i / d_model)),  y[t, 2 i + 1] = ... + cos(the same)

    The encoding at t + k is the one at t, rotated by angles that depend on k only. x and y (L, N,
    d_model), with batch_first=True (N, L, d_model), or (L, d_model); dropout acts on the sum. Raises
    ValueError for another width and for L > max_len.
    Source: Vaswani et al., "Attention Is All You Need" (2017), section 3.5.

    >>> import ranvier as rv
    >>> rv.nn.SinusoidalPositionalEncoding(4)(rv.zeros(2, 4))
    tensor([[0.0000, 1.0000, 0.0000, 1.0000],
            [0.8415, 0.5403, 0.0100, 0.9999]])
    """

    _name = "sinusoidal_positional_encoding"
    encoding: Tensor

    def __init__(
        self,
        d_model: int,
        max_len: int = 5000,
        dropout: float = 0.0,
        batch_first: bool = False,
        dtype: Any = None,
    ) -> None:
        super().__init__(d_model, max_len, dropout, batch_first)
        even = np.arange(d_model) // 2 * 2
        angles = np.arange(max_len)[:, None] / 10000.0 ** (even / d_model)  # (max_len, d_model)
        table = np.where(np.arange(d_model) % 2 == 0, np.sin(angles), np.cos(angles))
        self.register_buffer("encoding", wrap(table.astype(dtype or np.float32)), persistent=False)

    def _table(self) -> Tensor:
        return self.encoding


class LearnedPositionalEncoding(_PositionalEncoding):
    """Adds a trained vector to each place of x: y[t] = x[t] + weight[t].

    weight (max_len, d_model) starts normal with a standard deviation of 0.02. Shapes, dropout
    and errors as in :class:`SinusoidalPositionalEncoding`.
    Source: Gehring et al., "Convolutional Sequence to Sequence Learning" (2017), section 3.1.

    >>> import ranvier as rv
    >>> layer = rv.nn.LearnedPositionalEncoding(16, max_len=64, batch_first=True)
    >>> layer(rv.zeros(8, 64, 16)).shape, layer.weight.shape
    ((8, 64, 16), (64, 16))
    """

    _name = "learned_positional_encoding"

    def __init__(
        self, d_model: int, max_len: int, dropout: float = 0.0, batch_first: bool = False, dtype: Any = None
    ) -> None:
        super().__init__(d_model, max_len, dropout, batch_first)
        self.weight = Parameter(empty(max_len, d_model, dtype=dtype))
        self.reset_parameters()

    def reset_parameters(self) -> None:
        """Draws new starting values."""
        init.normal_(self.weight, 0.0, 0.02)

    def _table(self) -> Tensor:
        return self.weight
