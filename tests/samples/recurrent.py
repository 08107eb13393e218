"""Samples of recurrent layers and their cells.

A function below `@op(...)` yields calls of the op of its name, `call(arguments)`, and refused ones; `x(3, 7)`
draws an array. With `names="a b"` several ops have these calls. `reference` computes the same in NumPy;
`lacks` and `apart` name the tests of tests/properties that do not hold for the op, in words of sample.py.
"""

import numpy as np
from ranvier import nn
from reference import recurrent

from samples.sample import call, many, op, parameters_of


def run(module, x, states=None):
    """All layers and directions of a recurrent layer, step by step, or one step of a cell."""
    p, kind, is_cell = parameters_of(module), type(module).__name__, not hasattr(module, "num_layers")
    cell = f"rnn_{module.nonlinearity}" if kind.startswith("RNN") else kind.removesuffix("Cell").lower()
    x = x[None] if is_cell else x.swapaxes(0, 1) if module.batch_first else x
    (steps, n), count = x.shape[:2], 1 if is_cell else module.num_layers
    ends = ("",) if is_cell or not module.bidirectional else ("", "_reverse")
    none = np.zeros((count * len(ends), n, module.hidden_size))
    h0, c0 = states if isinstance(states, tuple) else (none if states is None else states, none)
    last = []
    for layer in range(count):
        ways = []
        for end in ends:
            names = [f"{name}_{part}" for name in ("weight", "bias") for part in ("ih", "hh")]
            given = [p.get(name if is_cell else f"{name}_l{layer}{end}", np.zeros(1)) for name in names]
            first = [s.reshape(none.shape)[len(last)] for s in (h0, c0)]
            rows = x.reshape(steps * n, -1)
            y, h, c, _ = recurrent.recurrent(cell, rows, *first, *given, np.full(steps, n), bool(end))
            ways.append(y.reshape(steps, n, -1))
            last.append((h, c))
        x = np.concatenate(ways, -1)
    h, c = (np.stack(s) for s in zip(*last, strict=True))
    if is_cell:
        return [h[0], c[0]] if cell == "lstm" else h[0]
    return [x.swapaxes(0, 1) if module.batch_first else x, h, *([c] if cell == "lstm" else [])]


@op(reference=run, terms=many, lacks="jet rounding promotion C-infinity", autocast="lower")
def RNN(x):
    yield call(nn.RNN(4, 5, 2, "relu"), x(3, 2, 4), x(2, 2, 5))
    yield call(nn.RNN(4, 5, bidirectional=True), x(3, 2, 4), x(2, 2, 5))
    yield call(nn.RNN(4, 5, bidirectional=True, bias=False), x(3, 2, 4))


@op(reference=run, terms=many, lacks="jet rounding promotion written C-infinity", autocast="lower")
def LSTM(x):
    yield call(nn.LSTM(4, 5, batch_first=True), x(2, 3, 4))
    yield call(nn.LSTM(4, 5, 2, False, bidirectional=True), x(3, 2, 4), (x(4, 2, 5), x(4, 2, 5)))


@op(reference=run, terms=many, lacks="jet rounding C-infinity")
def GRU(x):
    yield call(nn.GRU(4, 5), x(3, 2, 4))
    yield call(nn.GRU(4, 5, 2, bidirectional=True, batch_first=True), x(2, 3, 4), x(4, 2, 5))


@op(reference=run, terms=many, lacks="jet promotion C-infinity", autocast="lower")
def RNNCell(x):
    yield call(nn.RNNCell(4, 5), x(2, 4))
    yield call(nn.RNNCell(4, 5, nonlinearity="relu"), x(2, 4), x(2, 5))


@op(reference=run, terms=many, lacks="jet C-infinity")
def LSTMCell(x):
    yield call(nn.LSTMCell(4, 5, False), x(2, 4))
    yield call(nn.LSTMCell(4, 5), x(2, 4), (x(2, 5), x(2, 5)))


@op(reference=run, terms=many, lacks="jet C-infinity")
def GRUCell(x):
    yield call(nn.GRUCell(4, 5), x(2, 4))
    yield call(nn.GRUCell(4, 5), x(2, 4), x(2, 5))
