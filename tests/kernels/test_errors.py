"""Errors of the core that no other test reaches: calls that the Python layer does not make."""

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
LOSS = (np.ones((), np.float32), X, INDEX, np.ones((), np.float32), X[:, :2].copy())
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
    "[sort] got an axis of length 4294967296": lambda: _core.sort(np.broadcast_to(X[0, 0], (2**32,)), 0),
    "[add] got a with 20 dimensions; expected at most 8": lambda: _core.add(X.reshape((1,) * 18 + (2, 3)), X),
    "[gather] got index with the value 9223372036854775808": lambda: _core.gather(
        X, np.full((2, 1), 2**63, np.uint64), 1
    ),
    "[clip_gradients] got gradients[0] that is byte-swapped": lambda: _core.clip_gradients(
        [SWAPPED], ONE, None
    ),
    "[clip_gradients] got gradients[0] that is read-only": lambda: _core.clip_gradients(
        [np.broadcast_to(X[0], (2, 3))], ONE, None
    ),
    "[sgd] got states[0][0] that is strided": lambda: _core.optimizer_step(
        "sgd", [X.T.copy()], [X.T], [ONE], None, [[X.T]], np.ones(6)
    ),
    "[fill] got another dtype": lambda: _core.fill(np.zeros(2, np.uint8), 1),
}


@pytest.mark.parametrize("text", CALLS)
def test_error(text):
    refused((TypeError, ValueError), text, CALLS[text])
