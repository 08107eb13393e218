"""How far rounding can carry the path of an optimizer from the exact one: a bound, step by step.

Within a step: running error analysis (Higham, "Accuracy and Stability of Numerical Algorithms", section 3.3).
The reference's own code runs on `Rounded` numbers, each of which carries a bound of its error; every
operation adds the bounds of its operands and half an ulp of its result. From step to step: an error made in
one step is carried on by the derivative of all later steps, taken from the reference by central differences.
The rules work on each element apart, so that the derivative is one small matrix for each element.

To first order in the rounding unit u; that is all there is to 2^-24.
"""

from typing import Any

import numpy as np
from optim.problem import STEPS, gradient, start
from reference import optimizer as reference

# Two paths are compared, each as far from the exact one as this; and a library may compute in an order of
# its own, as m + (1 - beta) (g - m) for beta m + (1 - beta) g, which rounds other terms of the same size.
PATHS, ORDERS = 2, 2


class Rounded(np.lib.mixins.NDArrayOperatorsMixin):
    """Values, and a bound of the error of each, in units of the rounding unit u."""

    def __init__(self, value: Any, error: Any) -> None:
        self.value, self.error = np.asarray(value, np.float64), np.asarray(error, np.float64)

    def __array_ufunc__(self, ufunc: Any, method: str, *inputs: Any) -> "Rounded":
        # A number of the rule's settings has been rounded once.
        parts = [x if isinstance(x, Rounded) else Rounded(x, np.abs(x)) for x in inputs]
        values, errors = [x.value for x in parts], [x.error for x in parts]
        value = ufunc(*values)
        return Rounded(value, _CARRIED[ufunc](*values, *errors) + np.abs(value) * (ufunc not in _EXACT))


_SINE_ULPS = 2  # of NumPy's sine, beside the half that every result has
_EXACT = (np.negative, np.absolute, np.maximum, np.minimum, np.sign)
_CARRIED = {
    np.negative: lambda a, ea: ea,
    np.absolute: lambda a, ea: ea,
    np.sign: lambda a, ea: 0 * ea,
    np.maximum: lambda a, b, ea, eb: np.maximum(ea, eb),
    np.minimum: lambda a, b, ea, eb: np.maximum(ea, eb),
    np.add: lambda a, b, ea, eb: ea + eb,
    np.subtract: lambda a, b, ea, eb: ea + eb,
    np.multiply: lambda a, b, ea, eb: np.abs(a) * eb + np.abs(b) * ea,
    np.divide: lambda a, b, ea, eb: ea / np.abs(b) + np.abs(a) * eb / b**2,
    np.power: lambda a, b, ea, eb: 2 * np.abs(a) * ea,  # squares only
    np.sqrt: lambda a, ea: ea / (2 * np.sqrt(a)),
    np.sin: lambda a, ea: np.abs(np.cos(a)) * ea + 2 * _SINE_ULPS * np.abs(np.sin(a)),
}


def path_and_bound(name: str, settings: dict[str, Any], dtype: str) -> tuple[np.ndarray, np.ndarray]:
    """The reference's path in float64, and how far two computed ones in dtype may differ, step by step."""
    rule, unit = getattr(reference, name.lower()), np.finfo(dtype).eps / 2
    p, state = start().astype(dtype).astype(np.float64), {}
    carried = np.zeros((p.size, 1, 0))  # (element, component of the state, error made somewhere before)
    path, bounds = [], []
    for step in range(STEPS):
        before = {"p": p, **state}
        state = dict(before)
        p = rule(state.pop("p"), gradient(p, step), state, **settings)
        names = ["p", *(key for key in state if np.ndim(state[key]))]
        if carried.size:
            carried = _derivative(rule, before, names, step, settings) @ carried
        made = _made(rule, before, names, step, settings, dtype)
        carried = np.concatenate([carried, made], -1) if carried.size else made
        path.append(p)
        bounds.append(np.abs(carried[:, 0]).sum(-1).reshape(p.shape))
    return np.array(path), PATHS * ORDERS * unit * np.array(bounds)


def _step(rule: Any, before: dict[str, Any], g: Any, names: list[str], settings: dict[str, Any]) -> list[Any]:
    state = dict(before)
    p = rule(state.pop("p"), g, state, **settings)
    return [p, *(state[key] for key in names[1:])]


def _made(
    rule: Any, before: dict[str, Any], names: list[str], step: int, settings: dict[str, Any], dtype: str
) -> np.ndarray:
    """The errors that one step makes from exact values: one column for each component."""
    exact = {k: Rounded(v, np.zeros(v.shape)) if np.ndim(v) else v for k, v in before.items()}
    g = gradient(exact["p"], step)  # computed in float64, then rounded to the path's dtype
    g = Rounded(g.value, g.error * (np.finfo(np.float64).eps / np.finfo(dtype).eps) + np.abs(g.value))
    after = _step(rule, exact, g, names, settings)
    errors = np.stack([x.error.reshape(-1) for x in after], -1)
    return errors[:, :, None] * np.eye(len(names))


def _derivative(
    rule: Any, before: dict[str, Any], names: list[str], step: int, settings: dict[str, Any]
) -> np.ndarray:
    """(element, component after, component before)"""
    columns = []
    for name in names:
        h = 1e-5 * np.maximum(np.abs(before[name]), 1e-12)
        sides = []
        for side in (h, -h):
            moved = {**before, name: before[name] + side}
            sides.append(_step(rule, moved, gradient(moved["p"], step), names, settings))
        columns.append([((a - b) / (2 * h)).reshape(-1) for a, b in zip(*sides, strict=True)])
    return np.array(columns).transpose(2, 1, 0)
