"""`step.run`: many calls in one, with the bits, the state and the errors of the same calls in a loop."""

import threading
import warnings

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.compile.compiled import CompiledFunction
from ranvier.nn import functional as F
from support import random_steps
from support.training_steps import Base, values

SAMPLES, BATCH, STEPS = 48, 8, 30
RNG = np.random.default_rng(0)
X = RNG.standard_normal((SAMPLES, 6)).astype(np.float32)
Y = RNG.integers(0, 3, SAMPLES)
ORDER = np.stack([RNG.permutation(SAMPLES)[:BATCH] for _ in range(STEPS)])


@pytest.fixture
def in_core(monkeypatch):
    """How many steps each call into the core has made."""
    counts, inner = [], CompiledFunction.run_batches

    def run_batches(self, args, batches):
        results = inner(self, args, batches)
        counts.append(batches.done)
        return results

    monkeypatch.setattr(CompiledFunction, "run_batches", run_batches)
    return counts


def arguments(tensors):
    return (rv.tensor(X), rv.tensor(Y)) if tensors else (X, Y)


def after(case, results):
    return values(results), values(case.modules()), rv.get_rng_state()["calls"]


def assert_same(got, expected):
    assert got[2] == expected[2]
    for part in (0, 1):
        for a, b in zip(got[part], expected[part], strict=True):
            np.testing.assert_array_equal(a, b)


def in_loop(case, order=ORDER, tensors=True):
    x, y = arguments(tensors)
    results = [case.step(x[i], y[i]) for i in order]
    return after(case, [rv.tensor(np.stack([r.detach().numpy() for r in results]))])


@pytest.mark.parametrize("tensors", [True, False], ids=["tensors", "arrays"])
@pytest.mark.parametrize("parts", [1, 3])
def test_bits_are_those_of_a_loop(tensors, parts, in_core):
    """Dropout, momentum, a ragged division of the steps."""
    expected = in_loop(Base(), tensors=tensors)
    case = Base()
    step = rv.compile(case.step)
    losses = [step.run(*arguments(tensors), indices=part) for part in np.array_split(ORDER, parts)]
    assert_same(after(case, [rv.concat(losses)]), expected)
    assert max(in_core) >= 7
    assert sum(in_core) > STEPS - 8, "all but the recording and the comparisons"


def test_an_entry_for_each_step(in_core):
    other = Base()
    x, y = X.reshape(6, 8, 6), Y.reshape(6, 8)
    expected = after(
        other, [rv.stack([other.step(rv.tensor(a), rv.tensor(b)) for a, b in zip(x, y, strict=True)])]
    )
    case = Base()
    losses = rv.compile(case.step).run(rv.tensor(x), rv.tensor(y))
    assert losses.shape == (6,)
    assert_same(after(case, [losses]), expected)
    assert sum(in_core) > 0


@pytest.mark.filterwarnings("ignore")
@pytest.mark.parametrize("seed", range(24))
def test_random_steps(seed):
    """Steps of many kinds of statements: bits of the results, of all state and of errors."""

    def outcome(made_in_run):
        world = random_steps.World(random_steps.Program(seed))
        x, y, more, z, w = random_steps.arguments(0, 40)
        given = x, y, more["one"], z, w
        order = np.random.default_rng(seed).integers(0, 40, (12, 4))

        def step(x, y, one, z, w):
            return world.step(x, y, {"one": one, "names": ["a", 0]}, z, w, flag=True, k=2, scale=1.0)

        results = []
        try:
            if made_in_run:
                for part in np.split(order, [7]):
                    results.append(rv.compile(step).run(*given, indices=part))
            else:
                results += [step(*[a[i] for a in given]) for i in order]
        except (RuntimeError, ValueError, TypeError, IndexError) as error:
            results = [type(error).__name__, str(error)]
        return [*values(world), *(p.grad.numpy().copy() for p in world.parameters() if p.grad is not None)], (
            results if isinstance(results[0], str) else None
        )

    expected, got = outcome(False), outcome(True)
    assert got[1] == expected[1]
    for a, b in zip(got[0], expected[0], strict=True):
        np.testing.assert_array_equal(a, b)


# --- what changes between runs and between steps


def test_settings_modes_and_python_state_may_change_between_runs(in_core):
    def go(compiled):
        case = Base()
        scale, seen = [1.0], []

        def step(x, y):
            case.optimizer.zero_grad()
            loss = F.cross_entropy(case.model(x), y) * scale[0]
            loss.backward()
            case.optimizer.step()
            return loss

        schedule = optim.lr_scheduler.ExponentialLR(case.optimizer, 0.5)
        fast = rv.compile(step)
        x, y = arguments(True)
        for turn in range(5):
            if turn == 2:
                scale[0] = 2.0
            case.model.train(turn != 3)
            case.optimizer.param_groups[0]["momentum"] = 0.9 - 0.1 * turn
            losses = fast.run(x, y, indices=ORDER) if compiled else [step(x[i], y[i]) for i in ORDER]
            schedule.step()
            seen += [losses] if compiled else [rv.stack([r.detach() for r in losses])]
        return after(case, seen)

    expected = go(False)
    assert_same(go(True), expected)
    assert sum(in_core) > 100


def test_what_cannot_be_captured_warns_once_and_runs():
    w = rv.ones(3, requires_grad=True)
    step = rv.compile(lambda x: (x * w.sum().item()).sum())
    with pytest.warns(UserWarning, match="runs eagerly: item"):
        got = step.run(rv.ones(5, 2))
    np.testing.assert_array_equal(got.numpy(), np.full(5, 6.0))
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        step.run(rv.ones(5, 2))


def test_strict_raises_after_one_step():
    seen = []
    step = rv.compile(lambda x: seen.append(x.sum().item()), strict=True)
    with pytest.raises(rv.CaptureError):
        step.run(rv.ones(4, 2))
    assert seen == [2.0]


def test_an_error_in_the_middle_leaves_the_steps_before_it():
    def go(compiled):
        rv.manual_seed(0)
        table = nn.Embedding(6, 3)
        optimizer = optim.SGD(table.parameters(), lr=0.1)

        def step(i):
            optimizer.zero_grad()
            loss = table(i).sum()
            loss.backward()
            optimizer.step()
            return loss

        indices = RNG.integers(0, 6, (20, 4)) if go.indices is None else go.indices
        go.indices = indices.copy()
        indices[13, 2] = 6
        fast = rv.compile(step)
        with pytest.raises(IndexError) as error:
            fast.run(rv.tensor(indices)) if compiled else [step(rv.tensor(i)) for i in indices]
        return str(error.value), table.weight.detach().numpy().copy()

    go.indices = None
    expected, got = go(False), go(True)
    assert got[0] == expected[0]
    np.testing.assert_array_equal(got[1], expected[1])


def test_losses_that_are_not_finite_go_on():
    x = X.copy()
    x[11] = np.nan
    eager = Base()
    expected = [eager.step(rv.tensor(x[i]), rv.tensor(Y[i])) for i in ORDER]
    case = Base()
    losses = rv.compile(case.step).run(rv.tensor(x), rv.tensor(Y), indices=ORDER)
    np.testing.assert_array_equal(losses.numpy(), [r.item() for r in expected])


# --- other results and batches


def test_a_step_that_returns_nothing(in_core):
    eager, case = Base(), Base()
    for model in (eager.model, case.model):
        model.eval()
    x, y = arguments(True)
    for i in ORDER:
        eager.step(x[i], y[i])

    def update(x, y):
        case.step(x, y)

    step = rv.compile(update)
    assert step.run(x, y, indices=ORDER) is None
    for a, b in zip(values(case.modules()), values(eager.modules()), strict=True):
        np.testing.assert_array_equal(a, b)
    assert STEPS - 8 < sum(in_core) < STEPS


def test_a_ragged_last_batch(in_core):
    order = np.random.default_rng(3).permutation(SAMPLES)
    batches = [order[i : i + 5] for i in range(0, SAMPLES, 5)] * 4
    expected, case = in_loop(Base(), batches), Base()
    losses = rv.compile(case.step).run(*arguments(True), indices=batches)
    assert_same(after(case, [losses]), expected)
    assert sum(in_core) > 15


def test_a_program_of_another_call_is_not_taken_for_this_one(in_core):
    """(40, 4, 6) by indices is a batch (4, 4, 6) for each step, not an entry (4, 6)."""
    step = rv.compile(lambda x: x.sum())
    x = rv.tensor(RNG.standard_normal((40, 4, 6)).astype(np.float32))
    for _ in range(6):
        step(x[0])
    for indices in (np.arange(40).reshape(10, 4), None):
        got = step.run(x) if indices is None else step.run(x, indices=indices)
        expected = [x[i].sum().item() for i in (range(40) if indices is None else indices)]
        np.testing.assert_array_equal(got.numpy(), expected)
    step.run(x, indices=np.arange(40).reshape(10, 4))
    assert sum(in_core) > 20


class Model:
    def __init__(self, seed):
        rv.manual_seed(seed)
        self.lin = nn.Linear(6, 2)
        self.optimizer = optim.SGD(self.lin.parameters(), lr=0.01)

    @rv.compile
    def step(self, x):
        self.optimizer.zero_grad()
        loss = self.lin(x).square().mean()
        loss.backward()
        self.optimizer.step()
        return loss


def test_a_method_of_two_objects_and_a_step_in_a_step(in_core):
    one, two = Model(0), Model(1)
    losses = one.step.run(rv.tensor(X), indices=ORDER), two.step.run(rv.tensor(X), indices=ORDER)
    assert sum(in_core) > STEPS
    for seed, got in enumerate(losses):
        eager = Model(seed)
        expected = [Model.step._function(eager, rv.tensor(X[i])).item() for i in ORDER]
        np.testing.assert_array_equal(got.numpy(), expected)
    outer = rv.compile(lambda x: one.step.run(x).sum())
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        inner = [outer(rv.tensor(X.reshape(6, 8, 6))).item() for _ in range(5)]
    assert inner == sorted(inner, reverse=True)


def test_two_steps_that_share_parameters(in_core):
    def go(compiled):
        case = Base()
        x, y = arguments(True)
        predict = lambda a: F.softmax(case.model(a), 1)  # noqa: E731
        train, infer = rv.compile(case.step), rv.compile(predict)
        seen = []
        for part in np.split(ORDER, 3):
            with rv.no_grad():
                case.model.eval()
                seen.append(
                    infer.run(x, indices=part) if compiled else rv.stack([predict(x[i]) for i in part])
                )
                case.model.train()
            seen.append(
                train.run(x, y, indices=part)
                if compiled
                else rv.stack([case.step(x[i], y[i]).detach() for i in part])
            )
        return after(case, seen)

    expected = go(False)
    assert_same(go(True), expected)
    assert sum(in_core) > 30


def test_two_threads_run_one_step():
    total = rv.zeros(1)

    def step(x):
        total.add_(x.sum())
        return total * 1

    fast = rv.compile(step)
    errors = []

    def work():
        try:
            for _ in range(20):
                fast.run(rv.ones(50, 3))
        except BaseException as error:  # for the main thread
            errors.append(error)

    workers = [threading.Thread(target=work) for _ in range(2)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert not errors
    assert total.item() == 2 * 20 * 50 * 3
