"""Each rule's path over a hundred steps: PyTorch's, stored and live, and the reference's."""

import functools
import json

import numpy as np
import pytest
import ranvier as rv
from optim.problem import CASES, FILE, IDS, STEPS, gradient, start, trajectory
from optim.rounding import path_and_bound
from support.grouped import grouped
from support.optimizers import KINDS


@functools.cache
def reference_path(index, dtype):
    name, settings = CASES[index]
    return path_and_bound(name, settings, dtype)


def require_within(difference, bound):
    assert (np.abs(difference) <= bound).all(), (np.abs(difference) / bound).max()


def test_every_rule_has_its_cases():
    assert KINDS.keys() == {name for name, _ in CASES}


@pytest.mark.parametrize("dtype", ["float64", "float32"])
@grouped("index", range(len(CASES)), ids=IDS)
def test_path_is_the_references(index, dtype, isa):
    expected, bound = reference_path(index, dtype)
    require_within(trajectory(rv, *CASES[index], dtype) - expected, bound)


SAVED = json.loads(FILE.read_text())


@grouped("index", range(len(SAVED["paths"])), ids=IDS[: len(SAVED["paths"])])
def test_path_is_pytorchs(index, isa):
    """Against every fourth element after a few of the steps, stored from PyTorch in float64."""
    steps = np.array(SAVED["steps"]) - 1
    path, bound = trajectory(rv, *CASES[index]), reference_path(index, "float64")[1]
    difference = path[steps].reshape(len(steps), -1)[:, ::4] - SAVED["paths"][index]
    require_within(difference, bound[steps].reshape(len(steps), -1)[:, ::4])


def walk(library, p, optimizer, steps):
    for step in steps:
        value = p.detach().numpy().astype("float64")
        p.grad = library.tensor(gradient(value, step).astype("float32"))
        optimizer.step()


@pytest.mark.parametrize("to_torch", [True, False])
@grouped("index", range(len(CASES)), ids=IDS)
def test_state_dicts_pass_between_torch_and_us(index, to_torch, torch):
    """Half of the way in one library, the other half in the other."""
    name, settings = CASES[index]
    if index >= len(SAVED["paths"]):
        assert not hasattr(torch.optim, name)
        return
    first, second = (rv, torch) if to_torch else (torch, rv)
    p = first.tensor(start().astype("float32"), requires_grad=True)
    optimizer = getattr(first.optim, name)([p], **settings)
    walk(first, p, optimizer, range(STEPS // 2))
    q = second.tensor(p.detach().numpy().copy(), requires_grad=True)
    again = getattr(second.optim, name)([q], lr=9.0)
    saved = optimizer.state_dict()
    if to_torch:
        saved["state"] = {
            i: {k: torch.tensor(v) for k, v in state.items()} for i, state in saved["state"].items()
        }
    again.load_state_dict(saved)
    walk(second, q, again, range(STEPS // 2, STEPS))
    expected, bound = reference_path(index, "float32")
    require_within(q.detach().numpy() - expected[-1], bound[-1])
