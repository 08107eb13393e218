"""L-BFGS: PyTorch's iterations, stored and live; line search, stopping, state.

A path of steps down a curved valley is compared with PyTorch's, up to how far its roundings move it.
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from optim.problem import closure_of
from ranvier import optim
from ranvier.optim.lbfgs import Point, strong_wolfe
from support.refused import refused

FILE = Path(__file__).with_name("lbfgs.json")
STEPS = 6
CASES = [
    {"lr": 0.5, "max_iter": 4},
    {"lr": 0.5, "max_iter": 4, "history_size": 2},
    {"max_iter": 4, "line_search_fn": "strong_wolfe"},
    {"max_iter": 5, "max_eval": 3.5, "history_size": 3, "line_search_fn": "strong_wolfe"},
    {"lr": 5.0, "max_iter": 6, "line_search_fn": "strong_wolfe"},
]
IDS = range(len(CASES))


def walk(library, settings, noise=None):
    """The parameters after each step down a curved valley, and the losses that the steps returned.

    noise: multiplies each gradient, to find out how much its rounding matters.
    """
    a = library.tensor(np.array([[-1.2, 1.0], [0.5, -0.7]]), requires_grad=True)
    b = library.tensor(np.array([2.0, 0.3, 1.1]), requires_grad=True)
    optimizer = library.optim.LBFGS([a, b], **settings)

    def closure():
        optimizer.zero_grad()
        valley = ((a[:, 1] - a[:, 0] ** 2) ** 2 * 3 + (1 - a[:, 0]) ** 2).sum()
        loss = valley + ((b - 0.3) ** 4).sum() + (b[0] * a[0, 0] - b[1]) ** 2
        loss.backward()
        if noise is not None:
            for p in (a, b):
                p.grad._array[...] *= noise(p.grad._array.shape)
        return loss

    path = []
    for _ in range(STEPS):
        loss = optimizer.step(closure)
        path.append([*a.detach().numpy().reshape(-1), *b.detach().numpy(), float(loss.item())])
    return np.array(path), optimizer


def roundings(settings):
    """How far the path moves for a relative change of every gradient, scaled down to its rounding.

    A gradient here and the direction that comes of it take about 60 operations on 7 numbers, a dozen for
    each pair of the history (at most max_iter STEPS of them) beside 40 for the gradient itself.
    """
    rng, change = np.random.default_rng(0), 2.0**-30
    path = walk(rv, settings)[0]
    moves = [
        np.abs(walk(rv, settings, lambda shape: 1 + change * rng.choice([-1.0, 1.0], shape))[0] - path)
        for _ in range(8)
    ]
    operations = 40 + 12 * settings["max_iter"] * STEPS
    return np.max(moves, 0) / change * operations * np.finfo(float).eps + np.finfo(float).eps * np.abs(path)


@pytest.mark.parametrize("index", IDS)
def test_path_is_pytorchs(index, isa):
    saved = np.array(json.loads(FILE.read_text())[index])
    assert (np.abs(walk(rv, CASES[index])[0] - saved) <= roundings(CASES[index])).all()


@pytest.mark.parametrize("index", IDS)
def test_path_beside_torch(index, torch):
    (ours, optimizer), (theirs, other) = (walk(library, CASES[index]) for library in (rv, torch))
    assert (np.abs(ours - theirs) <= roundings(CASES[index])).all()
    state, their_state = optimizer.state_dict()["state"][0], other.state_dict()["state"][0]
    assert set(their_state) - set(state) <= {"al"}
    for key in ("func_evals", "n_iter"):
        assert state[key] == their_state[key]
    for key in ("old_dirs", "old_stps", "ro"):
        assert len(state[key]) == len(their_state[key])


def test_a_state_of_torchs_is_taken(torch):
    _, theirs = walk(torch, CASES[2])
    a, b = (rv.tensor(np.zeros(shape), requires_grad=True) for shape in ((2, 2), (3,)))
    ours = optim.LBFGS([a, b])
    ours.load_state_dict(theirs.state_dict())
    state = ours.state[a]
    assert ours.param_groups[0]["line_search_fn"] == "strong_wolfe"
    np.testing.assert_array_equal(state["d"], theirs.state_dict()["state"][0]["d"].numpy())
    assert [type(r) for r in state["ro"]] == [rv.Tensor] * len(state["old_dirs"])


@pytest.mark.parametrize("line_search_fn", [None, "strong_wolfe"])
def test_continues_from_a_state_dict(line_search_fn):
    settings = {"max_iter": 3, "lr": 0.1, "line_search_fn": line_search_fn}
    p = rv.tensor(np.linspace(-1, 2, 5), requires_grad=True)
    optimizer = optim.LBFGS([p], **settings)
    optimizer.step(closure_of(optimizer, lambda: ((p - 1) ** 4).sum()))
    q = rv.tensor(p.detach().numpy().copy(), requires_grad=True)
    again = optim.LBFGS([q])
    saved = optimizer.state_dict()
    kept = copy.deepcopy(saved)
    again.load_state_dict(kept)
    for _ in range(3):
        optimizer.step(closure_of(optimizer, lambda: ((p - 1) ** 4).sum()))
        again.step(closure_of(again, lambda: ((q - 1) ** 4).sum()))
    np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())
    assert len(saved["state"][0]["ro"]) == len(kept["state"][0]["ro"])  # later steps left it alone


def test_finds_the_minimum_of_a_bowl():
    rng = np.random.default_rng(0)
    x = rv.tensor(rng.standard_normal((50, 4)).astype(np.float32))
    y = rv.tensor((x.numpy() @ [[1], [-2], [3], [0.5]] + 0.25).astype(np.float32))
    model = rv.nn.Linear(4, 1)
    optimizer = optim.LBFGS(model.parameters(), line_search_fn="strong_wolfe")
    closure = closure_of(optimizer, lambda: ((model(x) - y) ** 2).mean())
    for _ in range(2):
        optimizer.step(closure)
    # It stops where the loss changes by less than this, and the last changes are the smallest.
    assert closure().item() < optimizer.param_groups[0]["tolerance_change"]


def test_parameter_without_gradient_stays():
    p, q = (rv.tensor([1.0], requires_grad=True) for _ in range(2))
    optimizer = optim.LBFGS([p, q], max_iter=3)
    with rv.no_grad():
        assert optimizer.step(closure_of(optimizer, lambda: (p * p).sum())).item() == 1.0
    assert q.item() == 1.0
    assert abs(p.item()) < 1.0


def test_line_search_meets_the_wolfe_conditions():
    def at(t):
        return Point(t, (t - 3) ** 4 + 0.1 * np.sin(9 * t), None, 4 * (t - 3) ** 3 + 0.9 * np.cos(9 * t))

    for first in (0.01, 1.0, 20.0):
        start = at(0.0)
        point, count = strong_wolfe(at, start, first, 1.0, 1e-9, 25)
        assert point.f <= start.f + 1e-4 * point.t * start.slope
        assert abs(point.slope) <= 0.9 * abs(start.slope)
        assert count <= 25


def test_wrong_arguments():
    p = rv.tensor([1.0], requires_grad=True)
    refused(ValueError, "got line_search_fn 'armijo'", optim.LBFGS, [p], line_search_fn="armijo")
    refused(ValueError, "several groups", optim.LBFGS, [{"params": p}, {"params": [rv.ones(1)]}])
    with pytest.raises(TypeError, match=r"several|expected one"):
        optim.LBFGS([p, rv.ones(1).double()])
    refused(ValueError, "[lbfgs] got history_size 0", optim.LBFGS, [p], history_size=0)
    refused(ValueError, "[lbfgs] got max_eval nan", optim.LBFGS, [p], max_eval=float("nan"))
    assert optim.LBFGS([p], max_eval=float("inf")).param_groups[0]["max_eval"] > 2**60
    refused(ValueError, "[lbfgs] got no closure", optim.LBFGS([p]).step)


if __name__ == "__main__":
    import torch

    FILE.write_text(json.dumps([walk(torch, settings)[0].tolist() for settings in CASES]) + "\n")
