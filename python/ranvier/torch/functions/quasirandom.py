"""`torch.quasirandom`: Sobol's sequences, which SciPy computes."""

from __future__ import annotations

import warnings

import numpy as np

import ranvier as rv
from ranvier.tensors.types import DtypeLike

__all__ = ["SobolEngine"]


class SobolEngine:
    """Points of Sobol's sequence in [0, 1), as torch.quasirandom.SobolEngine; needs SciPy.

    >>> SobolEngine(2).draw(3)
    tensor([[0.0000, 0.0000],
            [0.5000, 0.5000],
            [0.7500, 0.2500]])
    """

    MAXDIM = 21201

    def __init__(self, dimension: int, scramble: bool = False, seed: int | None = None) -> None:
        self.dimension = dimension
        self.scramble = scramble
        self.seed = seed
        self.reset()

    def reset(self) -> SobolEngine:
        """Start again at the first point."""
        from scipy.stats import qmc

        seed = self.seed
        if self.scramble and seed is None:
            seed = int(rv.randint(2**31, (1,)))
        self._points = qmc.Sobol(self.dimension, scramble=self.scramble, seed=seed)
        self.num_generated = 0
        return self

    def draw(self, n: int = 1, out: rv.Tensor | None = None, dtype: DtypeLike | None = None) -> rv.Tensor:
        """The next n points, as a tensor of shape (n, dimension)."""
        self.num_generated += n
        with warnings.catch_warnings():  # SciPy warns unless n is a power of two; PyTorch does not
            warnings.simplefilter("ignore", UserWarning)
            values = np.asarray(self._points.random(n))
        points = rv.tensor(values, dtype=dtype or rv.get_default_dtype())
        if out is None:
            return points
        return out.resize_(points.shape).copy_(points)

    def draw_base2(self, m: int, out: rv.Tensor | None = None, dtype: DtypeLike | None = None) -> rv.Tensor:
        """The next 2**m points."""
        return self.draw(2**m, out, dtype)

    def fast_forward(self, n: int) -> SobolEngine:
        """Leave out the next n points."""
        self._points.fast_forward(n)
        self.num_generated += n
        return self
