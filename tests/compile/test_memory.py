"""The memory of large captured steps: temporaries in gradients and workspaces in the arena, updates that a
check runs on copies of pieces, and how much memory the first calls take.

All of that is for large arrays only; the other tests of this folder have small ones.
"""

import gc
import os
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, drawn, names, same
from ranvier import nn, optim
from ranvier.compile import shared_programs
from ranvier.nn import functional as F
from support.python import printed
from support.strict import strict
from support.training import training
from support.unseen import unseen

ROWS = drawn((512, 300), 10)
X = np.random.default_rng(0).standard_normal((1024, 300)).astype(np.float32)
Y = np.arange(1024) % 10


def mlp():
    return nn.Sequential(nn.Linear(300, 600), nn.ReLU(), nn.Linear(600, 600), nn.ReLU(), nn.Linear(600, 10))


def adam(parameters, **settings):
    return optim.Adam(parameters, lr=0.01, **settings)


OPTIMIZERS = {
    "ASGD": lambda p: optim.ASGD(p, lr=0.01),
    "Adadelta": lambda p: optim.Adadelta(p),
    "Adagrad": lambda p: optim.Adagrad(p, lr=0.01),
    "Adam": adam,
    "Adam, amsgrad": lambda p: adam(p, amsgrad=True),
    "AdamW": lambda p: optim.AdamW(p, lr=0.01),
    "Adamax": lambda p: optim.Adamax(p, lr=0.01),
    "NAdam": lambda p: optim.NAdam(p, lr=0.01),
    "RAdam": lambda p: optim.RAdam(p, lr=0.01),
    "RMSprop": lambda p: optim.RMSprop(p, lr=0.01),
    "Rprop": lambda p: optim.Rprop(p, lr=0.01),
    "SGD": lambda p: optim.SGD(p, lr=0.01),
    "SGD, momentum": lambda p: optim.SGD(p, lr=0.01, momentum=0.9, weight_decay=0.1),
}


def shown(make_optimizer, make_model=mlp):
    def make():
        model = make_model()
        optimizer = make_optimizer(model.parameters())
        return training(model, optimizer), model, optimizer

    return make


@pytest.mark.parametrize("name", OPTIMIZERS)
def test_large_updates_of_each_rule_are_checked_in_pieces(name):
    """More elements than a piece has, and a rest; a first count of steps, moments, products of numbers."""
    step = same(shown(OPTIMIZERS[name]), ROWS, calls=5)
    assert names(step)[-1] == "optimizer_step"


@pytest.mark.parametrize("dtype", [rv.float64, rv.bfloat16, rv.float16])
def test_large_updates_in_other_dtypes(dtype):
    def make():
        model = mlp().to(dtype)
        optimizer = optim.SGD(model.parameters(), lr=0.01, momentum=0.9)
        return training(lambda x: model(x.to(dtype)).float(), optimizer), model, optimizer

    same(make, ROWS, calls=5)


def averaged():
    """What follows the update reads the parameters, so that it runs on a copy of them all."""
    model = mlp()
    average = [p.detach().clone() for p in model.parameters()]
    update = training(model, adam(model.parameters()))

    def step(x, y):
        loss = update(x, y)
        with rv.no_grad():
            for mean, p in zip(average, model.parameters(), strict=True):
                mean.mul_(0.9).add_(p * 0.1)
        return loss

    return step, model, average


def two_updates():
    """The second changes parameters of the first."""
    model = mlp()
    first = training(model, adam(model.parameters()))
    second = training(model, optim.SGD(model[2].parameters(), lr=0.1))
    return lambda x, y: (first(x, y), second(x, y)), model


def clipped():
    model = mlp()
    optimizer = adam(model.parameters())

    def step(x, y):
        optimizer.zero_grad()
        F.cross_entropy(model(x), y).backward()
        nn.utils.clip_grad_norm_(model.parameters(), 0.1)
        optimizer.step()

    return step, model, optimizer


def accumulated():
    """The step adds to the gradients that it finds."""
    model = mlp()

    def step(x, y):
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        return loss

    return step, model


def decayed():
    """Parameters change twice: in the decay, and in the update."""
    model = mlp()
    update = training(model, adam(model.parameters()))

    def step(x, y):
        with rv.no_grad():
            for p in model.parameters():
                p.mul_(0.99)
        return update(x, y)

    return step, model


def zeroed_at_its_end():
    model = mlp()
    optimizer = adam(model.parameters())

    def step(x, y):
        F.cross_entropy(model(x), y).backward()
        optimizer.step()
        optimizer.zero_grad()

    return step, model, optimizer


def of_numpy():
    """NumPy computes a part of it: a check runs the program after the eager step, on copies of the state."""
    model = mlp()
    optimizer = adam(model.parameters())
    update = training(model, optimizer)
    return lambda x, y: update(x.floor().atan(), y), model, optimizer


STEPS = [averaged, two_updates, clipped, accumulated, decayed, zeroed_at_its_end, of_numpy]


@pytest.mark.parametrize("make", STEPS, ids=lambda make: make.__name__)
def test_what_surrounds_a_large_update(make):
    same(make, ROWS, calls=6)


CHANGED = {
    "parameter": "weight._array",
    "gradient": "weight.grad._array",
    **{name: f"optimizer.state[weight]['{name}']._array" for name in ("exp_avg", "exp_avg_sq", "step")},
}


@pytest.mark.parametrize("what", CHANGED)
@pytest.mark.parametrize("at", [0, -1])
def test_a_difference_in_each_array_of_a_large_update_is_found(what, at):
    """What the check has run in pieces is compared with what the step leaves."""
    model = mlp()
    optimizer = adam(model.parameters())
    code = f"{CHANGED[what]}.reshape(-1)[{at}] += 1"
    change = unseen(code, weight=model[2].weight, optimizer=optimizer)
    update = training(model, optimizer)

    def changed(x, y):
        loss = update(x, y)
        change()
        return loss

    step = strict(changed)

    def called():
        for number in range(4):
            step(*ROWS(number))

    with pytest.raises(rv.CaptureError, match=r"instruction \d+, .* differs"):
        called()


def hosted(step):
    return [b for b in step.programs[0].buffers if b.host >= 0]


def test_temporaries_lie_in_gradients_until_these_are_written():
    step = same(shown(adam), ROWS, calls=6)
    program = step.programs[0]
    guests = hosted(step)
    assert guests
    for b in guests:
        gradient = program.buffers[b.host]
        assert b.last < gradient.first
        assert b.offset + b.bytes <= gradient.bytes
        assert b.name == f"{gradient.name}@{b.offset}"
    for a in guests:
        for b in guests:
            if a is b or a.host != b.host or a.last < b.first or b.last < a.first:
                continue
            assert a.offset + a.bytes <= b.offset or b.offset + b.bytes <= a.offset
    assert any("grad@" in operand.name for i in program.instructions for operand in (*i.reads, *i.writes))


def test_gradients_that_are_kept_outside_stay_as_they_are():
    """The temporaries in their memory go to the memory that the program takes instead."""
    kept = []

    def between(number, model, optimizer):
        for p in model.parameters():
            kept.append((p.grad, p.grad.numpy().copy()))
        for gradient, values in kept:
            np.testing.assert_array_equal(gradient.numpy(), values)

    step = same(shown(adam), ROWS, calls=6, between=between)
    assert hosted(step)


def test_a_check_of_values_that_fails_puts_back_what_the_step_found():
    """Until the last check, no temporary lies in the gradients of the last step."""

    def make():
        model = mlp()
        optimizer = adam(model.parameters())

        def step(x, y):
            scores = model(x)
            spread = rv.distributions.Normal(scores.mean(), scores.square().mean() - x.sum())
            optimizer.zero_grad()
            loss = F.cross_entropy(scores, y) - spread.log_prob(scores).mean()
            loss.backward()
            optimizer.step()
            return loss

        return step, model, optimizer

    def inputs(number):
        x, y = ROWS(number)
        return (x.abs() if number > 5 else -x.abs()), y

    step = same(make, inputs, calls=8, verify=False)
    program = step.programs[0]
    last = max(i.number for i in program.instructions if i.op == "value_range")
    assert last > 3
    assert all(b.first > last for b in hosted(step))


def test_an_error_in_a_checked_call_leaves_gradients_and_parameters():
    """The program has run before, on copies."""
    model = mlp()
    update = training(model, adam(model.parameters()))
    fails = unseen("return failing[0]", failing=(failing := [False]))

    @strict
    def step(x, y):
        if fails():
            raise ZeroDivisionError
        return update(x, y)

    step(*ROWS(0))
    before = [(p.tolist(), p.grad.tolist()) for p in model.parameters()]
    failing[0] = True
    with pytest.raises(ZeroDivisionError):
        step(*ROWS(1))
    assert [(p.tolist(), p.grad.tolist()) for p in model.parameters()] == before
    failing[0] = False
    for number in range(1, 5):
        step(*ROWS(number))
    assert step.programs[0].checks == 2


def test_a_program_of_the_same_form_has_temporaries_in_its_own_gradients(records):
    """The second fit takes the program of the first."""

    def fit(compile):
        rv.manual_seed(0)
        model = mlp()
        trainer = rv.Trainer(model, nn.CrossEntropyLoss(), adam(model.parameters()), compile=compile)
        trainer.fit(X, Y, epochs=6, batch_size=64)
        return bits(model)

    for name in nn.__all__:
        getattr(nn, name)  # the first use of a layer drops all programs
    gc.collect()
    shared_programs.forget()
    eager = fit(False)
    assert fit(True) == eager
    assert records
    records.clear()
    assert fit(True) == eager
    assert not records
    shared_programs.forget()


def test_large_workspaces_are_in_the_arena():
    def make():
        model = nn.LSTM(64, 128, batch_first=True)
        optimizer = adam(model.parameters())
        return training(lambda x: model(x)[0], optimizer, lambda y: y.square().mean()), model

    step = same(make, drawn((64, 50, 64)), calls=5)
    assert step.programs[0].memory.workspace == 0


def images():
    """A network with far more activations than parameters, and its batch."""
    model = nn.Sequential(nn.Conv2d(3, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU())
    model.extend([nn.Conv2d(16, 16, 3, padding=1), nn.BatchNorm2d(16), nn.ReLU(), nn.Flatten()])
    model.append(nn.Linear(16 * 48 * 48, 10))
    return model, *drawn((32, 3, 48, 48), 10)(0)


def parameters():
    """A network with far more parameters than activations, 20 MB, and its batch."""
    model = nn.Sequential(
        nn.Linear(400, 2048), nn.ReLU(), nn.Linear(2048, 2048), nn.ReLU(), nn.Linear(2048, 10)
    )
    return model, *drawn((8, 400), 10)(0)


def growths(make):
    """Bytes of an eager step, and of the first six calls of a compiled one: the peak of the process, and that
    of the core's arrays in use."""
    model, x, y = make()
    step = training(model, adam(model.parameters()))
    step(x[:1], y[:1])

    def status(name):
        with open("/proc/self/status") as file:
            return next(int(line.split()[1]) for line in file if line.startswith(name)) * 1024

    def growth(calls):
        rv.empty_cache()
        before, in_use = status("VmRSS"), rv.memory_stats()["bytes_in_use"]
        rv._core.reset_peak_memory()
        with open("/proc/self/clear_refs", "w") as file:
            file.write("5")  # the peak is the present size
        for call in calls:
            call(x, y)
        return status("VmHWM") - before, rv.memory_stats()["peak_bytes_in_use"] - in_use

    compiled = strict(step)
    eager = growth([step] * 2)
    return *eager, *growth([compiled] * 6), compiled.programs[0].checks


def measured(make):
    """What growths(make) returns in a process of its own."""
    fixed = {"GLIBC_TUNABLES": "glibc.malloc.mmap_threshold=131072"}
    code = f"from {__name__} import {make.__name__}, growths; print(*growths({make.__name__}))"
    found = printed("-c", code, PYTHONPATH=os.pathsep.join(sys.path), **fixed)
    *growth, checks = map(int, found.split())
    assert checks == 2
    return growth


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's peak of a process")
def test_the_first_calls_take_the_memory_of_an_eager_step():
    """The recording, and two comparisons: neither a second copy of the activations nor one of the state."""
    eager, eager_in_use, captured, captured_in_use = measured(images)
    assert captured < 1.2 * eager, f"{captured} bytes; eager {eager}"
    assert captured_in_use < 1.3 * eager_in_use, f"{captured_in_use} bytes in use; eager {eager_in_use}"


@pytest.mark.skipif(not os.access("/proc/self/clear_refs", os.W_OK), reason="needs Linux's peak of a process")
def test_the_first_calls_have_gradients_twice_at_most():
    """Those of the program, while it is compared, beside those of the call before, which then are freed."""
    eager, _, captured, _ = measured(parameters)
    gradients = sum(4 * p.numel() for p in parameters()[0].parameters())
    assert captured < eager + 1.5 * gradients, f"{captured} bytes; eager {eager}, gradients {gradients}"
