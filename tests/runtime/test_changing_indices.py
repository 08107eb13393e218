"""Another thread changes indices between their check and their use: nothing outside the arrays is touched."""

import contextlib
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
from ranvier import _core, kernels
from support.isolated import run_isolated
from support.threads import beside

N = 60_000
FAR = 1 << 40
ONE = np.ones((), np.float32)


def _floats(*shape: int) -> Any:
    return np.ones(shape, np.float32)


CALLS: dict[str, tuple[int, Callable[[Any], Any]]] = {  # classes, and a call on N indices
    "embedding": (50, lambda k: kernels.embedding(k, _floats(50, 16))),
    "embedding, strided": (50, lambda k: kernels.embedding(k[::2], _floats(16, 50).T)),
    "embedding_backward": (50, lambda k: kernels.embedding_backward(_floats(N, 4), k, 50, None, True)),
    "gather": (50, lambda k: kernels.gather(_floats(50, 8), np.broadcast_to(k[:, None], (N, 8)), 0)),
    "gather by rows": (50, lambda k: kernels.gather(_floats(50), k, 0)),
    "scatter_add": (50, lambda k: kernels.scatter_add(_floats(N), k, 0, 50)),
    "scatter": (50, lambda k: kernels.scatter(_floats(50), k, _floats(N), 0)),
    "scatter_backward": (50, lambda k: kernels.scatter_backward(_floats(50), k, 0)),
    "cross_entropy": (5, lambda k: kernels.cross_entropy(_floats(N, 5), k, weight=_floats(5))),
    "nll": (5, lambda k: kernels.nll(_floats(N, 5), k, weight=_floats(5))),
    "nll_backward": (5, lambda k: kernels.nll_backward(ONE, _floats(N, 5), k, ONE, weight=_floats(5))),
    "mix_images": (N, lambda k: kernels.mix_images(_floats(N, 1, 2, 2), k, np.full(N, 0.5))),
    "erase_images": (
        N,
        lambda k: kernels.erase_images(_floats(N, 1, 2, 2), np.tile([0, 0, 2, 2], (N, 1)), k),
    ),
}


def _changed_beside(name: str) -> None:
    count, call = CALLS[name]
    index = np.arange(N) % count
    middle = index[N // 2 :: 7]
    right = middle.copy()

    def change() -> None:
        middle[:] = FAR
        middle[:] = right

    with beside(change):
        for _ in range(150):
            with contextlib.suppress(IndexError, ValueError):
                call(index)


@pytest.mark.parametrize("name", CALLS)
def test_indices_that_change_during_the_call(name: str) -> None:
    assert run_isolated([(name, lambda: _changed_beside(name))]) == []


@pytest.mark.parametrize("verify", [False, True])
def test_indices_that_change_during_a_replay(verify: bool) -> None:
    """The same in a compiled step, whose argument is read where the caller has it.

    A check reads the indices twice, in the eager step and in the program. Where they differ, the program is
    dropped with a warning, and no call is a replay: so without checks the calls must all be replays.
    """
    import ranvier as rv

    table = rv.ones(50, 16)

    def function(index: Any) -> Any:
        return rv.embedding(index, table).sum()

    step = rv.compile(function, verify=verify)

    def run() -> None:
        index = np.arange(N) % 50
        tensor = rv.from_numpy(index)
        step(tensor)
        if verify:
            warnings.filterwarnings("ignore", r"\[compile\] .* runs eagerly: instruction \d", UserWarning)
        else:
            step(tensor)  # the last eager call

        def change() -> None:
            index[N // 2 :: 7] = FAR
            index[N // 2 :: 7] = 0

        with beside(change):
            for _ in range(150):
                with contextlib.suppress(IndexError, ValueError):
                    step(tensor)
        assert verify or len(step.programs) == 1

    assert run_isolated([("replay", run)]) == []


def test_unchanged_indices_are_right() -> None:
    index = np.array([[3, 1], [0, 2]])
    weight = np.arange(8, dtype=np.float32).reshape(4, 2)
    np.testing.assert_array_equal(_core.embedding(index, weight), weight[index])
