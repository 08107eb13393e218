"""Each setting of an optimizer and of a schedule has an effect, or is refused."""

import inspect

import numpy as np
import pytest
import ranvier as rv
from ranvier import nn, optim
from ranvier.optim import lr_scheduler, swa_utils
from support.effects import Exempt, With, require_effect, require_rows

# --- optimizers

BETAS = (0.5, 0.6)
USUAL = {"lr": 0.3, "betas": BETAS, "eps": 0.5, "weight_decay": 0.1, "maximize": True}
AMSGRAD = With(True, {"betas": BETAS})
DECOUPLED = With(True, {"weight_decay": 0.1})
OPTIMIZERS = {
    "ASGD": {"lambd": 0.1, "alpha": With(0.1, {"lr": 0.5, "lambd": 0.5}), "t0": 1.0},
    "Adadelta": {"rho": 0.5},
    "Adagrad": {"lr_decay": 0.5, "initial_accumulator_value": 1.0},
    "Adam": {"amsgrad": AMSGRAD, "decoupled_weight_decay": DECOUPLED},
    "AdamW": {"amsgrad": AMSGRAD},
    "Adamax": {},
    "NAdam": {"momentum_decay": 0.5, "decoupled_weight_decay": DECOUPLED},
    "RAdam": {"decoupled_weight_decay": DECOUPLED},
    "RMSprop": {"alpha": 0.5, "momentum": 0.5, "centered": True},
    "Rprop": {"etas": (0.3, 3.0), "step_sizes": (1e-6, 0.011)},
    "SGD": {
        "momentum": 0.9, "dampening": With(0.5, {"momentum": 0.9}), "nesterov": With(True, {"momentum": 0.9}),
    },
    "LBFGS": {
        "lr": 0.1, "max_iter": 1, "max_eval": 2, "tolerance_grad": 10.0, "tolerance_change": 10.0,
        "history_size": 1, "line_search_fn": "strong_wolfe",
    },
}  # fmt: skip


def kinds():
    return {
        n: k for n, k in vars(optim).items() if isinstance(k, type) and n not in ("Optimizer", "SparseAdam")
    }


def rows_of(name):
    kind = kinds()[name]
    own = OPTIMIZERS.get(name, {})
    names = inspect.signature(kind).parameters
    return {**{key: value for key, value in USUAL.items() if key in names}, **own}


OPTIMIZER_ROWS = [(name, setting) for name in kinds() for setting in rows_of(name)]


def trained(kind, **settings):
    """Weights after steps on gradients that shrink and change their sign; for LBFGS a quartic."""
    p = rv.tensor([3.0, -4.0, 2.0], requires_grad=True)
    optimizer = kind([p], **settings)
    slopes = np.array([[1, 2, -3], [0.5, -1, 2], [0.1, 0.2, -0.1], [-1, 1, 0.3], [2, 0.1, 1]], np.float32)
    path = []

    def closure():
        optimizer.zero_grad()
        loss = ((p**4).sum() + (p[0] - p[1]) ** 2 + (p - 1).square().sum()) / 3
        loss.backward()
        return loss

    for slope in np.concatenate([slopes, -slopes]):
        if kind is optim.LBFGS:
            optimizer.step(closure)
        else:
            p.grad = rv.tensor(slope)
            optimizer.step()
        path.append(p.detach().numpy().copy())
    averages = [state["ax"] for state in optimizer.state.values() if "ax" in state]
    return path, averages


@pytest.mark.parametrize("name", kinds())
def test_each_setting_of_an_optimizer_has_a_row(name):
    require_rows(kinds()[name], rows_of(name), given=["params"])


@pytest.mark.parametrize(("name", "setting"), OPTIMIZER_ROWS)
def test_a_setting_of_an_optimizer(name, setting):
    kind = kinds()[name]
    require_effect(lambda **settings: trained(kind, **settings), setting, rows_of(name)[setting])


@pytest.mark.parametrize(("name", "setting"), OPTIMIZER_ROWS)
def test_a_setting_of_a_group_that_is_changed_between_steps(name, setting):
    """The group has another value after two steps: the steps after it follow it."""
    row = rows_of(name)[setting]
    value, more = row[:2] if isinstance(row, With) else (row, {})
    if setting in ("initial_accumulator_value", "t0") or (name, setting) == ("Rprop", "lr"):
        pytest.skip("read at the first step")
    if name == "LBFGS":
        pytest.skip("a search that has begun keeps its settings")

    def path(change):
        class Changing(kinds()[name]):
            steps = 0

            def step(self, closure=None):
                self.steps += 1
                if change and self.steps == 2:
                    self.param_groups[0][setting] = value
                return super().step(closure)

        return trained(Changing, **more)

    before = path(False)
    after = path(True)
    assert not (np.array_equal(before[0], after[0]) and np.array_equal(before[1], after[1]))


EXTRAS = {"foreach": True, "fused": True, "capturable": True}


@pytest.mark.parametrize("name", [n for n in kinds() if n != "LBFGS"])
def test_switches_of_speed_are_taken_and_others_refused(name):
    """PyTorch's switches say how a step is computed, not what; a switch that says what is refused."""
    kind = kinds()[name]
    assert np.array_equal(trained(kind)[0], trained(kind, **EXTRAS)[0])
    for wrong, error in (({"differentiable": True}, ValueError), ({"momentun": 0.9}, TypeError)):
        with pytest.raises(error, match="got"):
            trained(kind, **wrong)


def test_a_misspelled_setting_of_a_group_is_refused_and_entries_of_the_program_stay():
    p = rv.ones(1, requires_grad=True)
    for wrong, near in (("weight_decy", "weight_decay"), ("momentun", "momentum"), ("nestrov", "nesterov")):
        with pytest.raises(
            TypeError, match=f"got a group with '{wrong}', which nothing reads; expected '{near}'"
        ):
            optim.SGD([{"params": [p], wrong: 0.1}], lr=0.1)
    own = {"name": "head", "max_momentum": 0.9, "base_momentum": 0.8, "initial_lr": 0.1, "lr_scale": 0.5}
    optimizer = optim.SGD([{"params": [p], **own}], lr=0.1)
    assert own.items() <= optimizer.param_groups[0].items()


# --- schedules

HALVE = lambda step: 0.5**step  # noqa: E731
SCHEDULES = {
    "ChainedScheduler": {"schedulers": Exempt("tested by its parts"), "optimizer": Exempt("checked only")},
    "ConstantLR": {"factor": 0.5, "total_iters": 2},
    "CosineAnnealingLR": {"T_max": 7, "eta_min": 0.05},
    "CosineAnnealingWarmRestarts": {"T_0": 5, "T_mult": 2, "eta_min": 0.05},
    "CyclicLR": {
        "base_lr": 0.02, "max_lr": 0.5, "step_size_up": 3, "step_size_down": 5, "mode": "triangular2",
        "gamma": With(0.5, {"mode": "exp_range"}), "scale_fn": HALVE,
        "scale_mode": With("iterations", {"scale_fn": HALVE}), "cycle_momentum": False, "base_momentum": 0.5,
        "max_momentum": 0.99,
    },
    "ExponentialLR": {"gamma": 0.5},
    "LambdaLR": {"lr_lambda": HALVE},
    "LinearLR": {"start_factor": 0.5, "end_factor": 0.5, "total_iters": 2},
    "MultiStepLR": {"milestones": [1, 4], "gamma": 0.5},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.5},
    "OneCycleLR": {
        "max_lr": 0.7, "total_steps": 15, "epochs": With(5, {"total_steps": None, "steps_per_epoch": 4}, 6),
        "steps_per_epoch": With(5, {"total_steps": None, "epochs": 4}, 6), "pct_start": 0.5,
        "anneal_strategy": "linear", "cycle_momentum": False, "base_momentum": 0.5, "max_momentum": 0.99,
        "div_factor": 10.0, "final_div_factor": 10.0, "three_phase": True,
    },
    "PolynomialLR": {"total_iters": 3, "power": 2.0},
    "ReduceLROnPlateau": {
        "mode": "max", "factor": 0.5, "patience": 1, "threshold": 0.9,
        "threshold_mode": With("abs", {"threshold": 0.9}),
        "cooldown": 3, "min_lr": 0.05, "eps": 0.5,
    },
    "SequentialLR": {"schedulers": Exempt("tested by its parts"), "milestones": [3]},
    "StepLR": {"step_size": 4, "gamma": 0.5},
    "SWALR": {"swa_lr": 0.02, "anneal_epochs": 3, "anneal_strategy": "linear"},
}  # fmt: skip
BASES = {
    "CosineAnnealingLR": {"T_max": 10},
    "CosineAnnealingWarmRestarts": {"T_0": 3},
    "CyclicLR": {"base_lr": 0.01, "max_lr": 0.1, "step_size_up": 4},
    "ExponentialLR": {"gamma": 0.9},
    "LambdaLR": {"lr_lambda": lambda step: 0.9**step},
    "MultiStepLR": {"milestones": [2, 6]},
    "MultiplicativeLR": {"lr_lambda": lambda step: 0.9},
    "OneCycleLR": {"max_lr": 0.1, "total_steps": 20},
    "ReduceLROnPlateau": {"patience": 0},
    "StepLR": {"step_size": 2},
    "SWALR": {"swa_lr": 0.05},
}
LAST = Exempt("the place of a run that goes on; tested with states")


def schedule_rows(name):
    return (
        {"last_epoch": LAST, **SCHEDULES[name]}
        if name not in ("ChainedScheduler", "ReduceLROnPlateau")
        else SCHEDULES[name]
    )


def schedules():
    base = lr_scheduler.LRScheduler
    found = {n: k for n, k in vars(lr_scheduler).items() if isinstance(k, type) and issubclass(k, base)}
    return {**{n: k for n, k in found.items() if k is not base}, "SWALR": swa_utils.SWALR}


def rates(name, change=None, **settings):
    """(rate, momentum) after each of 12 steps; of plateaus with a loss that falls, stays and rises."""
    optimizer = optim.SGD([rv.ones(1, requires_grad=True)], lr=0.4, momentum=0.9)
    if name == "SequentialLR":
        parts = [lr_scheduler.ConstantLR(optimizer, 0.1, 20), lr_scheduler.ExponentialLR(optimizer, 0.5)]
        settings = {"schedulers": parts, "milestones": [5], **settings}
    schedule = schedules()[name](optimizer, **{**BASES.get(name, {}), **settings})
    if change is not None:
        setattr(schedule, *change)
    values = [5.0, 4.0, 4.0, 3.9, 1.0, 1.0, 1.1, 1.2, 0.9, 0.9, 0.9, 0.9, 0.9]
    path = []
    for value in values:
        optimizer.step()
        schedule.step(value) if name == "ReduceLROnPlateau" else schedule.step()
        group = optimizer.param_groups[0]
        path.append((group["lr"], group["momentum"]))
    return path


@pytest.mark.parametrize("name", schedules())
def test_each_setting_of_a_schedule_has_a_row(name):
    given = () if name == "ChainedScheduler" else ["optimizer"]
    require_rows(schedules()[name], schedule_rows(name), given=given)


@pytest.mark.parametrize(("name", "setting"), [(n, s) for n in SCHEDULES for s in SCHEDULES[n]])
def test_a_setting_of_a_schedule(name, setting):
    require_effect(lambda **settings: rates(name, **settings), setting, SCHEDULES[name][setting])


@pytest.mark.parametrize(("name", "setting"), [(n, s) for n in SCHEDULES for s in SCHEDULES[n]])
def test_a_setting_of_a_schedule_that_is_set_later_is_followed_or_refused(name, setting):
    row = SCHEDULES[name][setting]
    if (name, setting) == ("OneCycleLR", "total_steps"):
        pytest.skip("the most steps, as PyTorch's: below")
    if isinstance(row, Exempt):
        pytest.skip(row.why)
    row = row if isinstance(row, With) else With(row, {})
    first = {} if row.before is None else {setting: row.before}
    before = rates(name, **row.more, **first)
    try:
        after = rates(name, change=(setting, row.value), **row.more, **first)
    except (AttributeError, ValueError, TypeError, IndexError):
        return
    assert before != after


def test_more_steps_of_a_one_cycle_are_taken_as_in_pytorch():
    optimizer = optim.SGD([rv.ones(1, requires_grad=True)], lr=0.1, momentum=0.9)
    schedule = lr_scheduler.OneCycleLR(optimizer, 0.1, total_steps=3)
    for _ in range(3):
        schedule.step()
    with pytest.raises(ValueError, match="got step 4; expected at most 3"):
        schedule.step()
    schedule.total_steps = 6
    schedule.step()
    assert schedule.last_epoch == 5


# --- averages of models

AVERAGES = {
    "device": Exempt("all is on the CPU; another is refused by tests of devices"),
    "avg_fn": lambda average, new, n: average,
    "multi_avg_fn": lambda averages, new, n: None,
    "use_buffers": True,
}


def averaged(**settings):
    model = nn.BatchNorm1d(2)
    average = swa_utils.AveragedModel(model, **settings)
    for turn in range(3):
        with rv.no_grad():
            model.weight.fill_(float(turn))
            model.running_mean.fill_(float(turn))
        average.update_parameters(model)
    return [value.numpy() for value in average.module.state_dict().values()]


@pytest.mark.parametrize("setting", AVERAGES)
def test_a_setting_of_an_averaged_model(setting):
    require_rows(swa_utils.AveragedModel, AVERAGES, given=["model"])
    require_effect(averaged, setting, AVERAGES[setting])
