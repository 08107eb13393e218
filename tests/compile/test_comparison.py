"""Later checks of a program, which are not recorded: what they find, and what they leave as it was.

`unseen` makes a change that no guard and no recording sees. It begins after the first of these checks.
"""

import gc

import numpy as np
import pytest
import ranvier as rv
from compile.beside import same
from ranvier import nn, optim
from ranvier.compile import compiled_function
from ranvier.compile.comparison import Outcome
from ranvier.observe import is_compiling
from support.strict import strict
from support.unseen import unseen

CALLS = 40  # in which there are several checks
HIDDEN: list[bool] = []
"""Has an element while steps make their hidden change."""


def hidden(code, **values):
    """A function of a Tensor t that does this while HIDDEN has an element."""
    return unseen(f"if now: {code}", "t", now=HIDDEN, **values)


@pytest.fixture
def outcomes(monkeypatch):
    """The outcome of each comparison."""
    found = []
    compare = compiled_function.compare

    def noted(*args):
        comparison = compare(*args)
        found.append(comparison.outcome)
        return comparison

    monkeypatch.setattr(compiled_function, "compare", noted)
    return found


def result_of(dtype, at):
    change = hidden(f"t._array[{at}] = t._array[{at - 1}]")

    def step(x):
        y = x.to(dtype) * 2
        change(y)
        return y

    return step


def second_result():
    change = hidden("t._array[0] += 1")

    def step(x):
        first = x + 1
        second = x * 3
        change(second)
        return {"first": first, "rest": [second]}

    return step


def changed_gradient():
    weight = rv.ones(6).requires_grad_()
    change = hidden("t._grad._array[5] += 1")

    def step(x):
        weight.grad = None
        (weight * x).sum().backward()
        change(weight)

    return step


def changed_parameter():
    layer = nn.Linear(6, 2)
    optimizer = optim.SGD(layer.parameters(), 0.1)
    change = hidden("t._array[1, 5] += 1")

    def step(x):
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()
        change(layer.weight)

    return step


def changed_state():
    layer = nn.Linear(6, 2)
    optimizer = optim.Adam(layer.parameters())
    change = hidden("optimizer.state[t]['exp_avg']._array[1, 5] += 1", optimizer=optimizer)

    def step(x):
        optimizer.zero_grad()
        layer(x).sum().backward()
        optimizer.step()
        change(layer.weight)

    return step


def changed_running_mean():
    norm = nn.BatchNorm1d(6)
    change = hidden("t._array[5] += 1")

    def step(x):
        y = norm(rv.stack([x, x + 1])).detach()
        change(norm.running_mean)
        return y

    return step


def read_memory():
    table = rv.arange(6.0)
    change = hidden("table._array[3] += 1", table=table)

    def step(x):
        change(x)
        return x * table

    return step


def another_number():
    number = unseen("return 3.0 if now else 2.0", now=HIDDEN)
    return lambda x: x * number()


CHANGED = {
    "second result": second_result,
    "gradient": changed_gradient,
    "parameter": changed_parameter,
    "state of an optimizer": changed_state,
    "running mean": changed_running_mean,
    "memory that is read": read_memory,
    "number": another_number,
}
for dtype in (rv.float32, rv.float64, rv.float16, rv.bfloat16, rv.int64, rv.int32, rv.uint8):
    for at in (1, 5):
        CHANGED[f"result of {dtype} at {at}"] = lambda dtype=dtype, at=at: result_of(dtype, at)


@pytest.mark.parametrize("name", CHANGED)
def test_what_differs_is_found(name, outcomes):
    step = strict(CHANGED[name]())
    x = rv.arange(6.0)

    def many_calls():
        for _ in range(CALLS):
            step(x)

    while Outcome.SAME not in outcomes:
        step(x)
    HIDDEN.append(True)
    try:
        with pytest.raises(rv.CaptureError, match="does not do the same each time"):
            many_calls()
    finally:
        HIDDEN.clear()
    assert outcomes[-2:] == [Outcome.SAME, Outcome.DIFFERENT]


def another_draw():
    draw = unseen("if now: rv.rand(3)", now=HIDDEN, rv=rv)

    def step(x):
        y = x * rv.rand(6)
        draw()
        return y

    return step, lambda: rv.random.current().plain_state()["calls"], 2


def another_call():
    count = rv.zeros(1)
    add = unseen("if now: count.add_(1)", now=HIDDEN, count=count)

    def step(x):
        add()
        return x * 2

    return step, count.item, 1


def another_gradient():
    weight = rv.ones(6).requires_grad_()
    other = rv.ones(6).requires_grad_()
    change = unseen("if now: (other * t).sum().backward()", "t", now=HIDDEN, other=other)

    def step(x):
        weight.grad = None
        (weight * x).sum().backward()
        change(x)

    return step, lambda: other.grad[1].item(), 1


@pytest.mark.parametrize("make", [another_draw, another_call, another_gradient])
def test_calls_that_the_program_does_not_make_are_recorded(make, outcomes, monkeypatch):
    """They may change what the program does not know."""
    for module in ("comparison", "record"):  # Threads of the test runner could have made the draws.
        monkeypatch.setattr(f"ranvier.compile.{module}.other_threads", lambda: 0)
    step, value, change = make()
    fast = strict(step)
    x = rv.arange(6.0)
    for _ in range(7):
        fast(x)
    HIDDEN.append(True)
    try:
        for _ in range(5):  # The first of these calls is compared, the second recorded.
            fast(x)
        values = [value()]
        for _ in range(20):
            fast(x)
            values.append(value())
    finally:
        HIDDEN.clear()
    assert outcomes[:2] == [Outcome.SAME, Outcome.UNKNOWN]
    assert np.diff(values).tolist() == [change] * 20


def test_memory_that_is_too_small_to_compare_leaves_the_result(monkeypatch):
    step = strict(lambda x: x * 2)
    x = rv.ones(6)
    for _ in range(3):
        step(x)

    class Check:
        def __init__(self, *args):
            pass

        def disturbed(self):
            return False

        def compare(self, results):
            raise MemoryError

    with monkeypatch.context() as patch:
        patch.setattr("ranvier._core.Check", Check)
        assert step(x).tolist() == [2] * 6
    step(x)  # recorded
    assert step.programs[0].checks == 2


def test_an_error_of_the_step_keeps_no_copies():
    """A program may store the error, whose traceback has the frames of the check."""
    table = rv.ones(3, 2)
    weight = rv.ones(1000, 1000).requires_grad_()
    optimizer = optim.SGD([weight])

    def step(index):
        optimizer.zero_grad()
        (weight.sum() + rv.embedding(index, table).sum()).backward()
        optimizer.step()

    fast = strict(step)
    for _ in range(3):
        fast(rv.tensor([1]))
    before = rv.memory_stats()["bytes_in_use"]
    with pytest.raises(IndexError) as caught:
        fast(rv.tensor([7]))
    gc.collect()
    assert rv.memory_stats()["bytes_in_use"] < before + weight.nbytes // 2
    assert caught.value.__traceback__ is not None


def training():
    model = nn.Sequential(nn.Linear(6, 8), nn.Dropout(0.5), nn.BatchNorm1d(8), nn.Linear(8, 2))
    optimizer = optim.Adam(model.parameters())

    def step(x):
        loss = model(x).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        return loss

    return step


def accumulating():
    weight = rv.ones(6).requires_grad_()

    def step(x):
        (weight * x).sum().backward()
        return weight.grad.sum()

    return step


def with_gradients_at_the_start():
    """Each call gives up the gradients of the call before it."""
    weight = rv.ones(6).requires_grad_()

    def step(x):
        if weight.grad is not None:
            with rv.no_grad():
                weight.sub_(0.1 * weight.grad)
        weight.grad = None
        (weight * x).square().sum().backward()
        return weight.detach() * 1

    return step


def not_a_number():
    return lambda x: (x - 100).log()


SAME = {
    "training": training,
    "accumulating": accumulating,
    "gradients at the start": with_gradients_at_the_start,
    "not a number": not_a_number,
}


@pytest.mark.parametrize("name", SAME)
def test_what_is_the_same_passes(name, outcomes):
    def inputs(number):
        return (rv.tensor(np.random.default_rng(number).standard_normal((4, 6)).astype(np.float32)),)

    assert same(SAME[name], inputs, CALLS).programs
    assert outcomes[0] in (Outcome.SAME, Outcome.UNKNOWN)  # A recording may make other kernel calls.
    assert {*outcomes[1:]} == {Outcome.SAME}


def test_an_optimizer_that_is_made_in_each_call_is_recorded_at_each_check(outcomes, records):
    """The memory of its state is another one in each call, so that no state would be compared."""
    layer = nn.Linear(6, 2)

    def step(x):
        layer.zero_grad()
        layer(x).sum().backward()
        optim.Adam(layer.parameters()).step()

    fast = rv.compile(step)
    for _ in range(9):
        fast(rv.arange(6.0))
    assert outcomes == []


def test_the_result_keeps_no_tape_and_no_argument():
    model = nn.Sequential(nn.Identity()).eval()
    fast = strict(model)
    x = rv.ones(3)
    results = [fast(x) for _ in range(8)]
    x.fill_(2)
    assert all(result.tolist() == [1, 1, 1] for result in results)
    step = strict(training())
    losses = [step(rv.ones(4, 6)) for _ in range(8)]
    assert all(loss.grad_fn is None for loss in losses)


def test_the_step_is_compiling_in_a_comparison(outcomes):
    """Libraries take another way then, which a comparison has to take as well."""
    step = strict(lambda x: x * 2 if is_compiling() else x * 3)
    results = [step(rv.ones(2)).tolist() for _ in range(9)]
    assert results == [[2, 2]] * 9
    assert outcomes == [Outcome.SAME] * 2


def test_an_error_of_the_step_leaves_the_program(outcomes):
    table = rv.ones(3, 2)
    step = strict(lambda index: rv.embedding(index, table).sum())
    good = rv.tensor([1])
    for _ in range(3):
        step(good)
    with pytest.raises(IndexError):
        step(rv.tensor([7]))
    for _ in range(30):
        step(good)
    assert len(step.programs) == 1
    assert step.programs[0].checks > 1


def test_comparisons_leave_no_memory():
    step = strict(training())
    x = rv.ones(4, 6)

    def in_use_after(calls):
        for _ in range(calls):
            step(x)
        gc.collect()
        return rv.memory_stats()["bytes_in_use"]

    before = in_use_after(10)
    assert in_use_after(60) == before  # calls 16, 32 and 64 are compared
