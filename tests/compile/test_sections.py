"""Steps of many networks: groups of instructions that run wholly on one thread each."""

import itertools

import pytest
import ranvier as rv
from compile.beside import bits, played
from ranvier import nn, optim
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


def one_by_one(models, optimizer):
    """A loss, a backward pass and an update of each network after the other."""
    optimizers = [optimizer(model.parameters()) for model in models]

    def step(x, y):
        losses = []
        for i, (model, own) in enumerate(zip(models, optimizers, strict=True)):
            own.zero_grad()
            loss = F.cross_entropy(model(x[i]), y[i])
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


FORMS = {form.__name__: form for form in (one_by_one, at_once, shared_input, in_a_row)}
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


CASES = [
    ([NETWORKS[name]], count, form, optimizer)
    for i, name in enumerate(NETWORKS)
    for j, form in enumerate(FORMS)
    for count, optimizer in [(1, "sgd"), (4, "adam"), (5, "momentum"), (33, "sgd")][(i + j) % 2 :: 2]
] + [([mlp, NETWORKS["norm"], lambda: mlp(300), NETWORKS["conv"]], 12, "one_by_one", "adam")]


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
