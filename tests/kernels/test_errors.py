"""Errors of the core that no other test reaches: calls that the Python layer does not make."""

from __future__ import annotations

import numpy as np
import pytest
from ranvier import _core
from support.refused import refused

X = np.ones((2, 3), np.float32)
STRIDED = np.zeros(4, np.int64)[::2]
SHARED = np.lib.stride_tricks.as_strided(np.ones(1, np.float32), (2, 3), (0, 0))
SWAPPED = X.astype(">f4")
INDEX = np.zeros(2, np.int64)
ONE = np.ones(1)
LOSS = (np.ones((), np.float32), X, INDEX, np.ones((), np.float32), X[:, 0].copy())
RUNNING = (np.zeros(3, np.float32), np.ones(3, np.float32))
CALLS = {
    "[next_key] got a strided state": lambda: _core.next_key(STRIDED),
    "[permute] got a strided or too long array": lambda: _core.permute(STRIDED, 0),
    "[add] got numbers only; expected at least one array": lambda: _core.add(1, 2),
    "[add] got a beyond the largest float64; expected a number": lambda: _core.add(10**400, X),
    "[add] got out that overlaps an input": lambda: _core.add(X[:, :2], X[:, 1:], out=X[:, :2]),
    "[add] got out that is byte-swapped or unaligned": lambda: _core.add(X, X, out=SWAPPED),
    "[add] got out whose elements share memory": lambda: _core.add(X, X, out=SHARED),
    "[embedding] got index with ": lambda: _core.embedding(INDEX[0].reshape((1,) * 8), X),
    "[interpolate] got align_corners for a nearest mode": lambda: _core.interpolate(
        X.reshape(1, 2, 3), size=4, align_corners=True
    ),
    "[lbfgs_loop] got scale of several numbers": lambda: _core.lbfgs_loop(
        X[0].copy(), [X[0]], [X[0]], ONE, ONE.copy(), np.ones(2), False
    ),
    "[lbfgs_loop] got alphas of shape ": lambda: _core.lbfgs_loop(
        X[0].copy(), [X[0]], [X[0]], ONE, np.ones(2), None, False
    ),
    "[matmul] got saved and no activation": lambda: _core.matmul(X, X.T, saved=np.ones((2, 2), np.float32)),
    "[batch_norm] got momentum None without batches": lambda: _core.batch_norm(
        X, None, None, *RUNNING, momentum=None
    ),
    "[batch_norm] got no running statistics": lambda: _core.batch_norm(X, training=False),
    "[argmax] got x without dimensions": lambda: _core.argmax(np.ones((), np.float32), ()),
    "[cross_entropy] got class indices, which have no gradient": lambda: _core.cross_entropy_backward(
        *LOSS, of_target=True
    ),
    "[cat] got no tensors; expected at least one": lambda: _core.concatenate([]),
    "[cat] got numpy.ndarray; expected a list or tuple of arrays": lambda: _core.concatenate(X),
    "[fill] got another dtype": lambda: _core.fill(np.zeros(2, np.uint8), 1),
}


@pytest.mark.parametrize("text", CALLS)
def test_error(text):
    refused((TypeError, ValueError), text, CALLS[text])
