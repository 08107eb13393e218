"""Averaged weights: EMA and SWA as PyTorch's, buffers, batch norm, files.

Averages are compared with means in NumPy, with reference/optimizer.py, and with PyTorch, if it is installed.
"""

import numpy as np
import pytest
import ranvier as rv
from ranvier import _core, nn
from ranvier.optim.swa_utils import (
    SWALR,
    AveragedModel,
    get_ema_avg_fn,
    get_ema_multi_avg_fn,
    get_swa_avg_fn,
    get_swa_multi_avg_fn,
    update_bn,
)
from reference.optimizer import move_towards
from support.refused import refused
from support.tolerance import tolerance

UPDATES = 5
EPS = np.finfo(np.float32).eps


def networks(seed=0):
    rv.manual_seed(seed)
    return nn.Sequential(nn.Linear(3, 4), nn.ReLU(), nn.Linear(4, 2))


def run(model, average, seed=1):
    """Random weights, taken in again and again; returns all of them."""
    rng, seen = np.random.default_rng(seed), []
    for _ in range(UPDATES):
        values = [rng.standard_normal(p.shape).astype(np.float32) for p in model.parameters()]
        for p, value in zip(model.parameters(), values, strict=True):
            p._array[...] = value
        seen.append(values)
        average.update_parameters(model)
    return seen


def require_close(average, expected):
    for p, value in zip(average.module.parameters(), expected, strict=True):
        limit = tolerance("float32", 4 * UPDATES, 4.0)  # values are below 4, a few operations each time
        np.testing.assert_allclose(p.detach().numpy(), value, rtol=0, atol=limit)


def called(average):
    """The same function, called by one of the program's own."""
    return lambda *lists: average(*lists)


EMA, SWA = get_ema_multi_avg_fn(0.9), get_swa_multi_avg_fn()


@pytest.mark.parametrize(
    "settings", [{"multi_avg_fn": EMA}, {"multi_avg_fn": called(EMA)}, {"avg_fn": get_ema_avg_fn(0.9)}]
)
def test_ema(settings):
    model = networks()
    average = AveragedModel(model, **settings)
    seen = run(model, average)
    expected = [v.astype(float) for v in seen[0]]
    for values in seen[1:]:
        expected = [move_towards(e, v.astype(float), 0.1) for e, v in zip(expected, values, strict=True)]
    require_close(average, expected)
    assert average.n_averaged.item() == UPDATES


@pytest.mark.parametrize(
    "settings", [{}, {"multi_avg_fn": SWA}, {"multi_avg_fn": called(SWA)}, {"avg_fn": get_swa_avg_fn()}]
)
def test_swa_is_the_mean(settings):
    model = networks()
    average = AveragedModel(model, **settings)
    seen = run(model, average)
    require_close(average, [np.mean(values, 0) for values in zip(*seen, strict=True)])


@pytest.mark.parametrize("ema", [True, False])
def test_beside_torch(ema, torch):
    theirs = torch.nn.Sequential(torch.nn.Linear(3, 4), torch.nn.ReLU(), torch.nn.Linear(4, 2))
    swa = torch.optim.swa_utils
    other = swa.AveragedModel(theirs, multi_avg_fn=swa.get_ema_multi_avg_fn(0.9) if ema else None)
    model = networks()
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.9) if ema else None)
    for values in run(model, average):
        with torch.no_grad():
            for p, value in zip(theirs.parameters(), values, strict=True):
                p.copy_(torch.tensor(value))
        other.update_parameters(theirs)
    state, expected = average.state_dict(), other.state_dict()
    assert set(state) == set(expected)
    require_close(average, [p.detach().numpy() for p in other.module.parameters()])
    average.load_state_dict(expected)  # theirs loads as it is
    assert average.n_averaged.item() == UPDATES


@pytest.mark.parametrize("dtype", [rv.float16, rv.bfloat16])
def test_average_of_halves(dtype):
    model = nn.Linear(2, 1).to(dtype)
    average = AveragedModel(model, multi_avg_fn=get_ema_multi_avg_fn(0.75))
    for value in (1.0, 5.0):
        nn.init.constant_(model.weight, value)
        average.update_parameters(model)
    assert (average.module.weight.dtype, average.module.weight.tolist()) == (dtype, [[2, 2]])


def test_average_is_apart_from_the_model_and_evaluates():
    model = networks()
    average = AveragedModel(model)
    average.update_parameters(model)
    x = np.ones((2, 3), np.float32)
    before = average(x).detach().numpy()
    np.testing.assert_array_equal(before, model(x).detach().numpy())
    for p in model.parameters():
        p._array[...] += 1
    np.testing.assert_array_equal(average(x).detach().numpy(), before)


def test_average_goes_into_a_file(tmp_path):
    model = networks()
    average = AveragedModel(model)
    run(model, average)
    rv.save(average.state_dict(), tmp_path / "average.safetensors")
    other = AveragedModel(networks(3))
    other.load_state_dict(rv.load(tmp_path / "average.safetensors"))
    assert other.n_averaged.item() == UPDATES
    for p, q in zip(average.parameters(), other.parameters(), strict=True):
        np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    rv.save(average.module, tmp_path / "model.safetensors")
    loaded = rv.load(tmp_path / "model.safetensors")
    np.testing.assert_array_equal(
        loaded(np.ones((1, 3), np.float32)).detach().numpy(),
        average(np.ones((1, 3), np.float32)).detach().numpy(),
    )


class WithBuffers(nn.Module):
    """A weight, a running mean and a count, as batch norm has them."""

    def __init__(self):
        super().__init__()
        self.weight = nn.Parameter(rv.zeros(2))
        self.register_buffer("mean", rv.zeros(2))
        self.register_buffer("count", rv.tensor(0))
        self.momentum = 0.1

    def reset_running_stats(self):
        self.mean._array[...] = 0
        self.count._array[...] = 0

    def forward(self, x):
        if self.training:
            self.count._array[...] += 1
            share = 1 / float(self.count.item()) if self.momentum is None else self.momentum
            self.mean._array[...] += share * (x._array.mean(0) - self.mean._array)
        return x * self.weight


@pytest.mark.parametrize("use_buffers", [True, False])
def test_buffers(use_buffers):
    model = WithBuffers()
    average = AveragedModel(model, use_buffers=use_buffers)
    for value in (2, 4):
        model.mean._array[...] = model.count._array[...] = value
        average.update_parameters(model)
    expected = 3 if use_buffers else 4
    assert average.module.count.item() == expected
    assert average.module.mean.tolist() == [expected] * 2


def test_update_bn():
    model = nn.Sequential(WithBuffers()).eval()
    model[0].mean._array[...] = 7
    batches = [rv.tensor([[1.0, 2.0]]), (rv.tensor([[3.0, 6.0]]), "target")]
    update_bn(batches, model)
    assert model[0].mean.tolist() == [2.0, 4.0]
    assert model[0].momentum == 0.1
    assert not model.training
    update_bn([], networks())  # nothing to do


def test_wrong_settings():
    refused(ValueError, "[get_ema_multi_avg_fn] got decay 1.5; expected 0", get_ema_multi_avg_fn, 1.5)
    refused(ValueError, "[AveragedModel] got avg_fn and", AveragedModel, networks(), None, abs, abs)
    text = "[AveragedModel] got a model of other parameters"
    refused(ValueError, text, AveragedModel(networks()).update_parameters, nn.Linear(3, 4))
    refused(ValueError, "[SWALR] got anneal_epochs -1", SWALR, rv.optim.SGD([rv.ones(1)]), 0.1, -1)
    refused(ValueError, "[SWALR] got anneal_strategy 'x'", SWALR, rv.optim.SGD([rv.ones(1)]), 0.1, 1, "x")


def test_update_bn_of_batch_norm(torch):
    x = np.random.default_rng(0).standard_normal((4, 8, 3)).astype(np.float32)
    ours, theirs = nn.Sequential(nn.BatchNorm1d(3)), torch.nn.Sequential(torch.nn.BatchNorm1d(3))
    update_bn([rv.tensor(b) for b in x], ours)
    torch.optim.swa_utils.update_bn([torch.tensor(b) for b in x], theirs)
    state = ours.state_dict()
    for name, value in theirs.state_dict().items():
        limit = tolerance("float32", 4 * 8, 2.0)  # means over 4 batches of 8 values, or their squares
        np.testing.assert_allclose(np.asarray(state[name]), value.numpy(), rtol=0, atol=limit)


@pytest.mark.parametrize("decay", [None, 0.0, 0.75])
def test_weight_of_the_next_value(decay):
    count = np.array(0)
    weights = [_core.average_weight(count, decay)[0] for _ in range(3)]
    assert weights == ([1, 1 / 2, 1 / 3] if decay is None else [1, 1 - decay, 1 - decay])
    assert count == 3


def test_towards_by_one_is_the_value():
    p, v = np.full(300, 1e9, np.float32), np.linspace(0, 1, 300, dtype=np.float32)
    _core.move_parameters([p], [v], np.ones(1), True)
    np.testing.assert_array_equal(p, v)
