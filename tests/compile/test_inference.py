"""strict(model): the forward pass of a model in evaluation mode, without a tape."""

from collections import OrderedDict
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from support.strict import strict

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
    fast = strict(model)
    for n in (6, 1, 6, 1, 6, 1, 3, 6):
        expected = model(X[:n])
        found = fast(X[:n])
        assert not found.requires_grad
        assert found.grad_fn is None
        np.testing.assert_array_equal(found.numpy(), expected.detach().numpy())
    assert len(fast.programs) == 3


def test_training_mode_runs_eagerly_unless_there_is_no_tape():
    model = model_of()
    fast = strict(model)
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
    fast = strict(model)
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
    fast = strict(model.eval())
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
    fast = strict(nn.Identity().eval())
    for i in range(5):
        x = (i / 2 < X).astype(dtype)
        found = fast(x).numpy()
        assert found.dtype == dtype
        np.testing.assert_array_equal(found, x)
    assert fast.programs


def test_an_argument_among_the_results():
    fast = strict(Both().eval())
    for i in range(5):
        found = fast(X + i)
        np.testing.assert_array_equal(found["given"], X + i)
        np.testing.assert_array_equal(found["made"][0], (X + i) * 2)
        np.testing.assert_array_equal(found["made"][1], X + i)
    assert fast.programs


class Named(NamedTuple):
    first: object
    second: object


@dataclass(frozen=True)
class Output:
    first: object
    second: object
    note: str = "none"


@dataclass(slots=True)
class Slotted:
    first: object
    second: object
    inner: object = None


CONTAINERS = {
    "OrderedDict": (lambda a, b: OrderedDict(second=b, first=a), lambda y: (y["first"], y["second"])),
    "named tuple": (Named, lambda y: (y.first, y.second)),
    "dataclass": (lambda a, b: Output(a, b, "both"), lambda y: (y.first, y.second)),
    "slots": (Slotted, lambda y: (y.first, y.second)),
    "nested": (
        lambda a, b: Slotted([a], OrderedDict(inner=Output({"b": b}, None)), (Output(1, 2),)),
        lambda y: (y.first[0], y.second["inner"].first["b"]),
    ),
}


@pytest.mark.parametrize("name", CONTAINERS)
def test_containers_of_results(name):
    make, parts = CONTAINERS[name]

    class Model(nn.Module):
        def forward(self, x):
            return make(x * 2, x + 1)

    fast, eager = strict(Model().eval()), Model().eval()
    kept = [fast(X + i) for i in range(5)]
    for i, found in enumerate(kept):
        wanted = eager(rv.tensor(X + i))
        assert type(found) is type(wanted)
        assert len({id(found) for found in kept}) == 5
        for part, other in zip(parts(found), parts(wanted), strict=True):
            np.testing.assert_array_equal(part, other)
        if name == "dataclass":
            assert found.note == "both"
        if name == "OrderedDict":
            assert list(found) == ["second", "first"]
    assert fast.programs


def test_a_result_that_no_replay_can_make():
    class Bag(dict):
        pass

    class Model(nn.Module):
        def forward(self, x):
            return Bag(x=x * 2)

    with pytest.raises(
        rv.CaptureError, match=r"returns a Bag, .* tuple, list, dict, OrderedDict or dataclass"
    ):
        strict(Model().eval())(X)
    with pytest.raises(rv.CaptureError, match="returns a set, which a replay"):
        strict(lambda x: Slotted(x * 2, {1}))(rv.tensor(X))


@pytest.mark.parametrize("dtype", [np.int64, np.int32, np.uint8])
def test_integer_arguments(dtype):  # that the model does not return, but for int64
    class Model(nn.Module):
        def __init__(self):
            super().__init__()
            self.table = nn.Embedding(9, 4)

        def forward(self, index, x):
            return Output(self.table(index).sum(-1) * x, index if dtype == np.int64 else x)

    model = Model().eval()
    fast = strict(model)
    for i in range(5):
        index, x = (np.arange(6) + i).astype(dtype) % 9, np.full(6, i, np.float32)
        found, wanted = fast(index, x), model(rv.tensor(index), rv.tensor(x))
        np.testing.assert_array_equal(found.first, wanted.first.detach())
        np.testing.assert_array_equal(found.second, wanted.second)
    assert fast.programs
