"""rv.compile(model): the forward pass of a model in evaluation mode, without a tape."""

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn

X = np.random.default_rng(0).normal(size=(6, 2, 8, 8)).astype(np.float32)


def model_of(seed=0):
    rv.manual_seed(seed)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5)
    )
    model.append(nn.Linear(72, 3))
    model(X)  # sets running statistics
    return model


def test_equals_the_eager_forward_pass():
    model = model_of().eval()
    fast = rv.compile(model)
    for n in (6, 1, 6, 1, 6, 1, 3, 6):
        expected = model(X[:n])
        found = fast(X[:n])
        assert not found.requires_grad
        assert found.grad_fn is None
        np.testing.assert_array_equal(found.numpy(), expected.detach().numpy())
    assert len(fast.programs) == 3


def test_training_mode_runs_eagerly_unless_there_is_no_tape():
    model = model_of()
    fast = rv.compile(model)
    assert fast(X).requires_grad
    assert not fast.programs
    with rv.no_grad():
        rv.manual_seed(1)
        found = [fast(X).numpy() for _ in range(4)]
        assert len(fast.programs) == 1
        other = model_of()
        other(X)  # as the first call has done
        rv.manual_seed(1)
        expected = [other(X).numpy() for _ in range(4)]
    np.testing.assert_array_equal(found, expected)
    assert fast(X).requires_grad


def test_the_rest_of_the_model_is_there():
    model = model_of()
    fast = rv.compile(model)
    assert list(fast.parameters()) == list(model.parameters())
    fast.eval()
    assert not model.training
    assert fast.state_dict().keys() == model.state_dict().keys()
    with pytest.raises(AttributeError):
        fast.nothing  # noqa: B018


def test_several_inputs_and_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, x, y, scale=1.0):
            both = self.a(x) + self.b(y)
            return {"sum": both * scale, "both": (both, both.relu())}

    rv.manual_seed(0)
    model = Two().eval()
    fast = rv.compile(model)
    x, y = np.ones((5, 3), np.float32), np.ones((5, 4), np.float32)
    for scale in (1.0, 2.0, 1.0, 2.0, 1.0, 2.0):
        found, expected = fast(x, y, scale=scale), model(x, y, scale=scale)
        np.testing.assert_array_equal(found["sum"].numpy(), expected["sum"].detach().numpy())
        np.testing.assert_array_equal(found["both"][1].numpy(), expected["both"][1].detach().numpy())
    assert len(fast.programs) == 2


class FirstChannel(nn.Module):
    def forward(self, x):
        return x[:, :1]


class Both(nn.Module):
    def forward(self, x):
        return {"given": x, "made": (x * 2, x)}


@pytest.mark.parametrize(
    "model",
    [nn.Identity(), nn.Sequential(nn.Dropout2d(0.3)), nn.Flatten(), FirstChannel()],
    ids=["identity", "dropout", "flatten", "slice"],
)
def test_a_model_that_returns_its_argument(model):
    fast = rv.compile(model.eval())
    for dtype in (np.float32, np.float64):
        kept = []
        for i in range(5):
            x = (X + i).astype(dtype)
            x[0, 0, 0, :2] = [np.nan, -0.0]
            kept.append((fast(x), model(x.copy()).numpy()))
            x[...] = 1  # the result has its own memory
        for found, expected in kept:
            assert found.numpy().dtype == dtype
            assert found.numpy().tobytes() == expected.tobytes()
    assert len(fast.programs) == 2


@pytest.mark.parametrize("dtype", [np.int64, np.bool_])
def test_a_model_that_returns_integers_or_booleans(dtype):
    fast = rv.compile(nn.Identity().eval())
    for i in range(5):
        x = (i / 2 < X).astype(dtype)
        found = fast(x).numpy()
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, x)
    assert fast.programs


def test_an_argument_among_the_results():
    fast = rv.compile(Both().eval())
    for i in range(5):
        found = fast(X + i)
        np.testing.assert_array_equal(found["given"], X + i)
        np.testing.assert_array_equal(found["made"][0], (X + i) * 2)
        np.testing.assert_array_equal(found["made"][1], X + i)
    assert fast.programs


def test_a_step_that_returns_its_argument_is_refused():
    with pytest.raises(rv.CaptureError, match=r"returns one of its arguments; return a clone\(\) of it"):
        rv.compile(lambda x: x)(X)
