"""The learning-rate range test: what it finds, and that it leaves no trace."""

import copy

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.train import LRRangeTest, lr_range_test
from support.refused import refused


@pytest.fixture
def data():
    rng = np.random.default_rng(0)
    return rng.standard_normal((96, 5)).astype(np.float32), rng.integers(0, 3, 96)


def network():
    rv.manual_seed(0)
    return nn.Sequential(nn.Linear(5, 16), nn.ReLU(), nn.Dropout(0.2), nn.Linear(16, 3))


def trained(model, optimizer, data, steps=3):
    """A few steps, so that there are states and gradients to keep; returns everything that must stay."""
    x, y = data
    for _ in range(steps):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(x), y).backward()
        optimizer.step()


def traces(model, optimizer):
    state = optimizer.state_dict()
    return {
        "weights": [p._array.tobytes() for p in [*model.parameters(), *model.buffers()]],
        "where": [id(p._array) for p in model.parameters()],
        "gradients": [None if p.grad is None else p.grad._array.tobytes() for p in model.parameters()],
        "states": [{k: np.asarray(v).tobytes() for k, v in s.items()} for s in state["state"].values()],
        "groups": copy.deepcopy(state["param_groups"]),
        "random": rv.get_rng_state(),
        "training": [m.training for m in model.modules()],
    }


@pytest.mark.parametrize("kind", ["Adam", "SGD", "Adagrad"])
@pytest.mark.parametrize("steps", [0, 3])
def test_everything_is_as_it_was(data, kind, steps):
    model = network().eval()
    optimizer = getattr(rv.optim, kind)(model.parameters(), lr=0.01)
    trained(model, optimizer, data, steps)
    before = traces(model, optimizer)
    found = lr_range_test(model, nn.CrossEntropyLoss(), optimizer, *data, steps=40)
    assert len(set(found.losses)) > 5  # it did train
    assert traces(model, optimizer) == before


def test_an_error_leaves_no_trace_either(data):
    class Failing(nn.CrossEntropyLoss):
        calls = 0

        def forward(self, output, target):
            self.calls += 1
            if self.calls > 3:
                raise RuntimeError("enough")
            return super().forward(output, target)

    model = network()
    optimizer = rv.optim.Adam(model.parameters())
    before = traces(model, optimizer)
    refused(RuntimeError, "enough", lr_range_test, model, Failing(), optimizer, *data)
    assert traces(model, optimizer) == before


def test_rates_and_losses_of_a_bowl():
    """Loss (w x)^2 with x = 2: slope 8 w, so that steps of more than 1/4 overshoot for ever."""
    model = nn.Linear(1, 1, bias=False)
    model.weight._array[...] = 1
    x, y = np.full((4, 1), 2, np.float32), np.zeros((4, 1), np.float32)
    found = lr_range_test(
        model, nn.MSELoss(), rv.optim.SGD, x, y, start=1e-3, end=10.0, steps=81, batch_size=4, smoothing=0.0
    )
    np.testing.assert_allclose(found.rates[:3], 10.0 ** (-3 + np.arange(3) / 20), rtol=1e-14)
    weight, losses = 1.0, []
    for rate in found.rates:
        losses.append(4 * weight**2)
        weight *= 1 - 8 * rate
    # Relative: a step multiplies the weight by 1 - 8 rate, which loses digits where that is near 0.
    worst = np.max(1 / np.abs(1 - 8 * found.rates))
    limit = 8 * len(losses) * np.finfo(np.float32).eps * worst
    np.testing.assert_allclose(found.losses, losses, rtol=limit)
    np.testing.assert_array_equal(found.losses, found.smoothed)
    assert found.diverged
    assert 0.25 < found.rates[-1] < 1
    assert found.suggestion < 0.125


def test_a_loss_that_is_not_finite_ends_the_test():
    model = nn.Linear(1, 1, bias=False)
    x, y = np.full((4, 1), 2, np.float32), np.zeros((4, 1), np.float32)
    found = lr_range_test(
        model, nn.MSELoss(), rv.optim.SGD, x, y, start=1.0, end=1e30, steps=9, divergence=1e300
    )
    assert found.diverged
    assert 1 < len(found.losses) < 9
    assert np.isfinite(found.losses).all()


def test_smoothing_is_unbiased():
    model = nn.Linear(1, 1, bias=False)
    model.weight._array[...] = 1
    x, y = np.full((4, 1), 2, np.float32), np.zeros((4, 1), np.float32)
    found = lr_range_test(
        model, nn.MSELoss(), rv.optim.SGD, x, y, start=1e-12, end=1e-11, steps=9, smoothing=0.5
    )
    np.testing.assert_allclose(found.smoothed, np.full(9, 4.0), rtol=1e-6)
    assert not found.diverged


def test_suggestion():
    rates = 10.0 ** np.arange(-5, 1)
    smoothed = np.array([2.0, 1.9, 1.4, 1.3, 1.2, 9.0])
    assert LRRangeTest(rates, smoothed, smoothed, True).suggestion == rates[1]
    with pytest.raises(ValueError, match="the loss fell at none of the rates 1e-05 to 1"):
        LRRangeTest(rates, rates, rates, True).suggestion  # noqa: B018


def test_a_loader_and_several_groups(data):
    x, y = data
    loader = rv.data.DataLoader(rv.data.TensorDataset(x, y), batch_size=16)
    model = network()
    groups = [{"params": model[0].parameters()}, {"params": model[3].parameters(), "lr": 0.5}]
    optimizer = rv.optim.SGD(groups, lr=0.1)
    found = lr_range_test(model, nn.CrossEntropyLoss(), optimizer, loader, steps=15)
    assert len(found.rates) == 15
    assert [g["lr"] for g in optimizer.param_groups] == [0.1, 0.5]


@pytest.mark.parametrize(
    ("change", "error", "text"),
    [
        ({"start": 0.0}, ValueError, r"\[lr_range_test\] got start 0.0 and end 10.0; expected 0"),
        ({"end": 1e-9}, ValueError, "expected 0 < start < end"),
        ({"steps": 0}, ValueError, r"\[lr_range_test\] got steps 0"),
        ({"batch_size": 0}, ValueError, r"\[lr_range_test\] got batch_size 0; expected at least 1"),
        ({"smoothing": 1.0}, ValueError, "got smoothing 1.0"),
        ({"divergence": 1.0}, ValueError, "got divergence 1.0"),
        ({"optimizer": 0.1}, TypeError, r"\[lr_range_test\] got optimizer of type float; expected an Opt"),
        ({"optimizer": list}, TypeError, "got optimizer of type list"),
        ({"x": [], "y": None}, ValueError, "got a loader without batches"),
        ({"x": np.full((4, 5), np.nan)}, ValueError, "first loss is not finite"),
    ],
)
def test_wrong_input(data, change, error, text):
    arguments = {"optimizer": rv.optim.SGD, "x": data[0][:4], "y": data[1][:4], **change}
    with pytest.raises(error, match=text):
        lr_range_test(network(), nn.CrossEntropyLoss(), **arguments)
