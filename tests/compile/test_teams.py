"""Teams of threads: sections of a step that run wholly on one thread each, and programs that leave their team
while its cores are taken.

Steps train many small networks; the threads of a team can take whole networks (lanes) in place of parts of
each instruction. At any number of threads each call has to have the bits of the eager step.
"""

import itertools

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, played
from ranvier import _core, nn, optim
from ranvier.nn import functional as F
from support.refused import refused
from support.strict import strict

CLASSES, FEATURES, ROWS = 3, 5, 6


def mlp(hidden=7):
    return nn.Sequential(nn.Linear(FEATURES, hidden), nn.ReLU(), nn.Linear(hidden, CLASSES))


NETWORKS = {
    "mlp": mlp,
    "norm": lambda: nn.Sequential(
        nn.Linear(FEATURES, 8), nn.BatchNorm1d(8), nn.GELU(), nn.Linear(8, CLASSES)
    ),
    "dropout": lambda: nn.Sequential(
        nn.Linear(FEATURES, 8), nn.Dropout(0.3), nn.Tanh(), nn.Linear(8, CLASSES)
    ),
    "conv": lambda: nn.Sequential(
        nn.Unflatten(1, (1, FEATURES)), nn.Conv1d(1, 4, 3), nn.ReLU(), nn.Flatten(), nn.Linear(12, CLASSES)
    ),
}


def one_by_one(models, optimizer, shift=0.0):
    """A loss, a backward pass and an update of each network after the other. shift: added to all inputs."""
    optimizers = [optimizer(model.parameters()) for model in models]

    def step(x, y):
        losses = []
        for i, (model, own) in enumerate(zip(models, optimizers, strict=True)):
            own.zero_grad()
            loss = F.cross_entropy(model(x[i] + shift), y[i])
            loss.backward()
            own.step()
            losses.append(loss)
        return rv.stack(losses)

    return step


def at_once(models, optimizer):
    """One sum of losses and one optimizer."""
    own = optimizer([p for model in models for p in model.parameters()])

    def step(x, y):
        own.zero_grad()
        losses = [F.cross_entropy(m(a), b) for m, a, b in zip(models, x.unbind(), y.unbind(), strict=True)]
        losses = rv.stack(losses)
        losses.sum().backward()
        own.step()
        return losses

    return step


def shared_input(models, optimizer):
    """All networks see the same batch; the last loss alone is returned."""
    step = one_by_one(models, optimizer)
    return lambda x, y: step(x[:1].expand(*x.shape), y[:1].expand(*y.shape))[-1]


def in_a_row(models, optimizer):
    """Each network learns the output that the one before it had after its update."""
    optimizers = [optimizer(model.parameters()) for model in models]

    def step(x, y):
        target = rv.zeros(ROWS, CLASSES)
        for i, (model, own) in enumerate(zip(models, optimizers, strict=True)):
            own.zero_grad()
            F.mse_loss(model(x[i]), target).backward()
            own.step()
            with rv.no_grad():
                target = model(x[i])
        return target

    return step


def with_a_shift(models, optimizer):
    """All networks read memory that is changed after that."""
    shift = rv.zeros(FEATURES)
    step = one_by_one(models, optimizer, shift)
    models[0].register_buffer("shift", shift)

    def shifting(x, y):
        losses = step(x, y)
        shift.copy_(x[0, 0])
        return losses

    return shifting


FORMS = {form.__name__: form for form in (one_by_one, at_once, shared_input, in_a_row, with_a_shift)}
OPTIMIZERS = {
    "sgd": lambda p: optim.SGD(p, lr=0.1),
    "momentum": lambda p: optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: optim.Adam(p, lr=0.01),
}


def maker(makes, count, form, optimizer):
    def make():
        models = [make() for make in itertools.islice(itertools.cycle(makes), count)]
        return FORMS[form](models, OPTIMIZERS[optimizer]), models

    return make


def inputs_of(count):
    """Batches for so many networks, others at each call: samples and classes."""

    def inputs(number):
        rng = rv.Generator().manual_seed(number)
        x = rv.randn(count, ROWS, FEATURES, generator=rng)
        return x, (x[:, :, 0] > 0).long() + (x[:, :, 1] > 0).long()

    return inputs


def by_lanes(step):
    """The compiled step, every section by lanes, though it may not pay here."""
    fast = strict(step)

    def call(*args):
        result = fast(*args)
        for program in fast.programs:
            program.core.set_threads(False)
        return result

    return call


CASES = (
    [  # networks, which repeat; how many; the form of the step; the optimizer
        ([NETWORKS[name]], count, form, optimizer)
        for i, name in enumerate(NETWORKS)
        for j, form in enumerate([*FORMS][:4])
        for count, optimizer in [(1, "sgd"), (4, "adam"), (5, "momentum"), (33, "sgd")][(i + j) % 2 :: 2]
    ]
    + [
        ([mlp, NETWORKS["norm"], lambda: mlp(300), NETWORKS["conv"]], 12, "one_by_one", "adam"),
        ([mlp], 12, "with_a_shift", "sgd"),
    ]
)


@pytest.mark.parametrize("number", range(5))
def test_bits_of_the_eager_step(number, threads):
    for makes, count, form, optimizer in CASES[number::5]:
        make, inputs = maker(makes, count, form, optimizer), inputs_of(count)
        expected, _ = played(make, inputs, lambda step: step, 8)
        for team in (1, 2, 3):
            threads(team)
            assert played(make, inputs, by_lanes, 8)[0] == expected, (count, form, optimizer)


@pytest.mark.parametrize("form", ["one_by_one", "at_once"])
def test_a_wrong_label_changes_nothing(form, threads):
    threads(2)
    inputs, (step, models) = inputs_of(9), maker([NETWORKS["dropout"]], 9, form, "momentum")()
    fast = by_lanes(step)
    for number in range(4):
        fast(*inputs(number))
    before = bits([model.state_dict() for model in models])
    x, y = inputs(5)
    y[0, 2] = CLASSES
    refused(ValueError, "cross_entropy", fast, x, y)
    if form == "at_once":  # the others had updated some networks when an eager step meets the label
        assert bits([model.state_dict() for model in models]) == before


# --- when a program leaves its team for one thread, and when it returns, for given times
ALONE, TEAM = 180e3, 100e3  # nanoseconds of a run
SECOND = int(1e9 / TEAM)  # runs, at least


def stolen(count, seed=0):
    """Times on a team that shares a core: most runs are fast, some wait for the other process."""
    waits = np.random.default_rng(seed).random(count) < 1 / 25
    return [(TEAM + 4e6 * wait, ALONE) for wait in waits]


def alone(runs, solo=ALONE):
    """For each run whether `Pace` (program/pace.h) makes it on one thread.

    runs: (nanoseconds on the team, on one thread) of each. solo: the time on one thread measured before.
    """
    return np.array(_core.paced(solo, runs))


def test_a_team_that_is_faster_is_kept():
    assert not alone([(TEAM, ALONE)] * SECOND).any()


def test_a_few_slow_runs_change_nothing_for_long():
    runs = [(TEAM, ALONE)] * SECOND
    runs[1000] = runs[5000] = (2e7, ALONE)
    found = alone(runs)
    assert found.any()  # one thread was tried
    assert found.mean() < 0.04


def test_one_thread_runs_while_a_core_is_taken():
    found = alone(stolen(5 * SECOND))
    assert not found[0]
    assert found.mean() > 0.9
    assert not found[-2 * SECOND :].all()  # the team is tried now and then


def test_the_team_is_back_when_the_core_is_free():
    free = [(TEAM, ALONE)] * 4 * SECOND
    found = alone([*free, *stolen(5 * SECOND), *free, *stolen(5 * SECOND)])
    assert not found[: len(free)].any()
    again = found[len(free) + 5 * SECOND :][: len(free)]
    assert not again[-2 * SECOND :].any()
    assert found[-5 * SECOND :].mean() > 0.9


def test_a_measurement_made_under_load_is_corrected():
    """The time on one thread was found too short, or too long."""
    assert alone([(TEAM, ALONE)] * SECOND, solo=TEAM / 2).mean() < 0.4
    assert alone(stolen(5 * SECOND), solo=1e12).mean() > 0.5


def test_everything_slower_is_no_reason_to_leave_the_team():
    found = alone([(TEAM, ALONE)] * SECOND + [(2 * TEAM, 2 * ALONE)] * SECOND)
    assert found.mean() < 0.05


def test_long_runs_are_judged_by_a_few():
    found = alone([(1e9, 2e9)] * 10 + [(4e9, 2e9)] * 40, solo=2e9)
    assert not found[:10].any()
    assert found[20:].mean() > 0.6
