"""Python threads beside each other: the same bits as alone, on interpreters with and without a GIL.

``RANVIER_THREAD_ROUNDS`` repeats each test's work so many times: see docs/design/free_threading.md.
"""

import functools
import gc
import os
import sys
import threading
from importlib import import_module

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, nn
from ranvier.compile import program_cache
from ranvier.observe import Lock
from support.python import printed
from support.threads import in_threads
from support.training import training

ROUNDS = int(os.environ.get("RANVIER_THREAD_ROUNDS", "1"))
THREADS = 4


def together(*works):
    """Runs the functions at once, each in a thread; returns what they return, and raises what they raise."""
    interval = sys.getswitchinterval()
    sys.setswitchinterval(1e-5)  # with a GIL: threads alternate within a step
    try:
        return in_threads(len(works), lambda i: works[i]())
    finally:
        sys.setswitchinterval(interval)


def data(seed, n=64):
    rng = np.random.default_rng(seed)
    return rng.standard_normal((n, 12)).astype(np.float32), rng.integers(0, 3, n)


def network(seed):
    rng = np.random.default_rng(seed)
    model = nn.Sequential(nn.Linear(12, 16), nn.BatchNorm1d(16), nn.ReLU(), nn.Linear(16, 3))
    with rv.no_grad():
        for p in model.parameters():
            p.copy_(rng.standard_normal(p.shape).astype(np.float32) / 4)
    return model


def trained(seed, compiled, steps=20):
    """The bytes of the parameters after some steps of a model that this thread alone has."""
    model, (x, y) = network(seed), data(seed)
    optimizer = rv.optim.Adam(model.parameters(), lr=0.01)
    step = training(model, optimizer)
    run = rv.compile(step) if compiled else step
    x, y = rv.tensor(x), rv.tensor(y)
    for _ in range(steps * ROUNDS):
        run(x, y)
    return b"".join(p.detach().numpy().tobytes() for p in model.state_dict().values())


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "captured"])
def test_threads_train_models_of_their_own(compiled):
    alone = [trained(seed, compiled) for seed in range(THREADS)]
    assert together(*(functools.partial(trained, seed, compiled) for seed in range(THREADS))) == alone


@pytest.mark.parametrize("compiled", [False, True], ids=["eager", "captured"])
def test_threads_share_a_model_for_prediction(compiled):
    model = network(7).eval()
    run = rv.compile(model) if compiled else model
    batches = [rv.tensor(data(seed, 10 + 6 * (seed % 2))[0]) for seed in range(8)]
    with rv.no_grad():
        expected = [model(x).numpy().tobytes() for x in batches]

    def predict():
        with rv.no_grad():
            for i in range(60 * ROUNDS):
                assert run(batches[i % 8]).numpy().tobytes() == expected[i % 8]

    together(*[predict] * THREADS)


@pytest.mark.filterwarnings("ignore:.compile. .*changes of .* come too often")
@pytest.mark.parametrize("row", [program_cache._ROW, 2])
@pytest.mark.parametrize("forms", [1, 40])
def test_threads_share_a_captured_step(monkeypatch, row, forms):
    """Each call adds its batch once: whole numbers, so that the order of the calls does not matter.

    row: eager calls before as many rest. forms: of the calls; of many forms most are eager.
    """
    monkeypatch.setattr(program_cache, "_ROW", row)
    total = rv.zeros(5)
    weight = rv.ones(5).requires_grad_()

    @rv.compile
    def step(x, form):
        (x * weight).sum().backward()
        with rv.no_grad():
            total.add_(weight.grad)
        gradient = weight.grad * 1.0
        weight.grad = None
        return gradient

    batches = [rv.full((5,), float(i)) for i in range(4)]
    calls = 50 * ROUNDS

    def replay():
        for i in range(calls):
            assert (step(batches[i % 4], i % forms).numpy() == i % 4).all()

    together(*[replay] * THREADS)
    assert (total.numpy() == THREADS * sum(i % 4 for i in range(calls))).all()


def test_the_program_is_looked_at_while_others_replay_it():
    w = rv.ones(8, 8).requires_grad_()

    @rv.compile
    def step(x):
        loss = (x @ w).sum()
        loss.backward()
        w.grad = None
        return loss

    x = rv.ones(4, 8)
    for _ in range(3):
        step(x)
    (program,) = step.programs

    def replay():
        for _ in range(60 * ROUNDS):
            assert step(x).item() == 256

    def look():
        for _ in range(10 * ROUNDS):
            assert "matmul" in str(program)
            assert program.buffers
            assert program.is_current() in (True, False)
            gc.collect()

    together(replay, replay, look)


def test_settings_change_while_others_compute():
    rng = np.random.default_rng(3)
    a, b = rng.standard_normal((2, 96, 96)).astype(np.float32)
    expected = _core.matmul(a, b)

    def compute():
        for _ in range(100 * ROUNDS):
            assert np.array_equal(_core.matmul(a, b), expected)

    def change():
        for i in range(100 * ROUNDS):
            rv.set_num_threads(1 + i % 3)
            rv.set_winograd(i % 2 == 0)
            assert rv.memory_stats()["bytes_in_use"] > 0
            rv.empty_cache()

    before = rv.get_num_threads(), rv.get_winograd()
    try:
        together(compute, compute, change, change)
    finally:
        rv.set_num_threads(before[0])
        rv.set_winograd(before[1])


def test_no_number_is_drawn_twice():
    rv.manual_seed(5)
    keys = together(*[lambda: [rv.rand(2).numpy().tobytes() for _ in range(200 * ROUNDS)]] * THREADS)
    assert len({key for some in keys for key in some}) == 200 * ROUNDS * THREADS


def test_captured_steps_draw_beside_each_other():
    """Numbers that other threads draw during a check are no difference, and are not undone by it."""
    x = rv.ones(2)

    def draw():
        step = rv.compile(lambda x: x * rv.rand(2))
        return [step(x).numpy().tobytes() for _ in range(200 * ROUNDS)]

    keys = together(*[draw] * THREADS)
    assert len({key for some in keys for key in some}) == 200 * ROUNDS * THREADS


def hooks_called():
    """The numbers of the threads whose hooks on one leaf were called."""
    x, seen = rv.ones(3, requires_grad=True), []

    def register(i):
        x.register_hook(lambda _: seen.append(i))

    together(*(functools.partial(register, i) for i in range(THREADS)))
    x.sum().backward()
    return sorted(seen)


def test_hooks_of_one_leaf_from_several_threads():
    for _ in range(20 * ROUNDS):
        assert hooks_called() == list(range(THREADS))


def make_cycle(x):
    """A program that leads to itself: only the garbage collector frees it."""
    cycle = {}
    cycle["step"] = rv.compile(lambda x: (x * 2).sum() if cycle else x)
    for _ in range(3):
        cycle["step"](x)


def test_arrays_are_freed_by_other_threads():
    """Blocks of one thread are freed, and used again, by others; cycles with programs are collected."""
    handed = [[] for _ in range(THREADS)]

    def pass_on(i):
        for n in range(80 * ROUNDS):
            mine = rv.full((100 + n % 7 * 300,), float(i))
            handed[(i + 1) % THREADS].append((i, mine))
            while handed[i]:
                value, array = handed[i].pop()
                assert (array.numpy() == value).all()
            if n % 20 == 0:
                make_cycle(mine)
                gc.collect()

    together(*(functools.partial(pass_on, i) for i in range(THREADS)))


FIRST_USES = """
import sys, threading, warnings
import ranvier as rv

names = "linalg metrics distributions optim data special fft hub".split()
names = [name for name in names if name in dir(rv)]
sys.setswitchinterval(1e-5)
failed = []
begin = threading.Barrier(4)

def use(order):
    begin.wait()
    try:
        for name in order:
            getattr(rv, name)
        x = rv.tensor([1.0, 4.0])
        assert x.sqrt().log1p().sum().item() > 0 and rv.nn.functional.relu(x).max().item() == 4
    except BaseException as error:
        failed.append(error)

threads = [threading.Thread(target=use, args=(order,)) for order in (names, names, names[::-1], names[::-1])]
for thread in threads: thread.start()
for thread in threads: thread.join()
assert not failed, failed
"""


def test_first_uses_at_once():
    """Names and modules that are loaded at their first use."""
    printed("-c", FIRST_USES)


def test_threads_that_run_for_long_are_counted():
    """And a forked child has only the one that forked."""
    assert _core.set_busy(True) == 0
    try:
        assert _core.set_busy(True) == 0  # a fit in a callback of a fit
        assert _core.set_busy(False) == 0
        inside, ends = threading.Event(), threading.Event()

        def run():
            seen.append(_core.set_busy(True))
            inside.set()
            ends.wait()
            _core.set_busy(False)

        seen = []
        thread = threading.Thread(target=run)
        thread.start()
        inside.wait()
        assert seen == [1]
        child = os.fork() if hasattr(os, "fork") else None
        if child == 0:
            os._exit(10 + _core.set_busy(False))
        assert child is None or os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 10
    finally:
        ends.set()
        thread.join()
        assert _core.set_busy(False) == 0


@pytest.mark.skipif(not hasattr(os, "fork"), reason="needs fork")
@pytest.mark.parametrize(
    "theirs", [Lock(), *(import_module(f"ranvier.{m}")._lock for m in ("ops.making.random", "func.call"))]
)
def test_locks_of_other_threads_are_free_in_a_forked_child(theirs):
    """One that the forking thread holds stays its own."""
    own = Lock()
    inside, ends = threading.Event(), threading.Event()

    def hold():
        with theirs:
            inside.set()
            ends.wait()

    thread = threading.Thread(target=hold)
    thread.start()
    inside.wait()
    with own:
        child = os.fork()
        if child == 0:
            os._exit(10 + theirs.acquire(blocking=False) + 2 * own._is_owned())
    ends.set()
    thread.join()
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 13


def test_a_program_is_measured_again_when_other_threads_have_ended():
    """Beside a thread that runs for long it has no team; what was measured then does not stay."""
    threads = rv.get_num_threads()
    rv.set_num_threads(2)
    x, a, out = (rv.rand(256, 256) for _ in range(3))
    step = rv.compile(lambda x: (x @ a).tanh() @ out)
    inside, ends = threading.Event(), threading.Event()

    def stay():
        _core.set_busy(True)
        inside.set()
        ends.wait()
        _core.set_busy(False)

    other = threading.Thread(target=stay)
    try:
        expected = step(x).numpy()
        other.start()
        inside.wait()
        for _ in range(40):
            np.testing.assert_array_equal(step(x).numpy(), expected)
        rows = step.programs[0].core.instructions()
        assert all(row["solo"] and row["team_ns"] > 1e20 for row in rows)
        ends.set()
        other.join()
        for _ in range(40):
            np.testing.assert_array_equal(step(x).numpy(), expected)
        assert all(row["team_ns"] < 1e20 for row in step.programs[0].core.instructions())
    finally:
        ends.set()
        rv.set_num_threads(threads)


WORKING = """
import sys, threading, time
import ranvier as rv

class Own(rv.autograd.Function):
    @staticmethod
    def forward(ctx, x):
        return x * 2

    @staticmethod
    def backward(ctx, dy):
        return dy * sum(range(20000)) * 2

x, whole, leaf = rv.rand(500, 500), rv.ones(100000, dtype=rv.int64), rv.ones(3, requires_grad=True)
replay = rv.compile(lambda x: (x @ x).tanh())
WORK = {
    "kernel": lambda: x @ x,
    "loop": lambda: whole * whole,
    "index": lambda: whole[whole > 0],
    "replay": lambda: replay(x),
    "python": lambda: Own.apply(leaf).sum().backward(),
}

def work():
    while True:
        WORK[sys.argv[1]]()

for _ in range(2):
    threading.Thread(target=work, daemon=True).start()
time.sleep(0.3)
"""


@pytest.mark.parametrize("what", ["kernel", "loop", "index", "replay", "python"])
def test_a_daemon_thread_that_computes_at_the_end_of_the_process_stops_nothing(what):
    """Python before 3.14 unwinds the stack of a thread that asks for the GIL then."""
    assert printed("-c", WORKING, what) == ""
