"""Recurrent layers: a state h that each step of a sequence changes, with the same weights at every step.

A step is a function of the input's part a = W_ih x + b_ih and the state's part s = W_hh h + b_hh. Training
is backpropagation through time: the loss reaches the state after step t directly, through y_t, and through
all later steps; so the loop runs from the last step to the first and passes the gradient of h on.

    RNN   h' = tanh(a + s)
    LSTM  a gated sum: c' = f c + i g, h' = o tanh(c')
    GRU   a gated mean: h' = (1 - z) n + z h

Why gates: through the plain RNN the gradient is multiplied by W_hh and the slope of tanh at each step, so it
vanishes or explodes. Along c it is multiplied by f alone, which the network can keep at 1.
"""

from collections.abc import Iterator
from typing import Any

import numpy as np

Array = np.ndarray[Any, Any]
Saved = tuple[Array, ...]


def sigmoid(x: Array) -> Array:
    return 1 / (1 + np.exp(-x))


# --- one step: a, s (N, gates H), h, c (N, H); the backward returns the gradients of a, s, h and c,
# of h without the part that passes through s.


def rnn_tanh(a: Array, s: Array, h: Array, c: Array) -> tuple[Array, Array, Saved]:
    new = np.tanh(a + s)
    return new, c, (new,)


def rnn_tanh_backward(dh: Array, dc: Array, saved: Saved) -> Saved:
    (new,) = saved
    da = dh * (1 - new**2)
    return da, da, np.zeros_like(dh), dc


def rnn_relu(a: Array, s: Array, h: Array, c: Array) -> tuple[Array, Array, Saved]:
    new = np.maximum(a + s, 0)
    return new, c, (new,)


def rnn_relu_backward(dh: Array, dc: Array, saved: Saved) -> Saved:
    (new,) = saved
    da = dh * (new > 0)
    return da, da, np.zeros_like(dh), dc


def lstm(a: Array, s: Array, h: Array, c: Array) -> tuple[Array, Array, Saved]:
    i, f, g, o = np.split(a + s, 4, axis=1)
    i, f, g, o = sigmoid(i), sigmoid(f), np.tanh(g), sigmoid(o)
    new_c = f * c + i * g
    return o * np.tanh(new_c), new_c, (i, f, g, o, c, np.tanh(new_c))


def lstm_backward(dh: Array, dc: Array, saved: Saved) -> Saved:
    i, f, g, o, c, seen = saved
    dc = dc + dh * o * (1 - seen**2)
    di, df, dg, do = dc * g, dc * c, dc * i, dh * seen
    da = np.hstack([di * i * (1 - i), df * f * (1 - f), dg * (1 - g**2), do * o * (1 - o)])
    return da, da, np.zeros_like(dh), dc * f


def gru(a: Array, s: Array, h: Array, c: Array) -> tuple[Array, Array, Saved]:
    (a_r, a_z, a_n), (s_r, s_z, s_n) = np.split(a, 3, axis=1), np.split(s, 3, axis=1)
    r, z = sigmoid(a_r + s_r), sigmoid(a_z + s_z)
    n = np.tanh(a_n + r * s_n)  # r chooses what the candidate sees of the old state
    return (1 - z) * n + z * h, c, (r, z, n, s_n, h)


def gru_backward(dh: Array, dc: Array, saved: Saved) -> Saved:
    r, z, n, s_n, h = saved
    da_n = dh * (1 - z) * (1 - n**2)
    da_z = dh * (h - n) * z * (1 - z)
    da_r = da_n * s_n * r * (1 - r)
    return np.hstack([da_r, da_z, da_n]), np.hstack([da_r, da_z, da_n * r]), dh * z, dc


STEPS = {
    "rnn_tanh": (rnn_tanh, rnn_tanh_backward),
    "rnn_relu": (rnn_relu, rnn_relu_backward),
    "lstm": (lstm, lstm_backward),
    "gru": (gru, gru_backward),
}


# --- a sequence: x (rows, inputs), the rows of step 0, then those of step 1 ...; sizes: rows of each step, of
# the longest sequences first. A step changes the states of its sequences, the others keep theirs.


def rows_of_steps(sizes: Array, from_end: bool) -> Iterator[tuple[int, slice, slice]]:
    """Step, its rows of x and its sequences, in the order of time or against it."""
    ends = np.cumsum(sizes)
    steps = range(len(sizes))
    for t in reversed(steps) if from_end else steps:
        yield t, slice(ends[t] - sizes[t], ends[t]), slice(0, sizes[t])


def recurrent(cell, x, h0, c0, w_ih, w_hh, b_ih, b_hh, sizes, reverse=False):
    """y (rows, H), the last states, and what each step has saved."""
    step, _ = STEPS[cell]
    h, c = h0.copy(), c0.copy()
    y = np.zeros((len(x), h.shape[1]), x.dtype)
    saved = {}
    for t, rows, some in rows_of_steps(sizes, from_end=reverse):
        a, s = x[rows] @ w_ih.T + b_ih, h[some] @ w_hh.T + b_hh
        before = h[some].copy()
        h[some], c[some], of_step = step(a, s, before, c[some].copy())
        y[rows] = h[some]
        saved[t] = before, of_step
    return y, h, c, saved


def recurrent_backward(cell, dy, dh_n, dc_n, x, w_ih, w_hh, saved, sizes, reverse=False):
    """The gradients to x, h0, c0, w_ih, w_hh, b_ih and b_hh."""
    _, step_backward = STEPS[cell]
    dh, dc, dx = dh_n.copy(), dc_n.copy(), np.zeros_like(x)
    dw_ih, dw_hh = np.zeros_like(w_ih), np.zeros_like(w_hh)
    db_ih, db_hh = np.zeros_like(w_ih[:, 0]), np.zeros_like(w_ih[:, 0])
    for t, rows, some in rows_of_steps(sizes, from_end=not reverse):
        before, of_step = saved[t]
        da, ds, direct, dc[some] = step_backward(dh[some] + dy[rows], dc[some], of_step)
        dh[some] = direct + ds @ w_hh  # to the state before: what the step before receives
        dx[rows] = da @ w_ih
        dw_ih += da.T @ x[rows]
        dw_hh += ds.T @ before
        db_ih += da.sum(0)
        db_hh += ds.sum(0)
    return dx, dh, dc, dw_ih, dw_hh, db_ih, db_hh
