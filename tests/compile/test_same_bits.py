"""Compiled steps of convolutional networks have the eager bits: at every level and number of threads."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from support.conv_networks import network, trained
from support.strict import strict

SEEDS = 40


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


@pytest.mark.parametrize("seed", possible(range(SEEDS)))
def test_networks_train_to_the_eager_bits(seed, isas, threads):
    """At each level, with one dtype and then the other."""
    for number, _ in enumerate(isas):
        dtype = (np.float32, np.float64)[(seed + number) % 2]
        threads(1)
        expected = trained(seed, False, dtype)
        for count in (1, 2):
            threads(count)
            assert trained(seed, True, dtype) == expected


def body(**first):
    rv.manual_seed(2)
    return nn.Sequential(
        *(nn.Conv2d(2, 8, 3, **first), nn.ReLU(), nn.MaxPool2d(2)),
        *(nn.Conv2d(8, 6, 3), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Linear(24, 3)),
    )


def gradients(model, step, x):
    """The results of an eager run and of a replay."""
    compiled, found = strict(step), []
    for _ in range(3):
        compiled(x)
    for run in (step, compiled):
        out = run(x)
        values = [out] if isinstance(out, rv.Tensor) else list(out)
        found.append([t.detach().numpy().copy() for t in (*values, *(p.grad for p in model.parameters()))])
    return found


def assert_same(found):
    for a, b in zip(*found, strict=True):
        np.testing.assert_array_equal(a, b)
        np.testing.assert_array_equal(np.signbit(a), np.signbit(b))


def images(n=4):
    return np.random.default_rng(5).standard_normal((n, 2, 14, 14)).astype(np.float32)


def halve(gradient):
    gradient.mul_(0.5)


HOOKS = {"hook": lambda g: None, "changing hook": lambda g: g * 0.5, "hook in place": halve}


@pytest.mark.parametrize("what", ["conv", "relu", "pool"])
@pytest.mark.parametrize("look", ["retain_grad", *HOOKS, "grad"])
def test_reads_and_hooks_of_intermediate_gradients(what, look):
    model = body()
    index = ["conv", "relu", "pool"].index(what) + 3

    def step(x):
        model.zero_grad()
        value, seen = x, None
        for number, layer in enumerate(model):
            value = layer(value)
            if number == index:
                seen = value
                if look == "retain_grad":
                    seen.retain_grad()
                elif look in HOOKS:
                    seen.register_hook(HOOKS[look])
        loss = (value * value).sum()
        of_seen = rv.autograd.grad(loss, [seen], retain_graph=True)[0] if look == "grad" else loss.detach()
        loss.backward()
        return of_seen, loss

    assert_same(gradients(model, step, images()))


@pytest.mark.parametrize("what", [0, 1, 2])
def test_an_intermediate_result_used_twice(what):
    model = body()

    def step(x):
        model.zero_grad()
        value, more = x, 0.0
        for number, layer in enumerate(model):
            value = layer(value)
            if number == what:
                more = (value * value).mean()
        loss = (value * value).sum() + more
        loss.backward()
        return loss

    assert_same(gradients(model, step, images()))


@pytest.mark.parametrize("bad", [np.inf, -np.inf, np.nan])
@pytest.mark.parametrize("place", ["image", "weight", "bias"])
@pytest.mark.parametrize("first", [{}, {"padding": 1}])
def test_values_that_are_not_finite(bad, place, first):
    model, x, labels = body(**first), images(), rv.tensor([0, 1, 2, 1])
    with rv.no_grad():
        if place == "image":
            x[1, 0, 3, 4] = x[2, 1, 0, 0] = bad
        elif place == "weight":
            model[0].weight[3, 1, 2, 0] = float(bad)
        else:
            model[3].bias[2] = float(bad)

    def step(x):
        model.zero_grad()
        loss = F.cross_entropy(model(x), labels)
        loss.backward()
        return loss

    eager, compiled = gradients(model, step, x)
    for a, b in zip(eager, compiled, strict=True):
        np.testing.assert_array_equal(np.isnan(a), np.isnan(b))
        np.testing.assert_array_equal(a[~np.isnan(a)], b[~np.isnan(b)])


def test_pools_that_reach_beyond_the_image():
    """In ceil_mode the last window is only partly inside."""
    rv.manual_seed(1)
    model = nn.Sequential(nn.Conv2d(2, 8, 3), nn.ReLU(), nn.MaxPool2d(5, ceil_mode=True))

    def step(x):
        model.zero_grad()
        loss = (model(x) ** 2).sum()
        loss.backward()
        return loss

    assert_same(gradients(model, step, images()))


@pytest.mark.parametrize("seed", possible(range(100, 130)))
def test_predictions_have_the_eager_bits(seed, isa, threads):
    rv.manual_seed(seed)
    model, shape = network(seed)
    rng = np.random.default_rng(seed)
    x = rv.tensor(rng.standard_normal((5, *shape)).astype(np.float32))
    model(x)  # sets running statistics
    with rv.no_grad():
        for parameter in model.parameters():
            parameter.add_(0.1 * rv.randn(*parameter.shape))
        expected = model.eval()(x).numpy().tobytes()
    fast = strict(model)
    for count in (1, 2):
        threads(count)
        for _ in range(3):
            assert fast(x).numpy().tobytes() == expected
