"""The schedules that are compared with PyTorch's.

Run with torch to write schedules.json anew: ``python tests/optim/schedules.py``.
"""

import json
from pathlib import Path

STEPS = 24
FILE = Path(__file__).with_name("schedules.json")
LOSSES = [1, 0.9, 0.95, 0.9, 0.9, 0.9, 0.89, 0.5, 0.5, 0.5, 0.5, 0.5, 0.5, 0.6, 0.4, 0.39, 0.4, 0.4, 0.4] + [
    0.4
] * 5


class Power:
    """A function with state, which a state dict keeps."""

    def __init__(self, base):
        self.base = base

    def __call__(self, epoch):
        return self.base**epoch


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


if __name__ == "__main__":
    import torch

    FILE.write_text(json.dumps({name: values(torch, name) for name in CASES}) + "\n")
