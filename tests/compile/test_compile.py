"""rv.compile: a replayed step gives the bits of the eager one, or says why it cannot."""

import cProfile
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.staleness.small import classifies
from ranvier import nn
from ranvier.compile import compiled
from support.strict import strict


def test_training_and_evaluation_have_a_program_each():
    model = nn.BatchNorm1d(3)
    forward, x = strict(lambda x: model(x).detach()), rv.randn(4, 3)
    for number in range(8):
        model.train(number % 2 == 0)
        forward(x)
    assert len(forward.programs) == 2


@pytest.mark.parametrize(("verify", "recorded"), [(3, 1 + 1 + 2), (1, 1 + 5), (False, 1 + 1), (True, 1 + 3)])
def test_the_check_is_repeated_as_verify_says(monkeypatch, verify, recorded):
    """With 3: the recording, the first check, then one after three replays each; else at calls 2, 4 and 8."""
    calls = []
    monkeypatch.setattr(
        compiled,
        "record",
        lambda *args, record=compiled.record, **more: calls.append(1) or record(*args, **more),
    )
    step = strict(lambda x: x + 1, verify=verify)
    for i in range(10):
        assert step(rv.full((2,), float(i))).tolist() == [i + 1.0] * 2
    assert len(calls) == recorded


def test_settings_that_change_inside_the_step_are_refused():
    model = nn.Linear(7, 3)
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    schedule = rv.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    inner = classifies(model, optimizer)

    def with_schedule(x, y):
        loss = inner(x, y)
        schedule.step()
        return loss

    def by_hand(x, y):
        loss = inner(x, y)
        optimizer.param_groups[0]["lr"] *= 0.9
        return loss

    x, y = rv.ones(5, 7), rv.tensor([0, 1, 2, 0, 1])
    with pytest.raises(rv.CaptureError, match=r"schedule's step\(\) at .*test_compile.py"):
        strict(with_schedule)(x, y)
    compiled = strict(by_hand)
    compiled(x, y)
    with pytest.raises(rv.CaptureError, match="the step changes the settings of the variable optimizer"):
        compiled(x, y)


@pytest.mark.parametrize("verify", [True, False])
def test_a_mask_that_the_first_call_keeps(verify):
    masks = {}

    def function(x):
        if x.shape not in masks:
            masks[x.shape] = rv.ones(x.shape).tril()
        return x * masks[x.shape]

    step = strict(function, verify=verify)
    for size in (3, 4, 3, 4, 3, 4, 3, 4):
        x = rv.randn(size, size)
        np.testing.assert_array_equal(step(x).numpy(), np.tril(x.numpy()))
    assert len(step.programs) == 2


def test_a_profiler_continues_after_a_recording():
    profile = cProfile.Profile()
    profile.enable()
    step, x = strict(lambda x: x * 2), rv.ones(3)
    for _ in range(3):
        step(x)
    sum([1, 2])
    profile.disable()
    names = [entry.code for entry in profile.getstats()]
    assert any("sum" in str(name) for name in names)
    events = []
    sys.setprofile(lambda frame, event, arg: events.append(event))
    try:
        strict(lambda x: x * 3)(x)
        before = len(events)
        sum([1, 2])
    finally:
        sys.setprofile(None)
    assert len(events) > before


def test_a_compiled_step_within_another_is_a_part_of_it():
    inner = strict(lambda x: x * 2)
    outer = strict(lambda x: inner(x) + 1)
    for i in range(6):
        assert outer(rv.full((2,), float(i))).tolist() == [2.0 * i + 1] * 2
        assert inner(rv.full((2,), float(i))).tolist() == [2.0 * i] * 2
    assert len(outer.programs[0].instructions) == 2


def test_a_step_refused_with_gradients_is_captured_without():
    w = rv.ones(3).requires_grad_()
    fast = rv.compile(lambda x: x * w)
    with pytest.warns(UserWarning, match="gradients can still be computed"):
        fast(rv.ones(3))
    with rv.no_grad():
        for _ in range(3):
            fast(rv.ones(3))
    assert len(fast.programs) == 1


def test_a_long_list_among_the_arguments_is_not_looked_at():
    fast = rv.compile(lambda x, v: x * len(v))
    with pytest.warns(UserWarning, match="an argument with 300 items"):
        fast(rv.ones(3), [1.0] * 300)
