"""rv.compile: a replayed step gives the bits of the eager one, or says why it cannot."""

import cProfile
import sys

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn
from ranvier.nn import functional as F
from ranvier.program import compiled


def mlp():
    rv.manual_seed(0)
    return nn.Sequential(nn.Linear(7, 16), nn.ReLU(), nn.Linear(16, 3))


def cnn():  # no max-pool directly after a convolution: its gradients are rounded differently
    rv.manual_seed(0)
    return nn.Sequential(
        nn.Conv2d(1, 8, 3),
        nn.BatchNorm2d(8),
        nn.ReLU(),
        nn.MaxPool2d(2),
        nn.Conv2d(8, 4, 2),
        nn.Sigmoid(),
        nn.Flatten(),
        nn.Dropout(0.2),
        nn.Linear(4 * 2 * 2, 3),
    )


def batches(shape, count=6, classes=3, ragged=False):
    rng = np.random.default_rng(1)
    for i in range(count):
        n = 3 if ragged and i % 3 == 2 else 5
        yield rng.standard_normal((n, *shape)).astype(np.float32), rng.integers(0, classes, n)


def training_step(model, optimizer):
    def step(x, y):
        optimizer.zero_grad()
        loss = F.cross_entropy(model(x), y)
        loss.backward()
        optimizer.step()
        return loss

    return step


def weights(model):
    return [p.detach().numpy().copy() for p in model.parameters()]


def assert_same_run(make_model, shape, make_optimizer, ragged=False):
    runs = []
    for wrap in (lambda f: f, rv.compile):
        model = make_model()
        step = wrap(training_step(model, make_optimizer(model.parameters())))
        rv.manual_seed(7)
        losses = [step(rv.from_numpy(x), rv.from_numpy(y)).item() for x, y in batches(shape, ragged=ragged)]
        runs.append((losses, weights(model), [p.grad.numpy() for p in model.parameters()]))
    (losses, ps, gs), (losses_c, ps_c, gs_c) = runs
    assert losses == losses_c
    for a, b in zip(ps + gs, ps_c + gs_c, strict=True):
        np.testing.assert_array_equal(a, b)


@pytest.mark.parametrize("threads", [1, 2, 3])
@pytest.mark.parametrize(("make", "shape"), [(mlp, (7,)), (cnn, (1, 8, 8))])
def test_equals_the_eager_run_bit_for_bit(make, shape, threads):
    before = rv.get_num_threads()
    rv.set_num_threads(threads)
    try:
        assert_same_run(make, shape, lambda p: rv.optim.Adam(p, lr=0.01), ragged=True)
    finally:
        rv.set_num_threads(before)


def test_sees_a_learning_rate_that_changes():
    runs = []
    for wrap in (lambda f: f, rv.compile):
        model = mlp()
        optimizer = rv.optim.SGD(model.parameters(), lr=0.1, momentum=0.9)
        schedule = rv.optim.lr_scheduler.StepLR(optimizer, 2, 0.5)
        step = wrap(training_step(model, optimizer))
        for x, y in batches((7,), 8):
            step(rv.from_numpy(x), rv.from_numpy(y))
            schedule.step()
        runs.append(weights(model))
    for a, b in zip(*runs, strict=True):
        np.testing.assert_array_equal(a, b)


def test_one_program_for_each_signature():
    step = rv.compile(lambda x: rv.relu(x) + 1)
    for n in (2, 3, 2, 3):
        step(np.ones((n, 2), np.float32))
    assert len(step.programs) == 2


def test_results_stay_valid_after_the_next_call():
    step = rv.compile(lambda x: x * 2)
    results = [step(np.full(3, i, np.float32)) for i in range(5)]
    assert [r.tolist() for r in results] == [[2.0 * i] * 3 for i in range(5)]


def test_two_arguments_may_be_one_array():
    step = rv.compile(lambda a, b: a * 2 + b)
    x, z = np.ones(3, np.float32), np.zeros(3, np.float32)
    assert step(x, x).tolist() == [3.0] * 3
    assert step(x, z).tolist() == [2.0] * 3
    assert step(z, x).tolist() == [1.0] * 3


def test_an_argument_in_another_memory_order():
    step = rv.compile(lambda x: (x * 2).sum(1))
    x = np.arange(12, dtype=np.float32).reshape(3, 4)
    expected = (2 * x).sum(1)
    for form in (x, np.asfortranarray(x), np.repeat(x, 2, 1)[:, ::2], x[::-1][::-1]):
        np.testing.assert_array_equal(step(form).numpy(), expected)


def test_another_mode_gets_a_program_of_its_own():
    rv.manual_seed(0)
    model = nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3))
    forward = rv.compile(lambda x: model(x).detach())
    x = np.random.default_rng(0).standard_normal((4, 3)).astype(np.float32)
    trained = [forward(x), forward(x)][-1].numpy()
    model.eval()
    evaluated = [forward(x), forward(x)]
    assert not np.array_equal(trained, evaluated[0].numpy())
    np.testing.assert_array_equal(evaluated[0].numpy(), evaluated[1].numpy())
    np.testing.assert_array_equal(evaluated[0].numpy(), model(x).detach().numpy())
    for _ in range(3):  # and keeps it
        model.train()
        forward(x)
        model.eval()
        forward(x)
    assert len(forward.programs) == 2


def test_gradients_are_set_as_by_the_eager_step():
    model = mlp()
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    step = rv.compile(training_step(model, optimizer))
    for x, y in batches((7,), 3):
        step(x, y)
        optimizer.zero_grad()
        assert next(model.parameters()).grad is None
    step(x, y)
    assert next(model.parameters()).grad is not None


def test_a_label_out_of_range_is_refused_before_anything_changes():
    model = mlp()
    step = rv.compile(training_step(model, rv.optim.SGD(model.parameters(), lr=0.1)))
    for x, y in batches((7,), 5):
        step(x, y)
        step(x, y.astype(np.int32))
    before = weights(model)
    for labels in (np.full(5, 3), np.full(5, -1), np.full(5, 9, np.int32)):
        with pytest.raises(ValueError, match=r"\[cross_entropy\] got class index"):
            step(x, labels)
        for a, b in zip(before, weights(model), strict=True):
            np.testing.assert_array_equal(a, b)


def test_a_list_of_numbers_as_a_key_is_a_constant():
    compiled, x = rv.compile(lambda x: x[[2, 0]] * 2), np.arange(3, dtype=np.float32)
    for i in range(4):
        assert compiled(x + i).tolist() == [2 * (2 + i), 2 * i]


def test_what_a_cycle_holds_is_let_go():
    def step(x):
        y = rv.exp(x)
        cycle = [y]
        cycle.append(cycle)
        return y + 1

    compiled, x = rv.compile(step), rv.ones(3)
    for _ in range(4):
        np.testing.assert_array_equal(compiled(x).numpy(), step(x).numpy())


def test_each_of_several_results_is_new():
    step = rv.compile(lambda x: (x + 1, {"twice": [x * 2]}))
    for i in range(5):
        more, nested = step(np.full(2, i, np.float32))
        assert (more.tolist(), nested["twice"][0].tolist()) == ([i + 1.0] * 2, [2.0 * i] * 2)


@pytest.mark.parametrize("replaced", [False, True])
def test_gradients_that_are_added_to_and_get_other_memory(replaced):
    runs = []
    for is_compiled in (False, True):
        w = nn.Parameter(rv.ones(3))

        def function(x, w=w):
            loss = (x * w * w).sum()
            loss.backward()
            return loss

        step = rv.compile(function) if is_compiled else function
        seen = []
        for i in range(6):
            step(rv.full((3,), i + 1.0))
            seen.append(w.grad.tolist())
            if replaced and i in (2, 4):
                w.grad.data = rv.full((3,), 10.0)
        runs.append(seen)
    assert runs[0] == runs[1]


@pytest.mark.parametrize(("verify", "recorded"), [(3, 1 + 1 + 2), (1, 1 + 5), (False, 1 + 1), (True, 1 + 3)])
def test_the_check_is_repeated_where_asked_for(monkeypatch, verify, recorded):
    """With 3: the recording, the first check, then one after three replays each; else at calls 2, 4 and 8."""
    calls = []
    monkeypatch.setattr(
        compiled, "record", lambda *args, record=compiled.record: calls.append(1) or record(*args)
    )
    step = rv.compile(lambda x: x + 1, verify=verify)
    for i in range(10):
        assert step(np.full(2, i, np.float32)).tolist() == [i + 1.0] * 2
    assert len(calls) == recorded


def test_settings_that_change_inside_the_step_are_refused():
    model = mlp()
    optimizer = rv.optim.SGD(model.parameters(), lr=0.1)
    schedule = rv.optim.lr_scheduler.ExponentialLR(optimizer, 0.9)
    inner = training_step(model, optimizer)

    def with_schedule(x, y):
        loss = inner(x, y)
        schedule.step()
        return loss

    def by_hand(x, y):
        loss = inner(x, y)
        optimizer.param_groups[0]["lr"] *= 0.9
        return loss

    (x, y), *_ = batches((7,))
    with pytest.raises(rv.CaptureError, match=r"schedule's step\(\) at .*test_compile.py"):
        rv.compile(with_schedule)(x, y)
    compiled = rv.compile(by_hand)
    compiled(x, y)
    with pytest.raises(
        rv.CaptureError, match=r"the step changes (the items of .*|the settings of its optimizer)"
    ):
        compiled(x, y)


def test_a_tape_from_before_a_replay_notices_that_parameters_changed():
    model = mlp()
    step = rv.compile(training_step(model, rv.optim.SGD(model.parameters(), lr=0.1)))
    for x, y in batches((7,), 4):
        loss = F.cross_entropy(model(rv.from_numpy(x)), rv.from_numpy(y))
        step(x, y)
    with pytest.raises(RuntimeError, match="modified by an inplace operation"):
        loss.backward()


@pytest.mark.parametrize("verify", [True, False])
def test_a_mask_that_the_first_call_keeps(verify):
    masks = {}

    def function(x):
        if x.shape not in masks:
            masks[x.shape] = rv.ones(x.shape).tril()
        return x * masks[x.shape]

    step = rv.compile(function, verify=verify)
    for size in (3, 4, 3, 4, 3, 4, 3, 4):
        x = rv.randn(size, size)
        np.testing.assert_array_equal(step(x).numpy(), np.tril(x.numpy()))
    assert len(step.programs) == 2


def test_a_profiler_goes_on_after_a_recording():
    profile = cProfile.Profile()
    profile.enable()
    step, x = rv.compile(lambda x: x * 2), np.ones(3, np.float32)
    for _ in range(3):
        step(x)
    sum([1, 2])
    profile.disable()
    names = [entry.code for entry in profile.getstats()]
    assert any("sum" in str(name) for name in names)
    events = []
    sys.setprofile(lambda frame, event, arg: events.append(event))
    try:
        rv.compile(lambda x: x * 3)(x)
        before = len(events)
        sum([1, 2])
    finally:
        sys.setprofile(None)
    assert len(events) > before


def test_a_compiled_step_within_another_is_a_part_of_it():
    inner = rv.compile(lambda x: x * 2)
    outer = rv.compile(lambda x: inner(x) + 1)
    for i in range(6):
        assert outer(np.full(2, i, np.float32)).tolist() == [2.0 * i + 1] * 2
        assert inner(np.full(2, i, np.float32)).tolist() == [2.0 * i] * 2
    assert len(outer.programs[0].instructions) == 2
