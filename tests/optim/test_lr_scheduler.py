"""Schedules: PyTorch's values, stored and live; state dicts; wrong settings.

`PYTHONPATH=python:tests python tests/optim/test_lr_scheduler.py`, with torch, writes schedules.json anew.
"""

import copy
import json
from pathlib import Path

import numpy as np
import pytest
import ranvier as rv
from optim.problem import Power, through_a_file
from ranvier.optim import lr_scheduler
from support.grouped import grouped
from support.refused import refused

STEPS = 24
FILE = Path(__file__).with_name("schedules.json")
LOSSES = [1, 0.9, 0.95, 0.9, 0.9, 0.9, 0.89, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.4, 0.39, 0.4, 0.4, 0.4] + [
    0.4
] * 5


def warm_up(s, o):
    parts = [s.LinearLR(o, 0.1, total_iters=4), s.CosineAnnealingLR(o, 16, eta_min=0.01)]
    return s.SequentialLR(o, parts, milestones=[4])


def nested(s, o):
    inner = s.SequentialLR(o, [s.StepLR(o, 2, 0.5), s.ExponentialLR(o, 0.8)], milestones=[2])
    parts = [inner, s.CosineAnnealingWarmRestarts(o, 3), s.ConstantLR(o, 0.5, 3)]
    return s.SequentialLR(o, parts, milestones=[4, 12])


# name -> f(lr_scheduler, optimizer)
CASES = {
    "LambdaLR": lambda s, o: s.LambdaLR(o, [Power(0.9), lambda epoch: 1 / (1 + epoch)]),
    "MultiplicativeLR": lambda s, o: s.MultiplicativeLR(o, lambda epoch: 0.9 if epoch % 2 else 0.99),
    "StepLR": lambda s, o: s.StepLR(o, step_size=5, gamma=0.3),
    "MultiStepLR": lambda s, o: s.MultiStepLR(o, milestones=[3, 7, 7, 15], gamma=0.3),
    "ConstantLR": lambda s, o: s.ConstantLR(o, factor=0.3, total_iters=7),
    "LinearLR": lambda s, o: s.LinearLR(o),
    "LinearLR down": lambda s, o: s.LinearLR(o, 0.9, 0.1, total_iters=11),
    "PolynomialLR": lambda s, o: s.PolynomialLR(o, total_iters=9, power=1.7),
    "ChainedScheduler": lambda s, o: s.ChainedScheduler(
        [s.LinearLR(o, 0.1, total_iters=4), s.PolynomialLR(o, 12, 0.5), s.StepLR(o, 5, 0.7)], o
    ),
    "ExponentialLR": lambda s, o: s.ExponentialLR(o, gamma=0.9),
    "CosineAnnealingLR": lambda s, o: s.CosineAnnealingLR(o, T_max=7, eta_min=0.02),
    "CosineAnnealingWarmRestarts": lambda s, o: s.CosineAnnealingWarmRestarts(
        o, T_0=3, T_mult=2, eta_min=0.01
    ),
    "OneCycleLR": lambda s, o: s.OneCycleLR(o, max_lr=0.7, total_steps=30),
    "OneCycleLR linear": lambda s, o: s.OneCycleLR(
        o, [0.7, 0.3], epochs=5, steps_per_epoch=6, anneal_strategy="linear", three_phase=True, pct_start=0.4
    ),
    "CyclicLR": lambda s, o: s.CyclicLR(o, 0.1, 0.5, step_size_up=3, step_size_down=5),
    "CyclicLR triangular2": lambda s, o: s.CyclicLR(o, [0.1, 0.2], 0.5, step_size_up=4, mode="triangular2"),
    "CyclicLR exp_range": lambda s, o: s.CyclicLR(o, 0.1, 0.5, step_size_up=4, mode="exp_range", gamma=0.9),
    "CyclicLR own": lambda s, o: s.CyclicLR(o, 0.1, 0.5, step_size_up=4, scale_fn=lambda x: 1 / x),
    "ReduceLROnPlateau": lambda s, o: s.ReduceLROnPlateau(
        o, factor=0.5, patience=2, cooldown=2, min_lr=[0.2, 0]
    ),
    "ReduceLROnPlateau max": lambda s, o: s.ReduceLROnPlateau(
        o, mode="max", factor=0.5, patience=1, threshold=0.02, threshold_mode="abs"
    ),
    "SequentialLR": warm_up,
    "SequentialLR nested": nested,
    "two at once": None,  # below
    "SWALR": None,
}


def optimizer_of(library, kind="SGD", kept=float):
    """With two groups, as most settings may differ between them."""
    p, q = (library.tensor([1.0], requires_grad=True) for _ in range(2))
    settings = {"momentum": 0.5} if kind == "SGD" else {"betas": (0.5, 0.9)}
    groups = [{"params": [p]}, {"params": [q], "lr": kept(0.2)}]
    optimizer = getattr(library.optim, kind)(groups, lr=kept(0.5), **settings)
    optimizer._opt_called = True  # or torch would warn that it has made no step
    return optimizer


def schedules_of(library, name, optimizer):
    """The schedules of a case, in ranvier or torch."""
    s = library.optim.lr_scheduler
    if name == "two at once":
        return [s.StepLR(optimizer, 4, 0.5), s.LinearLR(optimizer, 0.5, total_iters=6)]
    if name == "SWALR":
        return [library.optim.swa_utils.SWALR(optimizer, swa_lr=[0.05, 0.3], anneal_epochs=6)]
    return [CASES[name](s, optimizer)]


def advance(schedules, step):
    for schedule in schedules:
        if type(schedule).__name__ == "ReduceLROnPlateau":
            schedule.step(LOSSES[step])
        else:
            schedule.step()


def momentum_of(group):
    return group["betas"][0] if "betas" in group else group["momentum"]


def values(library, name, kind="SGD", kept=float):
    """Each group's rate and momentum before each step."""
    optimizer = optimizer_of(library, kind, kept)
    held = [g["lr"] for g in optimizer.param_groups]
    schedules = schedules_of(library, name, optimizer)
    rows = []
    for step in range(STEPS):
        groups = optimizer.param_groups
        rates = [float(g["lr"]) for g in groups]
        assert schedules[-1].get_last_lr() == rates
        rows.append([*rates, *map(momentum_of, groups)])
        advance(schedules, step)
    assert kept is float or all(g["lr"] is rate for g, rate in zip(optimizer.param_groups, held, strict=True))
    return rows


def test_every_schedule_has_a_case():
    assert set(lr_scheduler.__all__) - {"LRScheduler"} <= {name.split()[0] for name in CASES}


@pytest.mark.parametrize("in_memory", [False, True])
@pytest.mark.parametrize("name", CASES)
def test_values_are_pytorchs(name, in_memory):
    """Also of rates in Tensors, which are filled. Up to the C library's cosine and power, each within an ulp,
    and a dozen roundings in each step."""
    expected = np.array(json.loads(FILE.read_text())[name])
    kept = (lambda x: rv.tensor(x, dtype=rv.float64)) if in_memory else float
    rtol = 14 * STEPS * np.finfo(float).eps
    np.testing.assert_allclose(values(rv, name, kept=kept), expected, rtol=rtol, atol=1e-18)


@pytest.mark.parametrize(
    "kept",
    [
        lambda path, state: copy.deepcopy(state),
        lambda path, state: json.loads(json.dumps(state)),
        through_a_file,
    ],
    ids=["copy", "json", "file"],
)
@grouped("name", CASES)
def test_continues_from_a_state_dict(tmp_path, name, kept):
    optimizer = optimizer_of(rv)
    schedules = schedules_of(rv, name, optimizer)
    for step in range(STEPS // 2):
        advance(schedules, step)
    saved = [kept(tmp_path, schedule.state_dict()) for schedule in schedules]
    again = optimizer_of(rv)
    others = schedules_of(rv, name, again)
    again.load_state_dict(kept(tmp_path, optimizer.state_dict()))
    for schedule, state in zip(others, saved, strict=True):
        schedule.load_state_dict(state)
    for step in range(STEPS // 2, STEPS):
        assert schedules[-1].get_last_lr() == others[-1].get_last_lr()
        advance(schedules, step)
        advance(others, step)
        for group, same in zip(optimizer.param_groups, again.param_groups, strict=True):
            assert (group["lr"], group["momentum"]) == (same["lr"], same["momentum"])


@pytest.mark.parametrize("name", [name for name in CASES if name != "two at once"])
def test_state_dicts_are_pytorchs(name, torch):
    both = []
    for library in (rv, torch):
        schedules = schedules_of(library, name, optimizer_of(library))
        for step in range(5):
            advance(schedules, step)
        both.append(schedules[0].state_dict())
    ours, theirs = both
    for key in ("_get_lr_called_within_step", "mode_worse", "anneal_func"):
        theirs.pop(key, None)
    assert set(ours) >= set(theirs) - {"_schedulers"}
    for key in set(theirs) - {"_schedulers", "_is_initial"}:
        assert ours[key] == theirs[key], key


def test_last_epoch_continues():
    optimizer = optimizer_of(rv)
    first = lr_scheduler.CosineAnnealingLR(optimizer, 10)
    for _ in range(4):
        first.step()
    again = lr_scheduler.CosineAnnealingLR(optimizer, 10, last_epoch=3)  # the last one that is over
    assert again.last_epoch == first.last_epoch
    assert again.get_last_lr() == first.get_last_lr()
    with pytest.raises(KeyError, match=r"got last_epoch 3 and param_groups\[0\] without initial_lr"):
        lr_scheduler.StepLR(optimizer_of(rv), 3, last_epoch=3)


@pytest.mark.parametrize("name", ["StepLR", "MultiStepLR", "LinearLR", "ExponentialLR"])
def test_closed_form_is_the_chain(name):
    optimizer = optimizer_of(rv)
    (schedule,) = schedules_of(rv, name, optimizer)
    for _ in range(12):
        schedule.step()
    chained = schedule.get_last_lr()
    schedule.step(12)
    np.testing.assert_allclose(schedule.get_last_lr(), chained, rtol=1e-13)


@pytest.mark.parametrize(("factor", "epoch"), [(1, 2.5), (2, 0.25), (2, 3.0), (2, 11.75)])
def test_restarts_at_a_fraction_of_an_epoch(factor, epoch):
    optimizer = optimizer_of(rv)
    schedule = lr_scheduler.CosineAnnealingWarmRestarts(optimizer, 3, factor)
    schedule.step(epoch)
    length, start = 3, 0.0
    while epoch >= start + length:
        start, length = start + length, length * factor
    wave = (1 + np.cos(np.pi * (epoch - start) / length)) / 2
    np.testing.assert_allclose(schedule.get_last_lr(), [0.5 * wave, 0.2 * wave], rtol=1e-13)


def test_constant_factor_zero():
    optimizer = optimizer_of(rv)
    schedule = lr_scheduler.ConstantLR(optimizer, 0.0, total_iters=1)
    assert schedule.get_last_lr() == [0, 0]
    schedule.step()
    assert schedule.get_last_lr() == [0.5, 0.2]


def test_sequence_after_a_milestone():
    optimizer = optimizer_of(rv)
    parts = [lr_scheduler.ConstantLR(optimizer, 0.5, 9), lr_scheduler.ExponentialLR(optimizer, 0.5)]
    inner = lr_scheduler.SequentialLR(optimizer, parts, [1])
    schedule = lr_scheduler.SequentialLR(optimizer, [lr_scheduler.LinearLR(optimizer, 0.5), inner], [2])
    rates = []
    for _ in range(5):
        rates.append(schedule.get_last_lr()[0])
        schedule.step()
    np.testing.assert_allclose(rates, [0.25, 0.3, 0.25, 0.5, 0.25], rtol=1e-15)


def test_plateau_of_an_added_group():
    optimizer = optimizer_of(rv)
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, factor=0.5, patience=0)
    optimizer.add_param_group({"params": rv.ones(1), "lr": 8.0})
    schedule.step(1.0)
    schedule.step(float("nan"))
    assert schedule.get_last_lr() == [0.25, 0.1, 4.0]
    schedule = lr_scheduler.ReduceLROnPlateau(optimizer, patience=0, min_lr=[0.1, 0.1, 0.1])
    optimizer.add_param_group({"params": rv.ones(1)})
    schedule.step(1.0)
    refused(RuntimeError, "got 4 groups and min_lr for 3: a group was added later", schedule.step, 1.0)


EACH_GROUP = {
    "LambdaLR": (lambda o: lr_scheduler.LambdaLR(o, [lambda _: 1.0] * 2), "lr_lambdas"),
    "MultiplicativeLR": (lambda o: lr_scheduler.MultiplicativeLR(o, lambda _: 1.0), "lr_lambdas"),
    "CosineAnnealingLR": (lambda o: lr_scheduler.CosineAnnealingLR(o, 3), "base_lrs"),
    "CosineAnnealingWarmRestarts": (lambda o: lr_scheduler.CosineAnnealingWarmRestarts(o, 3), "base_lrs"),
    "CyclicLR": (lambda o: lr_scheduler.CyclicLR(o, 0.01, [0.1, 0.2], cycle_momentum=False), "base_lrs"),
    "ChainedScheduler": (
        lambda o: lr_scheduler.ChainedScheduler([lr_scheduler.LambdaLR(o, lambda _: 1.0)]), "lr_lambdas"
    ),
    "SequentialLR": (
        lambda o: lr_scheduler.SequentialLR(o, [lr_scheduler.LambdaLR(o, lambda _: 1.0)], []), "lr_lambdas"
    ),
}  # fmt: skip


def five_steps(schedule):
    for _ in range(5):
        schedule.step()


@pytest.mark.parametrize("name", EACH_GROUP)
def test_an_added_group_without_a_value(name):
    make, key = EACH_GROUP[name]
    optimizer = optimizer_of(rv)
    schedule = make(optimizer)
    optimizer.add_param_group({"params": rv.ones(1)})
    text = f"[{name}] got 3 groups and {key} for 2: a group was added later; expected one for each: change"
    refused(ValueError, text, five_steps, schedule)


def test_an_added_group_with_its_values():
    optimizer = optimizer_of(rv)
    schedule = lr_scheduler.LambdaLR(optimizer, lambda epoch: 0.5**epoch)
    optimizer.add_param_group({"params": rv.ones(1), "lr": 8.0})
    schedule.lr_lambdas.append(lambda _: 0.25)
    refused(ValueError, "got 3 groups and base_lrs for 2", schedule.step)
    schedule.base_lrs.append(8.0)
    schedule.step()
    assert schedule.get_last_lr()[2] == 2.0
    del optimizer.param_groups[2]
    refused(ValueError, "got 2 groups and lr_lambdas for 3: a group was removed later", schedule.step)


@pytest.mark.parametrize(
    ("make", "key"),
    [
        (lambda o: lr_scheduler.OneCycleLR(o, 0.1, total_steps=9), "initial_lr"),
        (lambda o: rv.optim.swa_utils.SWALR(o, swa_lr=0.05), "swa_lr"),
    ],
)
def test_an_added_group_without_its_entries(make, key):
    optimizer = optimizer_of(rv)
    schedule = make(optimizer)
    optimizer.add_param_group({"params": rv.ones(1)})
    with pytest.raises(KeyError, match=f"got a group without {key}: it was added later; expected a group"):
        schedule.step()


def test_own_rates_of_too_few_groups():
    class Half(lr_scheduler.LRScheduler):
        def get_lr(self):
            return [rate / 2 for rate in self.base_lrs]

    optimizer = optimizer_of(rv)
    schedule = Half(optimizer)
    optimizer.add_param_group({"params": rv.ones(1)})
    refused(ValueError, "got 3 groups and the rates of get_lr() for 2: a group was added", schedule.step)


@pytest.mark.parametrize("kind", ["LambdaLR", "MultiplicativeLR"])
def test_functions_that_return_no_number(kind):
    schedule = getattr(lr_scheduler, kind)(sgd(), lambda epoch: 1.0 if epoch == 0 else None)
    refused(TypeError, f"[{kind}] got a result of lr_lambda, None; expected a number", schedule.step)


def sgd():
    return rv.optim.SGD([rv.ones(1)], lr=0.1)


def test_wrong_settings():
    s = lr_scheduler
    refused(TypeError, "[StepLR] got optimizer of type int; expected an Optimizer", s.StepLR, 3, 1)
    s.StepLR(sgd(), 2.0)  # a whole number
    refused(ValueError, "[StepLR] got step_size 0; expected a whole number", s.StepLR, sgd(), 0)
    refused(ValueError, "[StepLR] got step_size 2.5; expected a whole number", s.StepLR, sgd(), 2.5)
    refused(ValueError, "got 2 values of lr_lambda; expected one for", s.LambdaLR, sgd(), [abs, abs])
    refused(TypeError, "got lr_lambda 0.9; expected a function", s.MultiplicativeLR, sgd(), 0.9)
    refused(TypeError, "[LambdaLR] got lr_lambda 0.9; expected a function", s.LambdaLR, sgd(), 0.9)
    refused(ValueError, "got step_size '3'; expected a whole number", s.StepLR, sgd(), "3")
    refused(ValueError, "got factor 1.5; expected 0 <= factor <= 1", s.ConstantLR, sgd(), 1.5)
    refused(ValueError, "got start_factor 0.0; expected 0 < start_f", s.LinearLR, sgd(), 0.0)
    refused(ValueError, "got T_max 0", s.CosineAnnealingLR, sgd(), 0)
    refused(ValueError, "got T_mult 1.5", s.CosineAnnealingWarmRestarts, sgd(), 2, 1.5)
    refused(ValueError, "got epoch -1", s.CosineAnnealingWarmRestarts(sgd(), 2).step, -1)
    refused(ValueError, "[OneCycleLR] got no total_steps", s.OneCycleLR, sgd(), 1.0)
    refused(ValueError, "got pct_start 2", s.OneCycleLR, sgd(), 1.0, 9, pct_start=2)
    refused(ValueError, "got anneal_strategy 'x'", s.OneCycleLR, sgd(), 1.0, 9, anneal_strategy="x")
    text = "got cycle_momentum with Adagrad; expected an optimizer with momentum or betas"
    refused(ValueError, text, s.OneCycleLR, rv.optim.Adagrad([rv.ones(1)]), 1.0, 9)
    refused(ValueError, "got mode 'square'", s.CyclicLR, sgd(), 0.1, 1.0, mode="square")
    refused(ValueError, "got mode 'least'", s.ReduceLROnPlateau, sgd(), "least")
    refused(ValueError, "got factor 1.0; expected below 1", s.ReduceLROnPlateau, sgd(), factor=1.0)
    refused(ValueError, "got threshold_mode 'x'", s.ReduceLROnPlateau, sgd(), threshold_mode="x")
    refused(ValueError, "[SequentialLR] got no schedules", s.SequentialLR, sgd(), [], [])
    refused(TypeError, "got int at 0; expected a schedule", s.SequentialLR, sgd(), [3], [])
    refused(ValueError, "got ReduceLROnPlateau", s.SequentialLR, sgd(), [s.ReduceLROnPlateau(sgd())], [])
    others = [s.ExponentialLR(sgd(), 0.9)]
    refused(ValueError, "got a schedule of another optimizer at 0", s.SequentialLR, sgd(), others, [])


def test_a_milestone_between_epochs_is_never_reached():
    optimizer = rv.optim.SGD([rv.ones(1)], lr=1.0)
    with pytest.warns(UserWarning, match=r"\[MultiStepLR\] got milestones 2.5, which no epoch reaches"):
        schedule = rv.optim.lr_scheduler.MultiStepLR(optimizer, [1.0, 2.5], gamma=0.5)
    saved = {**schedule.state_dict(), "milestones": {"1.0": 1, "2.5": 1}}  # as JSON keeps them
    schedule.load_state_dict(saved)
    assert schedule.milestones == {1: 1, 2.5: 1}
    rates = []
    for _ in range(4):
        optimizer.step()
        schedule.step()
        rates += schedule.get_last_lr()
    assert rates == [0.5] * 4


def test_wrong_milestones():
    optimizer = sgd()
    parts = [lr_scheduler.ExponentialLR(optimizer, 0.9) for _ in range(2)]
    with pytest.raises(ValueError, match=r"\[SequentialLR\] got 2 schedules and 2 milestones; expected 1"):
        lr_scheduler.SequentialLR(optimizer, parts, [1, 2])


def test_more_steps_than_one_cycle_has():
    schedule = lr_scheduler.OneCycleLR(sgd(), 1.0, 3, cycle_momentum=False)
    for _ in range(3):
        schedule.step()
    refused(ValueError, "[OneCycleLR] got step 4; expected at most 3", schedule.step)


@pytest.mark.parametrize("start", [0.1, 1 / 3, 0.9, 1.0])
@pytest.mark.parametrize("steps", [3, 5, 7, 10, 30])
def test_a_linear_schedule_to_0_ends_there(start, steps):
    """PyTorch's quotients end at -2e-18, which no optimizer takes."""
    optimizer = sgd()
    schedule = lr_scheduler.LinearLR(optimizer, start, 0.0, steps)
    for _ in range(steps + 2):
        optimizer.step()
        schedule.step()
    assert schedule.get_last_lr()[0] == 0.0


if __name__ == "__main__":
    import torch

    FILE.write_text(json.dumps({name: values(torch, name) for name in CASES}) + "\n")
