"""Schedules in the mode: they have the name of PyTorch's module, and are the library's own."""

from __future__ import annotations

import pytest
from ranvier.extension import home_of, show_in
from ranvier.tensors.data import refuse_torch
from support.python import printed

MADE = """
import torch
import ranvier as rv
from torch import nn
from torch.optim import lr_scheduler as s
from torch.optim.swa_utils import SWALR

def sgd():
    return torch.optim.SGD([nn.Parameter(torch.ones(1))], lr=0.1, momentum=0.9)

def tried(function, *arguments, **settings):
    try:
        print(function(*arguments, **settings))
    except Exception as error:
        print(f"{type(error).__name__}: {error}")
"""
# What a program does, and the text that is printed.
CASES = {
    "the name of the module": ("print(s.StepLR.__module__)", "torch.optim.lr_scheduler"),
    "a function without a result": (
        "tried(s.MultiplicativeLR(sgd(), lambda epoch: None).step)",
        "TypeError: [MultiplicativeLR] got a result of lr_lambda, None; expected a number",
    ),
    "a function without a result at once": (
        "tried(s.LambdaLR, sgd(), lambda epoch: None)",
        "TypeError: [LambdaLR] got a result of lr_lambda, None; expected a number",
    ),
    "a metric that is no number": (
        "tried(s.ReduceLROnPlateau(sgd()).step, 'x')",
        "OpError: [ReduceLROnPlateau] got metrics = 'x'; expected arguments as in",
    ),
    "an optimizer that is none": (
        "tried(s.ReduceLROnPlateau, 'x')",
        "TypeError: [ReduceLROnPlateau] got optimizer of type str; expected an Optimizer",
    ),
    "a rate that is no number": (
        "tried(SWALR, sgd(), swa_lr='x')",
        "TypeError: [SWALR] got swa_lr 'x'; expected a number",
    ),
    "a schedule as a layer": (
        "tried(nn.Sequential, s.StepLR(sgd(), 1))",
        "TypeError: [Sequential] layer 0 is a StepLR; expected a Module",
    ),
    "a schedule as a callback's": (
        "print(type(rv.train.Schedule(s.StepLR(sgd(), 1))).__name__)",
        "Schedule",
    ),
    "a program's schedule as a callback's": (
        "class Own(s.StepLR): pass\nprint(type(rv.train.Schedule(Own(sgd(), 1))).__name__)",
        "Schedule",
    ),
    "an argument that only the constructor reads": (
        "schedule = s.LinearLR(sgd())\ntried(setattr, schedule, 'last_epoch', 3)\n"
        "restarts = s.CosineAnnealingWarmRestarts(sgd(), 2)\ntried(setattr, restarts, 'T_0', 3)",
        "None\nAttributeError: [CosineAnnealingWarmRestarts] got a new T_0, which only the constructor reads",
    ),
}


@pytest.mark.parametrize("name", CASES)
def test_schedules_are_the_librarys_own(name: str) -> None:
    program, text = CASES[name]
    assert printed("-m", "ranvier.torch", "-c", MADE + program).startswith(text)


def test_a_class_that_is_shown_in_another_module_keeps_its_home() -> None:
    shown = type("Shown", (), {"__module__": "ranvier.optim"})
    derived = type("Derived", (shown,), {"__module__": "program"})
    show_in(shown, "torch.optim")
    show_in(shown, "torch.optim.again")
    assert (shown.__module__, home_of(shown)) == ("torch.optim.again", "ranvier.optim")
    for own in (shown, shown(), derived, derived()):
        refuse_torch("op", "a thing", own)


def test_what_pytorch_defines_is_refused() -> None:
    strange = type("Strange", (), {"__module__": "torch.optim"})
    derived = type("Derived", (strange,), {"__module__": "program"})

    def function() -> None: ...

    function.__module__ = "torch.nn.functional"
    for thing, name in [(strange, "Strange"), (strange(), "Strange"), (derived(), "Derived")]:
        with pytest.raises(TypeError, match=rf"\[op\] got a thing of PyTorch \({name}\); expected ranvier's"):
            refuse_torch("op", "a thing", thing)
    with pytest.raises(TypeError, match=r"got a thing of PyTorch \(function\)"):
        refuse_torch("op", "a thing", function)
