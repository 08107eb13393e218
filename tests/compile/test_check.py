"""The check beside an eager step: what it finds, what it leaves as it was, and how much memory it takes."""

import itertools
import os
import subprocess
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.nn import functional as F
from support.strict import strict
from support.unseen import unseen

NUMBERS = rv.arange(6.0)


def changed(make, code):
    """A step whose result is changed, unseen, by this code."""
    change = unseen(code, "t")

    def function(x):
        made = make(x)
        change(made)
        return made

    return function


def changed_later():
    change = unseen("t._array[2] += 1", "t")

    def function(x):
        first = x * 2
        second = first.sum()
        change(first)
        return first, second

    return function


def every_second(x):
    y = rv.zeros(12)
    y[::2] = x
    return y


def changed_for_a_while(restored):
    """Lasting memory, also where the program changes it later, and where it is put back."""
    change, back, weight = unseen("t._array[2] += 1", "t"), unseen("t._array[2] -= 1", "t"), rv.ones(6)

    def function(x):
        change(weight)
        y = weight * x
        if restored:
            back(weight)
        weight.add_(y)
        return y.sum()

    return function


KINDS = {
    "float32": lambda x: x.clone(),
    "float64": lambda x: x.double(),
    "int64": lambda x: x.long(),
    "bool": lambda x: x > 2,
}
CHANGED = {
    f"{kind} {at}": (
        changed(make, f"t._array[{at}] = 1 - t._array[{at}]"),
        r"instruction 0, .* differs .*test_check\.py:\d+\)",
    )
    for kind, make in KINDS.items()
    for at in (0, 5)
} | {
    "every second": (changed(every_second, "t._array[10] += 1"), "instruction 1, .* differs"),
    "after later calls": (changed_later(), r"instruction 0, .* has a result that the step changes"),
    "for a while": (changed_for_a_while(False), r"instruction [01], "),
    "restored": (changed_for_a_while(True), r"instruction [01], "),
}


@pytest.mark.parametrize("name", CHANGED)
def test_what_the_step_changes_unseen_is_found(name):
    function, said = CHANGED[name]
    step = strict(function)
    step(NUMBERS)
    with pytest.raises(rv.CaptureError, match=said):
        step(NUMBERS)


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
    with pytest.raises(rv.CaptureError, match="call 0 is now activation_forward, was elementwise"):
        step(NUMBERS)


def test_an_index_out_of_range_in_a_checked_call():
    table = nn.Embedding(5, 3)
    step = strict(lambda i: (table(i) * 2).sum().detach())
    good, bad = np.array([0, 4]), np.array([0, 5])
    expected = step(good).item()
    with pytest.raises(IndexError, match="5"):
        step(bad)
    assert [step(good).item() for _ in range(6)] == [expected] * 6


@pytest.mark.parametrize("clip", [False, True])
def test_gradients_that_the_caller_keeps_are_as_they_were(clip):
    """The program's own memory of gradients is not written by a check."""
    model = nn.Sequential(nn.Linear(6, 4), nn.Tanh(), nn.Linear(4, 1))
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

    x = np.random.default_rng(0).standard_normal((8, 6)).astype(np.float32)
    kept = []
    for _ in range(12):
        step(x)
        kept.append([(p.grad, p.grad.tolist()) for p in model.parameters()])
        assert all(g.tolist() == values for call in kept for g, values in call)
    assert step.programs[0].checks > 2


def test_large_parameters_are_updated_call_by_call():
    """A check copies what one call changes: several parameters of some size are not in one call."""
    parameters = [nn.Parameter(rv.ones(n)) for n in (3, 1 << 20, 5, 1 << 20, 2)]
    plain = [nn.Parameter(rv.ones(p.shape[0])) for p in parameters]

    def made(parameters):
        optimizer = optim.Adam(parameters, lr=0.1)

        def step(x):
            optimizer.zero_grad()
            sum((p * x).sum() for p in parameters).backward()
            optimizer.step()

        return step

    step, eager, x = strict(made(parameters)), made(plain), np.float32([2])
    for _ in range(4):
        step(x), eager(x)
    updates = [i for i in step.programs[0].instructions if i.op == "optimizer_step"]
    assert len(updates) == 3
    assert all((p == q).all().item() for p, q in zip(parameters, plain, strict=True))


def peaks():
    """Bytes by which the peak of the process grows: in an eager step, in a call that is checked."""
    model = nn.Sequential(*(layer for _ in range(16) for layer in (nn.Linear(128, 128), nn.Tanh())))
    optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)

    def step(x, y):
        optimizer.zero_grad()
        loss = F.mse_loss(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

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
    environment = {
        **os.environ,
        "PYTHONPATH": os.pathsep.join(sys.path),
        "GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072",
    }
    code = f"from {__name__} import peaks; print(*peaks())"
    command = [sys.executable, "-c", code]
    found = subprocess.run(command, env=environment, check=True, capture_output=True, text=True).stdout
    eager, checked, arguments = map(int, found.split())
    assert eager > 16 * arguments
    # copies of both arguments, and of results of merged calls that the eager step makes a call later
    assert checked < eager + 6 * arguments, f"{checked} bytes; eager {eager}"
