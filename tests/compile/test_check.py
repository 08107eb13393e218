"""The check beside an eager step: what it finds, what it leaves as it was, and how much memory it takes.

At calls 2, 4, 8 ... a compiled step runs its program beside the eager step and compares what both write.
Where they differ, a step compiled by `strict` raises. `unseen(code)` makes a change that no recording sees,
so that they do.
"""

import itertools
import os
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import drawn, names, same
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.python import printed
from support.refused import refused
from support.strict import strict
from support.training import training
from support.unseen import unseen

NUMBERS = rv.arange(6.0)


ADD, BACK = unseen("t._array[2] += 1", "t"), unseen("t._array[2] -= 1", "t")


def changed(make, code):
    """A step whose result is changed, unseen, by this code."""
    change = unseen(code, "t")
    return lambda x: (made := make(x), change(made))[0]


def reading(make, at):
    """A step that reads memory which is changed before."""
    numbers = rv.arange(6.0)
    change = unseen(f"numbers._array[{at}] += 1", numbers=numbers)
    return lambda x: (change(), make(numbers, at))[1]


def of_numbers(*values):
    number = unseen("return next(numbers)", numbers=iter(values))
    return lambda x: x * number()


def later(x):
    first = x * 2
    second = first.sum()
    ADD(first)
    return first, second


def every_second(x):
    y = rv.zeros(12)
    y[::2] = x
    return y


def for_a_while(restored):
    """Lasting memory, also where the program changes it later, and where it is put back."""
    weight = rv.ones(6)

    def function(x):
        ADD(weight)
        y = weight * x
        if restored:
            BACK(weight)
        weight.add_(y)
        return y.sum()

    return function


KINDS = {
    "float32": lambda x, at: x.clone(),
    "float64": lambda x, at: x.double(),
    "int64": lambda x, at: x.long(),
    "bool": lambda x, at: x > at + 1,
}
DIFFERS = r"instruction 0, .* differs .*test_check\.py:\d+\)"
HERE = r"reads memory that .*test_check\.py:\d+\)"
CHANGED = {  # the step, and the error of its second call
    "every second": (changed(every_second, "t._array[10] += 1"), "instruction [01], .* differs"),
    "after later calls": (later, r"instruction 0, .* differs"),
    "for a while": (for_a_while(False), r"instruction \d+, "),
    "restored": (for_a_while(True), r"instruction \d+, "),
    "to NaN": (of_numbers(1.0, np.nan), r"instruction 0, .*differ"),
    "from NaN": (of_numbers(np.nan, 1.0), r"instruction 0, .*differ"),
}
for kind, make in KINDS.items():
    for at in (0, 5):
        code = f"t._array[{at}] = 1 - t._array[{at}]"
        CHANGED[f"{kind} {at}"] = changed(lambda x, make=make: make(x, 1), code), DIFFERS
        CHANGED[f"{kind} {at} that is read"] = reading(make, at), HERE


@pytest.mark.parametrize("name", CHANGED)
def test_what_the_step_changes_unseen_is_found(name):
    function, said = CHANGED[name]
    step = strict(function)
    step(NUMBERS)
    with pytest.raises(rv.CaptureError, match=said):
        step(NUMBERS)


@pytest.mark.parametrize(("verify", "recorded"), [(3, 1 + 1 + 2), (1, 1 + 5), (False, 1 + 1), (True, 1 + 3)])
def test_the_check_is_repeated_as_verify_says(records, verify, recorded):
    """With 3: the recording, the first check, then one after three replays each; else at calls 2, 4 and 8."""
    step = strict(lambda x: x + 1, verify=verify)
    for i in range(10):
        assert step(rv.full((2,), float(i))).tolist() == [i + 1.0] * 2
    assert len(records) == recorded


def test_a_check_that_the_step_ends_with_an_error_comes_again(records):
    """After some replays: the program is as good as it was."""
    table, good, bad = rv.ones(3, 2), rv.tensor([1]), rv.tensor([7])
    step = strict(lambda index: rv.embedding(index, table).sum())
    for number in range(40):
        if number == 3:
            refused(IndexError, "7", step, bad)
        else:
            step(good)
    assert step.programs[0].checks > 2


@pytest.mark.parametrize("verify", [0, -1, 1.5, "often", None])
def test_an_invalid_verify_is_refused(verify):
    refused(ValueError, "[compile] got verify", strict, lambda x: x, verify=verify)


def test_a_failed_check_leaves_what_the_eager_step_made():
    change, weight, plain = unseen("t._array[2] += 1", "t"), rv.ones(6), rv.ones(6)

    def function(w, x):
        y = w * x
        w.add_(y)
        change(y)
        return y

    step = strict(lambda x: function(weight, x))
    step(NUMBERS), function(plain, NUMBERS)
    with pytest.raises(rv.CaptureError) as caught:
        step(NUMBERS)
    expected = function(plain, NUMBERS)
    assert caught.value.result.tolist() == expected.tolist()
    assert weight.tolist() == plain.tolist()


def test_a_step_that_takes_another_path_at_each_check():
    """The second run may have set something up, and is recorded instead; the third may not."""
    number = unseen("return next(numbers)", numbers=itertools.cycle([0, 1]))
    step = strict(lambda x: x.exp() if number() else x.tanh())
    step(NUMBERS), step(NUMBERS)
    refused(rv.CaptureError, "call 0 is now activation_forward, was elementwise", step, NUMBERS)


@pytest.mark.parametrize("clip", [False, True])
def test_gradients_that_the_caller_keeps_are_as_they_were(clip):
    """The program's own memory of gradients is not written by a check."""
    model, kept = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1)), []
    optimizer = optim.Adam(model.parameters(), lr=0.01)

    @strict(verify=3)
    def step(x):
        optimizer.zero_grad()
        loss = model(x).square().mean()
        loss.backward()
        if clip:
            nn.utils.clip_grad_norm_(model.parameters(), 0.5)
        optimizer.step()
        return loss

    for number in range(12):
        step(*drawn((8, 6))(number))
        kept += [(p.grad, p.grad.tolist()) for p in model.parameters()]
        assert all(g.tolist() == values for g, values in kept)
    assert step.programs[0].checks > 2


def test_large_parameters_are_updated_call_by_call():
    """A check copies what one call changes: several parameters of some size are not in one call."""

    def make():
        parameters = nn.ParameterList([nn.Parameter(rv.ones(n)) for n in (3, 1 << 20, 5, 1 << 20, 2)])
        sums = lambda x: sum((p * x).sum() for p in parameters)  # noqa: E731
        return training(sums, optim.Adam(parameters, lr=0.1), lambda y: y), parameters

    assert names(same(make, lambda number: (rv.tensor([2.0]),), 4)).count("optimizer_step") == 3


def test_rounding_of_gradients_that_cancel_is_no_difference():
    """The gradient of a bias before a batch norm is rounding alone: sums in another order make it another."""
    model = nn.Sequential(
        nn.Conv2d(3, 5, 2), nn.BatchNorm2d(5), nn.ReLU(), nn.Conv2d(5, 16, 3), nn.MaxPool2d(3), nn.Flatten()
    )
    optimizer = optim.SGD(model.parameters(), lr=0.01)

    @strict
    def step(x):
        optimizer.zero_grad()
        model(x).square().mean().backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.01)
        optimizer.step()

    for number in range(3):
        step(*drawn((5, 3, 8, 8))(number))


def peaks():
    """Bytes by which the peak of the process grows: in an eager step, in a call that is checked."""
    model = nn.Sequential(*(layer for _ in range(16) for layer in (nn.Linear(128, 128), nn.Tanh())))
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
    step = training(model, optimizer, F.mse_loss)

    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name)) * 1024

    def growth(call):
        rv._core.empty_cache()
        before = status("VmRSS")
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak is the present size
        call(x, x)
        return status("VmHWM") - before

    x, compiled = np.ones((4096, 128), np.float32), strict(step)
    step(x, x)
    eager = growth(step)
    for _ in range(3):
        compiled(x, x)
    checked = growth(compiled)
    assert compiled.programs[0].checks == 2
    return eager, checked, x.nbytes


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's peak of a process")
def test_a_check_takes_no_more_memory_than_an_eager_step():
    # a fixed threshold: else malloc keeps what is freed, and the peak is less than what is held
    fixed = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}
    code = f"from {__name__} import peaks; print(*peaks())"
    found = printed("-c", code, PYTHONPATH=os.pathsep.join(sys.path), **fixed)
    eager, checked, arguments = map(int, found.split())
    assert eager > 16 * arguments
    # copies of both arguments, and of results of merged calls that the eager step makes a call later
    assert checked < eager + 6 * arguments, f"{checked} bytes; eager {eager}"
