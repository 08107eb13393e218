"""The rows of tanh, from y = tanh(x) and those of x: at most three Taylor coefficients, or with weights first
derivatives and a Laplacian. Backward by complex steps, which are exact."""

import numpy as np

STEP = 1e-30


def jet(saved, t, function, weights=None):
    assert function == "tanh"
    y = saved
    s = [1 - y * y, -2 * y * (1 - y * y), (1 - y * y) * (6 * y * y - 2)]
    if weights is not None:
        squares = np.tensordot(weights, t[:-1] ** 2, 1)
        return np.concatenate([s[0] * t[:-1], (s[0] * t[-1] + s[1] * squares)[None]])
    a, b, c = [*t, *[0 * y] * 3][:3]
    rows = [s[0] * a, s[0] * b + s[1] * a**2 / 2, s[0] * c + s[1] * a * b + s[2] * a**3 / 6]
    return np.stack(rows[: len(t)])


def jet_backward(dy, saved, t, function, weights=None):
    def slope(y, t):
        return (dy * jet(y, t, function, weights).imag / STEP).sum(0)

    dx = slope(saved + 1j * STEP * (1 - saved**2), t)
    places = np.eye(len(t)).reshape(len(t), len(t), *(1,) * saved.ndim)
    return dx, np.stack([slope(saved, t + 1j * STEP * place) for place in places])
