"""The library's objects are guarded whole: a program notices a change of any of their attributes."""

import importlib
import inspect
import pkgutil
from threading import local

import pytest
import ranvier as rv
from ranvier import distributions, nn, optim
from samples import layer_samples
from support.strict import strict

PLATFORMS = (
    "__main__",
    "parallel",
    "sklearn",
    "onnx",
    "plot",
    "cli",
    "explore",
    "site",
    "tensorboard",
    "event_files",
)
schedules = optim.lr_scheduler


def optimizer():
    return optim.SGD([nn.Parameter(rv.ones(3))], lr=0.1)


def in_sequence():
    own = optimizer()
    return schedules.SequentialLR(own, [schedules.ConstantLR(own), schedules.ExponentialLR(own, 0.9)], [3])


def transformed():
    normal = distributions.Normal(rv.zeros(3), rv.ones(3))
    return distributions.TransformedDistribution(normal, [distributions.AffineTransform(0.0, 2.0)])


MADE = {
    "StepLR": lambda: schedules.StepLR(optimizer(), 3),
    "CosineAnnealingLR": lambda: schedules.CosineAnnealingLR(optimizer(), 9),
    "OneCycleLR": lambda: schedules.OneCycleLR(optimizer(), 0.1, total_steps=9),
    "SequentialLR": in_sequence,
    "Normal": lambda: distributions.Normal(rv.zeros(3), rv.ones(3)),
    "Categorical": lambda: distributions.Categorical(rv.ones(3)),
    "TransformedDistribution": transformed,
    "AffineTransform": lambda: distributions.AffineTransform(0.0, 2.0),
    "Generator": rv.Generator,
    **{str(sample): lambda sample=sample: sample.layer_in(rv) for sample in layer_samples()},
}


def classes():
    """All classes of the package that can be made without arguments."""
    for module in pkgutil.walk_packages(rv.__path__, "ranvier."):
        if any(part in PLATFORMS for part in module.name.split(".")):
            continue
        for kind in list(vars(importlib.import_module(module.name)).values()):
            own = inspect.isclass(kind) and kind.__module__ == module.name
            if own and not issubclass(kind, (BaseException, tuple)):
                yield kind


def unnoticed(thing):
    """Attributes whose change a captured step does not notice; None where it is not captured."""
    step = strict(lambda x: x * 2 if thing is not None else x)
    try:
        for _ in range(3):
            step(rv.ones(2))
    except rv.CaptureError:
        return None
    (program,), own, missed = step.programs, vars(thing), []
    assert not program.changed()
    root = getattr(type(thing), "step_root", None)
    declared = getattr(type(thing), "step_state", None) if root is None else ()
    for name in [*own] if declared is None else set(declared) & own.keys():
        before = own[name]
        own[name] = object()
        if not program.changed():
            missed.append(name)
        own[name] = before
        assert not program.changed(), name
    return missed


@pytest.mark.parametrize("name", MADE)
def test_each_attribute_is_noticed(name):
    assert unnoticed(MADE[name]()) == []


def test_every_class_that_needs_no_arguments():
    seen, declared = 0, {}
    for kind in classes():
        if issubclass(kind, (local, nn.Buffer)):  # of a thread; read when a module takes it
            continue
        if "step_state" in vars(kind):
            declared[kind] = vars(kind)["step_state"]
        try:
            thing = kind()
        except Exception:
            continue
        around = kind.__module__.startswith(
            ("ranvier.train.", "ranvier.data.")
        )  # only what code names counts
        if hasattr(thing, "__dict__") and vars(thing) and not around:
            assert not unnoticed(thing), kind
            seen += 1
    assert seen > 60
    assert {kind.__name__ for kind in declared} == {
        *("Evaluator", "Generator", "Gradients", "Reduce", "TrainingStep")
    }
    for kind, paths in declared.items():  # what is declared exists
        source = inspect.getsource(kind)
        assert [path for path in paths if f"self.{path.partition('.')[0]}" not in source] == [], kind
