"""One call compared with its reference: forward, and the gradients of all inputs."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import ranvier as rv
from support.tolerance import tolerance

Array = np.ndarray[Any, Any]


def agree(
    op: Callable[..., Any],
    arrays: Sequence[Array],
    forward: Callable[..., Array],
    backward: Callable[..., Sequence[Array | None]],
    reduction: int = 1,
) -> None:
    """op(*tensors) is forward(*arrays), and its gradients are backward(dy, *arrays), both in float64."""
    leaves = [rv.autograd.wrap(x, requires_grad=x.dtype.kind == "f") for x in arrays]
    y = op(*leaves)
    exact = [x.astype(np.float64) if x.dtype.kind == "f" else x for x in arrays]
    want = np.asarray(forward(*exact))
    dy = np.random.default_rng(y._array.size).uniform(-1, 1, y.shape).astype(y.dtype)
    wanted = [None if g is None else np.asarray(g) for g in backward(dy.astype(np.float64), *exact)]
    terms = [*exact, want, dy, *(g for g in wanted if g is not None)]
    # a maximum over padding alone is -inf
    finite = [np.abs(t[np.isfinite(t)]).max(initial=1.0) for t in terms if t.dtype.kind == "f"]
    magnitude = float(max(finite))
    limit = tolerance(y.dtype, reduction, magnitude)
    assert y.shape == want.shape
    np.testing.assert_allclose(y._array, want, rtol=0, atol=limit)
    y.backward(dy)
    for leaf, gradient in zip(leaves, wanted, strict=True):
        if gradient is not None:
            found = np.zeros(leaf.shape) if leaf.grad is None else leaf.grad.numpy()
            assert found.shape == gradient.shape
            np.testing.assert_allclose(found, gradient, rtol=0, atol=limit)
