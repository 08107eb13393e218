"""Normalisation of activations and of weights: statistics and results by their formulas, in NumPy, and
trajectories of weight_norm and spectral_norm as PyTorch's, if it is installed."""

import copy
import importlib
import pickle

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import utils
from support.refused import refused

STATE = ["weight", "bias", "running_mean", "running_var", "num_batches_tracked"]


def test_state_dict_of_batch_norm():
    layer = nn.BatchNorm2d(3)
    state = layer.state_dict()
    assert list(state) == STATE
    assert [state[key].shape for key in state] == [(3,)] * 4 + [()]
    assert state["num_batches_tracked"].dtype == np.int64
    assert len(list(layer.parameters())) == 2
    assert [name for name, _ in layer.named_buffers()] == STATE[2:]


EPS = [nn.GroupNorm(2, 4, 0.3), nn.BatchNorm1d(4, 0.3), nn.InstanceNorm1d(4, 0.3)]


@pytest.mark.parametrize("layer", [*EPS, nn.LayerNorm(6, 0.3), nn.RMSNorm(6, 0.3)], ids=str)
def test_eps(layer):
    """The elements are 1 and -1 in turn: the mean is 0 and the variance 1 along all axes."""
    x = rv.tensor((-1.0) ** np.indices((2, 4, 6)).sum(0)).float()
    np.testing.assert_allclose(layer(x).detach(), x / 1.3**0.5, rtol=1e-6)


def test_modes():
    layer, x = nn.BatchNorm1d(2, momentum=0.5), rv.tensor([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_allclose(layer(x).detach(), [[-1, 0], [1, 0]], atol=1e-5)
    assert layer.running_mean.tolist() == [1.0, 2.5]
    assert layer.running_var.tolist() == [1.5, 0.5]
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    want = (x.numpy() - [1.0, 2.5]) / np.sqrt(np.array([1.5, 0.5]) + 1e-5)
    np.testing.assert_allclose(layer(x).detach(), want, rtol=1e-6)
    layer(x[:1])  # one value will do
    assert layer.num_batches_tracked.item() == 1
    state = {name: value for name, value in layer.state_dict().items() if name != "num_batches_tracked"}
    assert layer.load_state_dict(state).missing_keys == []  # as PyTorch's of old files
    layer.reset_running_stats()
    assert layer.running_mean.tolist() == [0, 0]
    assert layer.num_batches_tracked.item() == 0
    with rv.no_grad():
        layer.train()(x)
    assert layer.num_batches_tracked.item() == 1


def test_no_running_statistics():
    layer = nn.BatchNorm1d(2, track_running_stats=False).eval()
    assert list(layer.state_dict()) == ["weight", "bias"]
    assert layer.running_mean is None
    np.testing.assert_allclose(layer(rv.tensor([[1.0, 5.0], [3.0, 7.0]])).detach()[0], [-1, -1], atol=1e-4)


def test_arrays_and_dtypes():
    """Arrays come in the layer's dtype; double() takes the statistics along, but not the count."""
    for layer in (nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False)):
        assert layer(np.random.default_rng(0).normal(size=(4, 2))).dtype == np.float32
        layer.double()
        assert layer.running_var.dtype == np.float64
        assert layer.num_batches_tracked.dtype == np.int64
        assert layer(np.ones((4, 2), np.float32)).dtype == np.float64
        assert layer.num_batches_tracked.item() == 2


def test_wrong_settings():
    text = "[group_norm] got 3 num_groups and 4 num_channels; expected a divisor"
    refused(ValueError, text, nn.GroupNorm, 3, 4)
    text = "[layer_norm] got normalized_shape -1; expected sizes of at least 0"
    refused(ValueError, text, nn.LayerNorm, -1)


# weight_norm and spectral_norm: against formulas in NumPy, and PyTorch where installed.


KINDS = {"weight_norm": utils.weight_norm, "spectral_norm": utils.spectral_norm}
REMOVE = {"weight_norm": utils.remove_weight_norm, "spectral_norm": utils.remove_spectral_norm}
CASES = [*(("weight_norm", dim) for dim in (0, 1, None, -1)), ("spectral_norm", 0)]
LAYERS = {
    "Linear": (lambda nn: nn.Linear(3, 4), (5, 3)),
    "Conv2d": (lambda nn: nn.Conv2d(3, 4, 3), (2, 3, 6, 6)),
    "ConvTranspose2d": (lambda nn: nn.ConvTranspose2d(3, 4, 3), (2, 3, 6, 6)),
}


def test_weight_norm_keeps_the_weight():
    layer = nn.Linear(3, 4)
    before = layer.weight.detach().numpy().copy()
    assert utils.weight_norm(layer) is layer
    np.testing.assert_allclose(layer.weight.detach(), before, rtol=1e-6)
    np.testing.assert_allclose(
        layer.weight_g.detach(), np.linalg.norm(before, axis=1, keepdims=True), rtol=1e-6
    )
    with rv.no_grad():
        layer.weight_g.mul_(2)
    np.testing.assert_allclose(layer.weight.detach(), 2 * before, rtol=1e-6)


@pytest.mark.parametrize(
    ("norm", "original", "vector"),
    [
        (utils.spectral_norm, "weight_orig", "weight_u"),
        (
            utils.parametrizations.spectral_norm,
            "parametrizations.weight.original",
            "parametrizations.weight.0._u",
        ),
    ],
)
def test_spectral_norm_divides_by_the_greatest_singular_value(norm, original, vector):
    layer = norm(nn.Linear(6, 4), n_power_iterations=200)
    weight = layer.get_parameter(original).detach().numpy()
    np.testing.assert_allclose(layer.weight.detach(), weight / np.linalg.svd(weight)[1][0], rtol=1e-4)
    layer.eval()
    before = layer.get_buffer(vector).numpy().copy()
    layer(rv.ones(6)).sum().backward()
    np.testing.assert_array_equal(layer.get_buffer(vector), before)
    refused(ValueError, "n_power_iterations 0", norm, nn.Linear(2, 2), n_power_iterations=0)


def run(library, kind, make, shape, dim):
    """Three steps of SGD, what state_dict has then, and the outputs before and after the removal."""
    rng = np.random.RandomState(0)
    names = library.nn.utils
    layer = getattr(names, kind)(make(library.nn), **({"dim": dim} if kind == "weight_norm" else {}))
    with library.no_grad():
        for _, value in sorted([*layer.named_parameters(), *layer.named_buffers()]):
            value.copy_(library.tensor(rng.uniform(0.2, 1, tuple(value.shape)).astype(np.float32)))
    x = library.tensor(rng.normal(size=shape).astype(np.float32))
    optimizer, found = library.optim.SGD(layer.parameters(), lr=0.1), []
    for _ in range(3):
        loss = (layer(x) ** 2).mean()
        optimizer.zero_grad()
        loss.backward()
        found += [p.grad.numpy().copy() for _, p in sorted(layer.named_parameters())]
        optimizer.step()
    layer.eval()
    found += [v.numpy().copy() for _, v in sorted(layer.state_dict().items())]
    keys, found = sorted(layer.state_dict()), [*found, layer(x).detach().numpy()]
    getattr(names, f"remove_{kind}")(layer)
    return keys, sorted(layer.state_dict()), [*found, layer(x).detach().numpy()]


@pytest.mark.filterwarnings("ignore")  # PyTorch's newer names for these functions
@pytest.mark.parametrize(("kind", "dim"), CASES)
@pytest.mark.parametrize("layer", LAYERS)
def test_as_in_pytorch(layer, kind, dim, torch):
    *names, found = run(rv, kind, *LAYERS[layer], dim)
    *their_names, wanted = run(torch, kind, *LAYERS[layer], dim)
    assert names == their_names
    for a, b in zip(found, wanted, strict=True):
        np.testing.assert_allclose(a, b, rtol=1e-4, atol=1e-6)


@pytest.mark.parametrize("kind", KINDS)
def test_copies_files_and_removal(kind, tmp_path):
    layer = KINDS[kind](nn.Linear(3, 4)).eval()
    x = rv.ones(2, 3)
    y = layer(x).tolist()
    assert isinstance(layer, nn.Linear)
    assert "_reweighted" not in repr(layer)
    for twin in (copy.deepcopy(layer), pickle.loads(pickle.dumps(layer))):
        assert twin(x).tolist() == y
    other = KINDS[kind](nn.Linear(3, 4)).eval()
    other.load_state_dict(layer.state_dict())
    assert other(x).tolist() == y
    assert REMOVE[kind](layer) is layer
    assert type(layer) is nn.Linear
    np.testing.assert_allclose(layer(x).tolist(), y, rtol=1e-6)


def test_two_weights_of_a_recurrent_layer():
    layer, x = nn.LSTM(3, 4), rv.ones(2, 1, 3)
    y = layer(x)[0].tolist()
    for name in ("weight_hh_l0", "weight_ih_l0"):
        utils.weight_norm(layer, name)
    z = layer(x)[0]
    z.sum().backward()
    np.testing.assert_allclose(z.tolist(), y, rtol=1e-5)
    assert all(p.grad is not None for p in layer.parameters())
    for name in ("weight_hh_l0", "weight_ih_l0"):
        utils.remove_weight_norm(layer, name)
    assert type(layer) is nn.LSTM


@pytest.mark.parametrize("kind", KINDS)
def test_refused(kind):
    with pytest.raises(ValueError, match=rf"\[{kind}\] got 'other'; expected a parameter of Linear"):
        KINDS[kind](nn.Linear(2, 2), "other")
    with pytest.raises(ValueError, match=rf"\[{kind}\] got 'weight', which is computed already"):
        KINDS[kind](KINDS[kind](nn.Linear(2, 2)))
    with pytest.raises(ValueError, match=rf"\[remove_{kind}\] got 'weight'; expected a parameter that is"):
        REMOVE[kind](nn.Linear(2, 2))


def test_weight_norm_as_a_parametrization():
    layer, former = nn.Linear(3, 4), nn.Linear(3, 4)
    former.load_state_dict(layer.state_dict())
    before = layer.weight.detach().numpy().copy()
    utils.weight_norm(former, dim=1)
    assert utils.parametrizations.weight_norm(layer, dim=1) is layer
    np.testing.assert_allclose(layer.weight.detach(), before, rtol=1e-6)
    x = rv.randn(5, 3)
    for each in (layer, former):
        (each(x) ** 2).sum().backward()
    parts = layer.parametrizations.weight
    np.testing.assert_allclose(parts.original0.grad, former.weight_g.grad, rtol=1e-5)
    np.testing.assert_allclose(parts.original1.grad, former.weight_v.grad, rtol=1e-5, atol=1e-5)
    with rv.no_grad():
        former.weight_g.mul_(2)
    twin = pickle.loads(pickle.dumps(copy.deepcopy(layer)))
    twin.load_state_dict(former.state_dict())  # with the names of nn.utils.weight_norm
    np.testing.assert_allclose(twin.weight.detach(), 2 * before, rtol=1e-6)
    twin.weight = rv.ones(4, 3)
    assert twin.parametrizations.weight.original0.tolist() == [[2.0, 2.0, 2.0]]
    utils.parametrize.remove_parametrizations(twin, "weight")
    assert sorted(twin.state_dict()) == ["bias", "weight"]
    np.testing.assert_allclose(twin.weight.detach(), np.ones((4, 3)), rtol=1e-6)
    with pytest.raises(ValueError, match="expected one original"):
        utils.parametrize.remove_parametrizations(layer, "weight", leave_parametrized=False)


def test_spectral_norm_of_a_vector():
    line = utils.parametrizations.spectral_norm(nn.LayerNorm(4))
    np.testing.assert_allclose(line.weight.detach(), np.full(4, 0.5), rtol=1e-6)


@pytest.mark.parametrize("name", ["weight_norm", "spectral_norm"])
def test_parametrizations_have_the_names_of_pytorch(name, torch):
    ours, theirs = (
        getattr(lib.nn.utils.parametrizations, name)(lib.nn.Conv2d(2, 3, 3))
        for lib in (rv, importlib.import_module("torch"))
    )
    assert {k: tuple(v.shape) for k, v in ours.state_dict().items()} == {
        k: tuple(v.shape) for k, v in theirs.state_dict().items()
    }
    ours.load_state_dict({k: v.numpy() for k, v in theirs.state_dict().items()})
    ours.eval(), theirs.eval()
    np.testing.assert_allclose(ours.weight.detach(), theirs.weight.detach().numpy(), rtol=1e-5, atol=1e-7)
