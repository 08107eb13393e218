"""Compiled steps of convolutional networks have the eager bits: at every level and number of threads.

`played` gives what each call of a step has shown, `same` compares a compiled step with the step itself
(beside.py).
"""

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, drawn, played, same
from ranvier import nn
from support.conv_networks import CLASSES, network
from support.strict import strict
from support.training import training


def possible(seeds):
    """The models whose images are large enough for every layer."""
    found = []
    for seed in seeds:
        try:
            network(seed)
        except ValueError:
            continue
        found.append(seed)
    return found


@pytest.mark.parametrize("seed", possible(range(40)))
def test_networks_train_to_the_eager_bits(seed, isas, threads):
    """At each level, with one dtype and then the other."""
    for number, _ in enumerate(isas):
        dtype = ("float32", "float64")[(seed + number) % 2]

        def make():
            model = network(seed)[0].to(dtype)  # noqa: B023
            return training(model, rv.optim.SGD(model.parameters(), lr=0.05, momentum=0.9)), model

        def inputs(number):
            rows = (3, 3, 3, 5, 3)[number]
            return drawn((rows, *network(seed)[1]), CLASSES, dtype=dtype)(number)  # noqa: B023

        threads(1)
        expected, _ = played(make, inputs, lambda step: step, 5)
        for count in (1, 2):
            threads(count)
            assert played(make, inputs, strict, 5)[0] == expected


@pytest.mark.parametrize("seed", possible(range(100, 130)))
def test_predictions_have_the_eager_bits(seed, isa, threads):
    rv.manual_seed(seed)
    model, shape = network(seed)
    x = rv.tensor(np.random.default_rng(seed).standard_normal((5, *shape)).astype(np.float32))
    model(x)  # sets running statistics
    with rv.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * rv.randn(*parameter.shape))
        expected = bits(model.eval()(x))
    fast = strict(model)
    for count in (1, 2):
        threads(count)
        assert [bits(fast(x)) for _ in range(3)] == [expected] * 3


def body(**first):
    return nn.Sequential(
        *(nn.Conv2d(2, 8, 3, **first), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3)),
    )


LOOKS = {
    "retain_grad": lambda value: value.retain_grad(),
    "a hook": lambda value: value.register_hook(lambda g: None),
    "a changing hook": lambda value: value.register_hook(lambda g: g * 0.5),
    "a hook in place": lambda value: value.register_hook(lambda g: [g.mul_(0.5), None][1]),
    "grad": lambda value: None,
    "used twice": lambda value: None,
}


@pytest.mark.parametrize("layer", range(6))
@pytest.mark.parametrize("look", LOOKS)
def test_reads_and_hooks_of_intermediate_gradients(layer, look):
    """The gradients of the results of a convolution, of its activation and of its pool are read."""

    def make():
        model = body()

        def step(x):
            model.zero_grad()
            value = x
            for number, module in enumerate(model):
                value = module(value)
                if number == layer:
                    seen = value
                    LOOKS[look](seen)
            loss = (value * value).sum()
            if look == "used twice":
                loss = loss + (seen * seen).mean()
            of_seen = rv.autograd.grad(loss, [seen], retain_graph=True)[0] if look == "grad" else loss * 1
            loss.backward()
            return of_seen.detach(), loss

        return step, model

    same(make, drawn((4, 2, 14, 14)), 4)


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", ["image", "weight", "bias"])
@pytest.mark.parametrize("first", [{}, {"padding": 1}])
def test_values_that_are_not_finite(bad, place, first):
    rv.manual_seed(2)
    model, labels = body(**first), rv.tensor([0, 1, 2, 1])
    (x,) = drawn((4, 2, 14, 14))(5)
    with rv.no_grad():
        if place == "image":
            x[1, 0, 3, 4] = x[2, 1, 0, 0] = float(bad)
        elif place == "weight":
            model[0].weight[3, 1, 2, 0] = float(bad)
        else:
            model[3].bias[2] = float(bad)

    def step(x):
        model.zero_grad()
        loss = nn.functional.cross_entropy(model(x), labels)
        loss.backward()
        return loss

    fast, found = strict(step), []
    for run in (step, fast, fast, fast):
        out = run(x)
        found.append([t.numpy(force=True).copy() for t in (out, *(p.grad for p in model.parameters()))])
    for a, *others in zip(*found, strict=True):
        for b in others:
            np.testing.assert_array_equal(b, a)  # NaN may have another sign
