"""Functions of torch.special that the library has no op for."""

from __future__ import annotations

import math
from typing import Any

import ranvier as rv


def erfcx(input: Any) -> rv.Tensor:
    """exp(x^2) erfc(x), the scaled complement of the error function, computed in float64.

    From 20 on by its series 1 / (x sqrt(pi)) (1 - 1 / (2 x^2) + 3 / (2 x^2)^2 - 15 / (2 x^2)^3 ...), whose
    seventh term is below 2e-16 there. Source: Abramowitz and Stegun, 7.1.23.

    >>> import ranvier as rv
    >>> erfcx(rv.tensor([0.0, 1.0, 1e6])).tolist()[0]
    1.0
    """
    x = rv.as_tensor(input)
    dtype = x.dtype if x.is_floating_point() else rv.get_default_dtype()
    x = x.to(rv.float64)
    near, far = x.clamp(max=20.0), x.clamp(min=20.0)
    step, series = 0.5 / (far * far), rv.ones_like(far)
    for k in (11, 9, 7, 5, 3, 1):
        series = 1.0 - k * step * series
    value = rv.where(x < 20.0, rv.exp(near * near) * rv.erfc(near), series / (far * math.sqrt(math.pi)))
    return value.to(dtype)
