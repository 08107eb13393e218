"""What replays take from the call: modes, the random stream, gradients; models."""

import cProfile
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits
from ranvier import nn
from support.strict import strict


def test_the_stream_that_a_step_draws_from_is_that_of_the_call():
    drop, x = nn.Dropout(0.5), rv.ones(8)

    def found(step):
        a, b = (rv.Generator().manual_seed(seed) for seed in (1, 2))
        shown = []
        for generator in (a, a, a, a, b, b, a, b):
            with rv.random.using(generator):
                shown.append(step(x).tolist())
        return shown

    step = lambda x: drop(x) * 1  # noqa: E731
    assert found(strict(step)) == found(step)


def test_a_profiler_continues_after_a_recording():
    profile = cProfile.Profile()
    profile.enable()
    step, x = strict(lambda x: x * 2), rv.ones(3)
    for _ in range(3):
        step(x)
    sum([1, 2])
    profile.disable()
    assert any("sum" in str(entry.code) for entry in profile.getstats())
    events = []
    sys.setprofile(lambda frame, event, arg: events.append(event))
    try:
        strict(lambda x: x * 3)(x)
        before = len(events)
        sum([1, 2])
    finally:
        sys.setprofile(None)
    assert len(events) > before


def test_a_step_refused_with_gradients_is_captured_without():
    w = rv.ones(3).requires_grad_()
    fast = rv.compile(lambda x: x * w)
    with pytest.warns(UserWarning, match="gradients can still be computed"):
        fast(rv.ones(3))
    with rv.no_grad():
        for _ in range(3):
            fast(rv.ones(3))
    assert len(fast.programs) == 1


# --- compiled models: the forward pass in evaluation mode, without a tape
X = np.random.default_rng(0).normal(size=(6, 2, 8, 8)).astype(np.float32)


def model_of():
    rv.manual_seed(0)
    model = nn.Sequential(
        nn.Conv2d(2, 8, 3), nn.BatchNorm2d(8), nn.ReLU(), nn.MaxPool2d(2), nn.Flatten(), nn.Dropout(0.5),
        nn.Linear(72, 3),
    )  # fmt: skip
    model(X)  # sets running statistics
    return model


def test_training_mode_runs_eagerly_unless_there_is_no_tape():
    model = model_of()
    fast = strict(model)
    assert fast(X).requires_grad
    assert not fast.programs
    with rv.no_grad():
        rv.manual_seed(1)
        found = [bits(fast(X)) for _ in range(4)]
        assert len(fast.programs) == 1
        other = model_of()
        other(X)  # as the first call has done
        rv.manual_seed(1)
        assert found == [bits(other(X)) for _ in range(4)]
    assert fast(X).requires_grad
