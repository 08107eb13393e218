"""Long calls: Ctrl-C ends them, and indices that another thread changes meanwhile."""

import contextlib
import gc
import os
import signal
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from typing import Any

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, kernels
from support.isolated import run_isolated
from support.threads import beside


class Stop(Exception):
    pass


@contextmanager
def alarm(seconds: float) -> Iterator[None]:
    """Raises Stop in this thread, so many seconds from now."""

    def stop(number: int, frame: Any) -> None:
        raise Stop

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


@pytest.fixture(autouse=True)
def no_foreign_callbacks() -> Iterator[None]:
    """Removes hypothesis's callback of the garbage collector, where an exception of a handler is lost."""
    before = gc.callbacks[:]
    gc.callbacks[:] = (callback for callback in before if callback.__module__.startswith("ranvier"))
    yield
    gc.callbacks[:] = before


def ones(*shape: int) -> Any:
    return np.ones(shape, np.float32)


def repeated(*shape: int) -> Any:
    """Ones that take no memory."""
    return np.broadcast_to(np.float32(1), shape)


# Seconds of work, and the shape of its result.
LONG: dict[str, tuple[Callable[..., Any], Callable[[], tuple[Any, ...]], tuple[int, ...]]] = {
    "matmul": (
        lambda a, out: _core.matmul(a, a, None, "none", out),
        lambda: (ones(4000, 4000),),
        (4000, 4000),
    ),
    "matmul of one row": (
        lambda a, b, out: _core.matmul(a, b, None, "none", out),
        lambda: (ones(1, 512), repeated(512, 1 << 24)),
        (1, 1 << 24),
    ),
    "matmul, a stack": (
        lambda a, out: _core.matmul(a, a, None, "none", out),
        lambda: (repeated(1 << 18, 24, 24),),
        (1 << 18, 24, 24),
    ),
    "conv2d": (
        lambda x, w, out: _core.conv2d(x, w, None, 1, 2, out=out),
        lambda: (ones(64, 64, 96, 96), ones(64, 64, 5, 5)),
        (64, 64, 96, 96),
    ),
    "conv2d by Winograd": (
        lambda x, w, out: _core.conv2d(x, w, None, 1, 1, out=out),
        lambda: (ones(64, 128, 96, 96), ones(128, 128, 3, 3)),
        (64, 128, 96, 96),
    ),
    "conv2d, depthwise": (
        lambda x, w, out: _core.conv2d(x, w, None, 1, 10, 1, 64, out=out),
        lambda: (ones(64, 64, 96, 96), ones(64, 1, 21, 21)),
        (64, 64, 96, 96),
    ),
    "tanh": (_core.tanh, lambda: (repeated(16, 1 << 24),), (16, 1 << 24)),
    "sum": (lambda x, out: _core.sum(x, 1, False, out), lambda: (repeated(1 << 18, 1 << 16),), (1 << 18,)),
    "softmax": (lambda x, out: _core.softmax(x, 1, out), lambda: (repeated(1 << 17, 2048),), (1 << 17, 2048)),
    "cumprod": (
        lambda x, out: _core.cumprod(x, 1, False, out),
        lambda: (repeated(1 << 16, 4096),),
        (1 << 16, 4096),
    ),
    "embedding": (
        lambda index, weight, out: _core.embedding(index, weight, out),
        lambda: (np.arange(1 << 22) % 1000, ones(1000, 96)),
        (1 << 22, 96),
    ),
}


def again(function, *arguments, out) -> None:
    """On a fast machine one call is over before the signal."""
    for _ in range(1000):
        function(*arguments, out=out)


TEAMS = ("matmul", "conv2d", "sum")  # with two threads, too


@pytest.mark.parametrize(("name", "threads"), [*((name, 1) for name in LONG), *((name, 2) for name in TEAMS)])
def test_a_long_call_ends_with_a_signal(name: str, threads: int) -> None:
    """The call does not wait for its end: it leaves some of the result out, or was over soon anyway."""
    function, arguments, shape = LONG[name]
    given = arguments()
    out = np.full(shape, -7.0, np.float32)
    rv.set_num_threads(threads)
    try:
        begun = time.monotonic()
        with alarm(0.1), pytest.raises(Stop):
            again(function, *given, out=out)
        assert time.monotonic() - begun < 1.0 or (out == -7).any()
    finally:
        rv.set_num_threads(2)
    a = np.arange(12.0).reshape(3, 4)  # what follows is right
    np.testing.assert_array_equal(_core.matmul(a, a.T, None, "none", None), a @ a.T)


# One line or row of n elements: what a loop over lines would do in one piece.
ONE_LINE: dict[str, tuple[int, Callable[[int], Callable[[], Any]]]] = {
    "sort": (1 << 19, lambda n: partial(_core.sort, np.random.default_rng(0).random(n, np.float32), 0)),
    "the first of a rising line": (
        1 << 19,
        lambda n: partial(_core.sort, np.arange(n, dtype=np.float32), 0, True, 200),
    ),
    "cumsum": (1 << 24, lambda n: partial(_core.cumsum, repeated(n), 0)),
    "reverse cumsum": (1 << 24, lambda n: partial(_core.cumsum, repeated(n), 0, True)),
    "max_pool1d": (1 << 15, lambda n: partial(_core.max_pool1d, ones(1, 1, n), 4096, 1)),
    "avg_pool1d": (1 << 16, lambda n: partial(_core.avg_pool1d, ones(1, 1, n), 4096, 1)),
    "avg_pool1d backward": (
        1 << 15,
        lambda n: partial(_core.avg_pool1d_backward, ones(1, 1, n), (1, 1, n + 4095), 4096, 1),
    ),
}


@pytest.mark.parametrize("name", ONE_LINE)
def test_one_long_line_looks_for_signals(name: str) -> None:
    """Handlers run while the call does; in a call that never looks they would run once, at its end."""
    n, prepare = ONE_LINE[name]
    runs, seconds = 0, 0.0

    def count(number: int, frame: Any) -> None:
        nonlocal runs
        runs += 1

    rv.set_num_threads(1)  # a thread that waits for others looks, too
    before = signal.signal(signal.SIGALRM, count)
    try:
        while seconds < 0.25:  # what takes so long looks more than once
            call = prepare(n)
            runs, begun = 0, time.monotonic()
            signal.setitimer(signal.ITIMER_REAL, 0.001, 0.001)
            call()
            signal.setitimer(signal.ITIMER_REAL, 0)
            seconds, n = time.monotonic() - begun, 2 * n
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
        rv.set_num_threads(2)
    assert runs > 3  # before the call, at its end and between the two statements


def test_what_changes_in_place_is_finished() -> None:
    x, y = ones(1 << 26), ones(1 << 26)

    def change() -> None:
        for _ in range(1000):
            _core.fill(x, 2.0)
            _core.copy(y, False, x)

    def compute() -> None:
        for _ in range(1000):
            _core.tanh(x, x)

    for work in (change, compute):
        with alarm(0.1), pytest.raises(Stop):
            work()
        assert x.min() == x.max()


def test_an_optimizer_step_is_finished() -> None:
    p = rv.nn.Parameter(rv.zeros(1 << 26))
    p.grad = rv.ones(1 << 26)
    optimizer = rv.optim.SGD([p], lr=1.0)

    def change() -> None:
        for _ in range(1000):
            optimizer.step()

    with alarm(0.1), pytest.raises(Stop):
        change()
    assert p.detach().min().item() == p.detach().max().item() < 0


def test_a_captured_step_is_not_left_half_done() -> None:
    """The signal comes before the parameters change, while they do, or after: all have changed, or none."""
    n = 1600
    w, v = (rv.full((n, n), 1e-3).requires_grad_() for _ in range(2))
    x = rv.ones(n, n)

    @rv.compile(verify=False)  # a check is an eager step, which may end between its two updates
    def step(x: Any) -> Any:
        loss = ((x @ w).tanh() @ v).sum()
        loss.backward()
        with rv.no_grad():
            for p in (w, v):
                p.sub_(p.grad, alpha=1e-9)
        w.grad = v.grad = None
        return loss

    for _ in range(3):
        step(x)
    counts = []
    for delay in np.linspace(0.001, 0.4, 20):
        before = w.detach().numpy()[0, 0].copy(), v.detach().numpy()[0, 0].copy()
        try:
            with alarm(float(delay)):
                for _ in range(40):
                    step(x)
        except Stop:
            pass
        for p in (w, v):
            assert len(np.unique(p.detach().numpy())) <= n  # equal rows: no column is left out
            a = p.detach().numpy()
            assert (a == a[:1]).all() or (a == a[:, :1]).all()
        after = w.detach().numpy()[0, 0], v.detach().numpy()[0, 0]
        counts.append((before[0] != after[0], before[1] != after[1]))
    assert all(a == b for a, b in counts)
    assert np.isfinite(step(x).item())


def test_a_handler_may_compute_and_start_threads() -> None:
    """It runs in the middle of a call, on the thread of that call; the call continues after it."""
    a = np.random.default_rng(0).standard_normal((2500, 2500)).astype(np.float32)
    expected = _core.matmul(a, a, None, "none", None)
    seen: list[Any] = []
    busy = False

    def handle(number: int, frame: Any) -> None:
        nonlocal busy
        if busy or len(seen) > 6:
            return
        busy = True
        thread = threading.Thread(target=lambda: seen.append(_core.matmul(a[:200], a, None, "none", None)))
        thread.start()
        thread.join()
        seen.append(_core.matmul(a[:200], a, None, "none", None))
        busy = False

    before = signal.signal(signal.SIGALRM, handle)
    signal.setitimer(signal.ITIMER_REAL, 0.1, 0.1)
    try:
        for _ in range(3):
            np.testing.assert_array_equal(_core.matmul(a, a, None, "none", None), expected)
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert seen
    for part in seen:
        np.testing.assert_array_equal(part, _core.matmul(a[:200], a, None, "none", None))


def test_another_thread_forks_while_a_long_call_looks_for_signals() -> None:
    a = ones(2500, 2500)
    codes = []

    def fork() -> None:
        for _ in range(10):
            pid = os.fork()
            if pid == 0:
                signal.alarm(20)
                os._exit(0 if (_core.matmul(a[:50], a, None, "none", None) == 2500).all() else 1)
            codes.append(os.waitpid(pid, 0)[1])

    thread = threading.Thread(target=fork)
    thread.start()
    while thread.is_alive():
        _core.matmul(a, a, None, "none", None)
    assert codes == [0] * 10


def test_a_signal_during_a_garbage_collection_is_not_lost():
    """Once steps were recorded, too: what a handler raises would be lost in a callback of the collector."""

    def collect() -> None:
        gc.collect()
        time.sleep(1)

    rv.compile(lambda x: x + 1, strict=True)(rv.ones(2))
    objects = [[i] for i in range(500_000)]
    with pytest.raises(Stop), alarm(0.002):
        collect()
    assert len(objects) == 500_000


# Another thread changes indices between their check and their use: nothing outside the arrays is touched.


N = 60_000
FAR = 1 << 40
ONE = np.ones((), np.float32)


CALLS: dict[str, tuple[int, Callable[[Any], Any]]] = {  # classes, and a call on N indices
    "embedding": (50, lambda k: kernels.embedding(k, ones(50, 16))),
    "embedding, strided": (50, lambda k: kernels.embedding(k[::2], ones(16, 50).T)),
    "embedding_backward": (50, lambda k: kernels.embedding_backward(ones(N, 4), k, 50, None, True)),
    "gather": (50, lambda k: kernels.gather(ones(50, 8), np.broadcast_to(k[:, None], (N, 8)), 0)),
    "gather by rows": (50, lambda k: kernels.gather(ones(50), k, 0)),
    "scatter_add": (50, lambda k: kernels.scatter_add(ones(N), k, 0, 50)),
    "scatter": (50, lambda k: kernels.scatter(ones(50), k, ones(N), 0)),
    "scatter_backward": (50, lambda k: kernels.scatter_backward(ones(50), k, 0)),
    "cross_entropy": (5, lambda k: kernels.cross_entropy(ones(N, 5), k, weight=ones(5))),
    "nll": (5, lambda k: kernels.nll(ones(N, 5), k, weight=ones(5))),
    "nll_backward": (5, lambda k: kernels.nll_backward(ONE, ones(N, 5), k, ONE, weight=ones(5))),
    "mix_images": (N, lambda k: kernels.mix_images(ones(N, 1, 2, 2), k, np.full(N, 0.5))),
    "erase_images": (
        N,
        lambda k: kernels.erase_images(ones(N, 1, 2, 2), np.tile([0, 0, 2, 2], (N, 1)), k),
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
            again = "the step does not do the same each time: "
            differs = rf"\[compile\] .* runs eagerly: ({again})?instruction \d"
            warnings.filterwarnings("ignore", differs, UserWarning)
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
