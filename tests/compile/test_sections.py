"""Steps of many networks: groups of instructions that run wholly on one thread each."""

import numpy as np
import pytest
import ranvier as rv
from ranvier.compile import cache
from ranvier.nn import functional as F
from support.strict import strict

CLASSES, FEATURES, ROWS = 3, 5, 6


def mlp(hidden=7):
    return rv.nn.Sequential(rv.nn.Linear(FEATURES, hidden), rv.nn.ReLU(), rv.nn.Linear(hidden, CLASSES))


def normed():
    return rv.nn.Sequential(
        rv.nn.Linear(FEATURES, 8), rv.nn.BatchNorm1d(8), rv.nn.GELU(), rv.nn.Linear(8, CLASSES)
    )


def dropping():
    return rv.nn.Sequential(
        rv.nn.Linear(FEATURES, 8), rv.nn.Dropout(0.3), rv.nn.Tanh(), rv.nn.Linear(8, CLASSES)
    )


def convolving():
    return rv.nn.Sequential(
        rv.nn.Unflatten(1, (1, FEATURES)),
        rv.nn.Conv1d(1, 4, 3),
        rv.nn.ReLU(),
        rv.nn.Flatten(),
        rv.nn.Linear(12, CLASSES),
    )


KINDS = {"mlp": mlp, "norm": normed, "dropout": dropping, "conv": convolving}


def networks(make, count):
    rv.manual_seed(3)
    return [make() for _ in range(count)]


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
        losses = rv.stack(
            [F.cross_entropy(m(a), b) for m, a, b in zip(models, x.unbind(), y.unbind(), strict=True)]
        )
        losses.sum().backward()
        own.step()
        return losses

    return step


def shared_input(models, optimizer):
    """All networks see the same batch; the last loss alone is returned."""
    optimizers = [optimizer(model.parameters()) for model in models]

    def step(x, y):
        for model, own in zip(models, optimizers, strict=True):
            own.zero_grad()
            loss = F.cross_entropy(model(x[0]), y[0])
            loss.backward()
            own.step()
        return loss.detach()

    return step


STEPS = {f.__name__: f for f in (one_by_one, at_once, shared_input)}
OPTIMIZERS = {
    "sgd": lambda p: rv.optim.SGD(p, lr=0.1),
    "momentum": lambda p: rv.optim.SGD(p, lr=0.1, momentum=0.9, weight_decay=0.01),
    "adam": lambda p: rv.optim.Adam(p, lr=0.01),
}


def bits(models):
    return [t.detach().numpy().tobytes() for m in models for t in (*m.parameters(), *m.buffers())]


def batches(count, steps, seed=0):
    rng = np.random.default_rng(seed)
    for _ in range(steps):
        x = rng.standard_normal((count, ROWS, FEATURES), np.float32)
        yield rv.tensor(x), rv.tensor(rng.integers(0, CLASSES, (count, ROWS)))


def run(make, count, form, optimizer, compiled, threads=2):
    rv.set_num_threads(threads)
    models = networks(make, count)
    step = form(models, optimizer)
    cache._unpaid.clear()  # every step here has the same code
    call = strict(step) if compiled else step
    losses = []
    for number, batch in enumerate(batches(count, 8)):
        losses.append(call(*batch).detach().numpy().tobytes())
        if compiled and number == 2:
            call.programs[0].core.set_threads(False)  # every section by lanes, though it may not pay here
    return losses, bits(models)


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("form", STEPS)
def test_bits_of_the_eager_step(kind, form):
    for count, optimizer in ((1, "sgd"), (4, "adam"), (5, "momentum"), (33, "sgd")):
        case = KINDS[kind], count, STEPS[form], OPTIMIZERS[optimizer]
        eager = run(*case, compiled=False)
        for threads in (1, 2, 3):
            assert run(*case, compiled=True, threads=threads) == eager


def test_networks_of_several_forms():
    makes = [mlp, normed, lambda: mlp(300), convolving] * 3

    def case(compiled):
        rest = iter(makes)
        return run(lambda: next(rest)(), len(makes), one_by_one, OPTIMIZERS["adam"], compiled)

    assert case(True) == case(False)


@pytest.mark.parametrize("form", STEPS)
def test_a_wrong_label_changes_nothing(form):
    rv.set_num_threads(2)
    models = networks(dropping, 9)
    step = strict(STEPS[form](models, OPTIMIZERS["momentum"]))
    for batch in batches(9, 4):
        step(*batch)
    step.programs[0].core.set_threads(False)
    before = bits(models)
    (x, y), *_ = batches(9, 1)
    y[0, 2] = CLASSES
    with pytest.raises(ValueError, match="cross_entropy"):
        step(x, y)
    if form == "at_once":  # the others had updated some networks when an eager step meets the label
        assert bits(models) == before


def test_a_network_that_reads_another_comes_after_it():
    """Each network learns the output that the one before it had after its update."""

    def case(compiled):
        models = networks(mlp, 6)
        optimizers = [rv.optim.SGD(m.parameters(), lr=0.1) for m in models]

        def step(x, y):
            target = rv.zeros(ROWS, CLASSES)
            for i, (model, own) in enumerate(zip(models, optimizers, strict=True)):
                own.zero_grad()
                F.mse_loss(model(x[i]), target).backward()
                own.step()
                with rv.no_grad():
                    target = model(x[i])
            return target

        call = strict(step) if compiled else step
        results = [call(*batch).numpy().tobytes() for batch in batches(6, 6)]
        return results, bits(models)

    assert case(True) == case(False)
