"""State dicts of every optimizer and schedule, copied or in a checkpoint file, and back, bit for bit."""

import copy

import numpy as np
import pytest
import ranvier as rv
from optim.problem import CASES, IDS, gradient, start
from optim.schedules import CASES as SCHEDULES
from optim.schedules import advance, optimizer_of, schedules_of
from ranvier.serialization.files import read_checkpoint, write_checkpoint


def through_a_file(path, state):
    write_checkpoint(path / "state.safetensors", state)
    return read_checkpoint(path / "state.safetensors")


@pytest.mark.parametrize(("name", "settings"), CASES, ids=IDS)
@pytest.mark.parametrize(("dtype", "in_a_file"), [("float64", False), ("float32", True)])
def test_optimizer_continues(tmp_path, name, settings, dtype, in_a_file):
    def walk(p, optimizer, steps):
        for step in steps:
            p.grad = rv.tensor(gradient(p.detach().numpy(), step).astype(dtype))
            optimizer.step()

    p = rv.tensor(start().astype(dtype), requires_grad=True)
    optimizer = getattr(rv.optim, name)([p], **settings)
    walk(p, optimizer, range(5))
    q = rv.tensor(p.detach().numpy().copy(), requires_grad=True)
    again = getattr(rv.optim, name)([q], lr=9.0)
    state = optimizer.state_dict()
    again.load_state_dict(through_a_file(tmp_path, state) if in_a_file else copy.deepcopy(state))
    assert again.param_groups[0]["lr"] == settings["lr"]
    walk(p, optimizer, range(5, 9))
    walk(q, again, range(5, 9))
    np.testing.assert_array_equal(p.detach().numpy(), q.detach().numpy())


@pytest.mark.parametrize("name", SCHEDULES)
def test_schedule_continues(tmp_path, name):
    optimizer, again = optimizer_of(rv), optimizer_of(rv)
    schedules, others = schedules_of(rv, name, optimizer), schedules_of(rv, name, again)
    for step in range(5):
        advance(schedules, step)
    again.load_state_dict(through_a_file(tmp_path, optimizer.state_dict()))
    for schedule, other in zip(schedules, others, strict=True):
        other.load_state_dict(through_a_file(tmp_path, schedule.state_dict()))
    for step in range(5, 15):
        advance(schedules, step)
        advance(others, step)
        for group, same in zip(optimizer.param_groups, again.param_groups, strict=True):
            assert (group["lr"], group["momentum"]) == (same["lr"], same["momentum"])
