"""The layers that normalise: state, modes, statistics, errors."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
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
    """Of 1 and -1 in turn: the mean is 0, the variance 1, along all axes."""
    x = rv.tensor((-1.0) ** np.indices((2, 4, 6)).sum(0)).float()
    np.testing.assert_allclose(layer(x).detach(), x / 1.3**0.5, rtol=1e-6)


def test_modes():
    layer, x = nn.BatchNorm1d(2, momentum=0.5), rv.tensor([[1.0, 5.0], [3.0, 5.0]])
    np.testing.assert_allclose(layer(x).numpy(force=True), [[-1, 0], [1, 0]], atol=1e-5)
    assert layer.running_mean.tolist() == [1.0, 2.5]
    assert layer.running_var.tolist() == [1.5, 0.5]
    assert layer.num_batches_tracked.item() == 1
    layer.eval()
    want = (x.numpy() - [1.0, 2.5]) / np.sqrt(np.array([1.5, 0.5]) + 1e-5)
    np.testing.assert_allclose(layer(x).numpy(force=True), want, rtol=1e-6)
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
    np.testing.assert_allclose(
        layer(rv.tensor([[1.0, 5.0], [3.0, 7.0]])).numpy(force=True)[0], [-1, -1], atol=1e-4
    )


def test_arrays_and_dtypes():
    """Arrays come in the layer's dtype; double() takes the statistics along, but not the count."""
    for layer in (nn.BatchNorm1d(2), nn.BatchNorm1d(2, affine=False)):
        assert layer(np.random.default_rng(0).normal(size=(4, 2))).dtype == np.float32
        layer.double()
        assert layer.running_var.dtype == np.float64
        assert layer.num_batches_tracked.dtype == np.int64
        assert layer(np.ones((4, 2), np.float32)).dtype == np.float64
        assert layer.num_batches_tracked.item() == 2


def test_summary(capsys):
    model = nn.Sequential(nn.Conv2d(1, 4, 3), nn.BatchNorm2d(4), nn.Flatten(), nn.LayerNorm(16))
    found = rv.summary(model, (1, 4, 4))
    assert [row.parameters for row in found.layers] == [40, 8, 0, 32]
    assert found.layers[1].output_shape == ("N", 4, 2, 2)
    assert "1 BatchNorm2d  (N, 4, 2, 2)           8" in capsys.readouterr().out


def test_frozen_statistics_are_not_touched_by_summary():
    model = nn.Sequential(nn.Linear(3, 4), nn.BatchNorm1d(4))
    rv.summary(model, (3,))
    assert model[1].num_batches_tracked.item() == 0
    assert model[1].training


@pytest.mark.parametrize(
    ("layer", "shape", "message"),
    [
        (nn.BatchNorm1d(3), (2, 3, 4, 4), "[batch_norm] got x of shape (2, 3, 4, 4); expected 2 dimensions"),
        (nn.BatchNorm2d(3), (2, 3), "[batch_norm] got x of shape (2, 3); expected 4 dimensions (N, C, H, W)"),
        (nn.BatchNorm1d(3), (2, 4), "[batch_norm] got x with 4 channels; expected num_features, 3"),
        (nn.BatchNorm1d(3), (1, 3), "[batch_norm] got x of shape (1, 3) when training; expected more than 1"),
        (nn.GroupNorm(4, 4), (1, 4), "[group_norm] got x of shape (1, 4) in 4 groups; expected more than 1"),
        (nn.InstanceNorm1d(3), (2, 3, 1), "[instance_norm] got x of shape (2, 3, 1); expected"),
        (nn.LayerNorm(3), (2, 4), "[layer_norm] got x of shape (2, 4) and normalized_shape (3,); expected"),
    ],
)
def test_wrong_inputs(layer, shape, message):
    refused(ValueError, message, layer, rv.ones(*shape))


def test_wrong_settings():
    refused(
        ValueError, "[group_norm] got 3 num_groups and 4 num_channels; expected a divisor", nn.GroupNorm, 3, 4
    )
    refused(
        ValueError, "[layer_norm] got normalized_shape -1; expected sizes of at least 0", nn.LayerNorm, -1
    )


def test_running_statistics_of_other_shapes_are_refused():
    x = rv.ones(2, 3, 4)
    refused(
        ValueError,
        "[instance_norm] got a running statistic (2,); expected both, of shape (3,)",
        lambda: rv.nn.functional.instance_norm(x, rv.zeros(2), rv.ones(2)),
    )
    refused(ValueError, "got a running statistic None", rv.nn.functional.instance_norm, x, rv.zeros(3))
