"""What replays take from the call: modes, the random stream, gradients, numbers made inside; models."""

import cProfile
import sys

import numpy as np
import pytest
import ranvier as rv
from compile.beside import bits, drawn, names, played, same
from ranvier import nn
from support.strict import strict


def added(total, x):
    total += x.sum(0).to(total.dtype)
    return total * 1


def masked():
    """The first call of each shape makes a mask and keeps it."""
    masks = {}

    def step(x):
        if x.shape not in masks:
            masks[x.shape] = rv.ones(x.shape).tril()
        return x * masks[x.shape]

    return step


def of_modes():
    model = nn.BatchNorm1d(3)
    return (lambda x: model(x).detach()), model


def accumulated(backwards):
    def make():
        w = nn.Parameter(rv.ones(3))

        def step(x):
            for _ in range(backwards):
                (w * x).sum().backward()

        return step, w, [w]

    return make


def train_or_eval(number, model):
    model.train(number % 2 == 0)


def of_sizes(number):
    return drawn((3 + number % 2,) * 2)(number)


# What makes a step of x (4, 3), the number of programs, the inputs, and what happens between calls.
ROWS = {
    **{
        name: (lambda step=step: step, 1)
        for name, step in {
            "an array as a Tensor": lambda x: rv.tensor(x, dtype=rv.float64).sum(),
            "an array as integers": lambda x: rv.tensor(x, dtype=rv.int64) * 2,
            "a row of numbers": lambda x: x * rv.tensor([1.0, 2.0, 3.0]),
            "a column of integers": lambda x: x * rv.tensor([[1], [2], [3], [4]]),
            "as_tensor": lambda x: x * rv.as_tensor([1.0, 2.0, 3.0]),
            "places": lambda x: x[rv.arange(4), rv.tensor([0, 1, 2, 0])],
            "booleans": lambda x: x * rv.tensor([True, False, True]),
            "a constant": lambda x: x + rv.constant(np.full(3, 2, np.float32)),
            "a sum that the step begins": lambda x: added(rv.tensor([0.0, 0.0, 0.0]), x),
            "a sum of integers": lambda x: added(rv.tensor([1, 2, 3]), x),
            "a copy of integers": lambda x: (x.long().clone(), (x > 1).clone()),
            "random numbers": lambda x: x * rv.rand(3) + rv.randn(4, 3),
        }.items()
    },
    "a mask that the first call keeps": (masked, 2, of_sizes),
    "training and evaluation": (of_modes, 2, drawn((4, 3)), train_or_eval),
    "gradients added to": (accumulated(1), 2),
    "gradients added to twice": (accumulated(2), 2),
}


@pytest.mark.parametrize("verify", [True, False])
@pytest.mark.parametrize("name", ROWS)
def test_as_the_eager_step(name, verify):
    make, programs, *more = ROWS[name]
    inputs, between = (*more, drawn((4, 3)), None)[:2] if len(more) != 2 else more
    step = same(make, inputs, 10, between if callable(between) else None, verify=verify)
    assert len(step.programs) == programs


def test_drawn_floats_are_new_in_each_replay():
    shown, _ = played(lambda: lambda x: x * rv.rand(3), lambda number: (rv.ones(3),), strict)
    assert len({found for (found, *_) in shown}) == len(shown)


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


def test_a_compiled_step_within_another_is_a_part_of_it():
    inner = strict(lambda x: x * 2)
    outer = same(lambda: lambda x: inner(x) + 1, drawn((2,)))
    for number in range(6):
        assert inner(rv.full((2,), number)).tolist() == [2.0 * number] * 2
    assert len(names(outer)) == 2


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


def test_equals_the_eager_forward_pass():
    model = model_of().eval()
    fast = strict(model)
    for n in (6, 1, 6, 1, 6, 1, 3, 6):
        found = fast(X[:n])
        assert (found.requires_grad, found.grad_fn) == (False, None)
        assert bits(found) == bits(model(X[:n]))
    assert len(fast.programs) == 3


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


def test_several_inputs_and_outputs():
    class Two(nn.Module):
        def __init__(self):
            super().__init__()
            self.a, self.b = nn.Linear(3, 2), nn.Linear(4, 2)

        def forward(self, x, y, scale=1.0):
            both = self.a(x) + self.b(y)
            return {"sum": both * scale, "both": (both, both.relu())}

    model = Two().eval()
    fast, x, y = strict(model), np.ones((5, 3), np.float32), np.ones((5, 4), np.float32)
    for scale in (1.0, 2.0) * 3:
        assert bits(fast(x, y, scale=scale)) == bits(model(x, y, scale=scale))
    assert len(fast.programs) == 2
