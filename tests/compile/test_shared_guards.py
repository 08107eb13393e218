"""Guards on classes and functions of this module, which programs of several models share."""

import gc
import sys
import types
from typing import ClassVar
from weakref import ref

import pytest
import ranvier as rv
from ranvier import nn
from ranvier._core import Guards
from ranvier.compile.guarding import shared_guards
from ranvier.compile.guarding.capturable import GuardKind

X = rv.ones(2, 3)
SETTINGS = {"shift": 0.0}


def offset(x, by=1.0):
    return x + by * Scale.factor


def closed(number):
    def inner(x):
        return x * number

    inner.__qualname__ = "doubled"
    return inner


doubled = closed(2.0)


class Scale(nn.Module):
    factor = 1.0
    table: ClassVar[dict[str, float]] = {"gain": 1.0}

    def forward(self, x):
        return doubled(x) * self.table["gain"]


class Model(nn.Module):
    def __init__(self):
        super().__init__()
        self.layer = nn.Linear(3, 3)
        self.scale = Scale()

    def forward(self, x):
        return offset(self.scale(self.layer(x))) + SETTINGS["shift"]


class Other(Model):
    def forward(self, x):
        return self.scale(self.layer(x))


def compiled(model):
    """A compiled step of a model, after a few replays."""

    def predict(x):
        with rv.no_grad():
            return model(x)

    step = rv.compile(predict)
    for _ in range(4):
        step(X)
    assert step.programs
    return step


@pytest.fixture(autouse=True, scope="module")
def loaded():
    """What the library loads at the first use of a layer is loaded: a run that loads it enters other code."""
    compiled(Model())
    compiled(Other())


def shared_by(step):
    return step.programs[-1].guards.walk.shared


def changes():
    """Changes of what the guards share: (how it is changed, how it is changed back)."""
    return {
        "a value of a class": (
            lambda: setattr(Scale, "factor", 3.0),
            lambda: setattr(Scale, "factor", 1.0),
        ),
        "an item of a class's table": (
            lambda: Scale.table.update(gain=2.0),
            lambda: Scale.table.update(gain=1.0),
        ),
        "a default": (
            lambda: setattr(offset, "__defaults__", (5.0,)),
            lambda: setattr(offset, "__defaults__", (1.0,)),
        ),
        "a method": (
            lambda: setattr(Scale, "forward", lambda self, x: x * 7.0),
            lambda: setattr(Scale, "forward", FORWARD),
        ),
        "a cell": (
            lambda: setattr(doubled.__closure__[0], "cell_contents", 4.0),
            lambda: setattr(doubled.__closure__[0], "cell_contents", 2.0),
        ),
        "code": (
            lambda: setattr(offset, "__code__", (lambda x, by=1.0: x - by).__code__),
            lambda: setattr(offset, "__code__", CODE),
        ),
        "a new method": (
            lambda: setattr(Scale, "__call__", lambda self, x: x * 9.0),
            lambda: delattr(Scale, "__call__"),
        ),
    }


FORWARD, CODE = Scale.forward, offset.__code__


def same(step, model):
    return step(X).tolist() == model(X).tolist()


@pytest.mark.parametrize("name", changes())
def test_each_change_is_noticed(name):
    change, back = changes()[name]
    models = [Model() for _ in range(3)]
    steps = [compiled(model) for model in models[:2]]
    assert shared_by(steps[0]) == shared_by(steps[1]) != []
    change()
    try:
        assert all(map(same, steps, models))
        changed = [step.programs[-1].guards.changed() for step in steps]
        assert changed[0] == changed[1] != ""
        # a program that is made now does not take what does not hold
        later = compiled(models[2])
        assert all(shared.core.first_changed() < 0 for shared in shared_by(later))
        assert all(same(step, model) for _ in range(4) for step, model in zip(steps, models[:2], strict=True))
        assert same(later, models[2])
    finally:
        back()
    for _ in range(4):
        assert all(map(same, [*steps, later], models))


def test_a_change_of_the_library_is_noticed(monkeypatch):
    models = [Model(), Model()]
    step = compiled(models[0])
    before = nn.Linear.forward
    monkeypatch.setattr(nn.Linear, "forward", lambda self, x: before(self, x) * 3.0)
    later = compiled(models[1])
    for _ in range(4):
        assert same(step, models[0])
        assert same(later, models[1])
    monkeypatch.undo()
    for _ in range(4):
        assert same(step, models[0])
        assert same(later, models[1])


def test_other_code_has_other_guards():
    first, second = compiled(Model()), compiled(Other())
    assert shared_by(first) != shared_by(second)


def test_a_new_shape_takes_the_guards():
    step = compiled(Model())
    step(rv.ones(5, 3))
    shared = [program.guards.walk.shared for program in step.programs]
    assert len(shared) == 2
    assert shared[0] == shared[1] != []


def test_objects_of_one_step_are_not_shared():
    """A class with a Tensor belongs to the step, as the Tensor does."""
    module = types.ModuleType("a_module_of_a_test")
    sys.modules[module.__name__] = module
    code = "class Holder:\n    kept = None\n    def value(self):\n        return self.kept\n"
    try:
        exec(compile(code, "a_file_of_a_test.py", "exec"), vars(module))
        module.Holder.kept = rv.ones(3)
        gone = ref(module.Holder.kept)
        holder = module.Holder()
        step = rv.compile(lambda x: x * holder.value())
        assert [step(X).tolist() for _ in range(4)] == [[[1.0] * 3] * 2] * 4
        assert shared_by(step) == []
        module.Holder.kept = rv.full((3,), 2.0)
        assert step(X).tolist() == [[2.0] * 3] * 2
        del step
        gc.collect()
        assert gone() is None
    finally:
        del sys.modules[module.__name__]


def test_local_classes_are_freed():
    class Local(Model):
        def forward(self, x):
            return super().forward(x) * 2.0

    model = Local()
    step = compiled(model)
    gone = ref(Local)
    del Local, model, step
    gc.collect()
    assert gone() is None


def test_variables_of_a_step_are_freed():
    """The namespace of code that is no module's: shared guards hold the code alone."""
    model = Model()
    space = {"model": model, "rv": rv}
    exec("def predict(x):\n    with rv.no_grad():\n        return model(x)", space)
    step = rv.compile(space["predict"])
    for _ in range(4):
        step(X)
    assert shared_by(step) != []
    assert shared_by(step)[0] in shared_guards._kept.values()
    gone = ref(model)
    del model, space, step
    gc.collect()
    assert gone() is None


def test_only_the_latest_are_kept(monkeypatch):
    shared_guards._kept.clear()
    monkeypatch.setattr(shared_guards, "_MOST", 2)
    for shape in range(1, 5):
        model = Model()
        step = rv.compile(eval(f"lambda x: model(x).detach() * {shape}.0", {"model": model}))
        step(X)
        assert list(shared_guards._kept.values())[-1:] == shared_by(step)
    assert len(shared_guards._kept) == 2


def test_places_of_shared_guards():
    """The place of a guard counts those before it, shared ones in their order."""
    owner = [{"a": 1}, {"b": 2}, {"c": 3}]
    rows = [(GuardKind.ITEMS, x, None, tuple(*x.items()), "") for x in owner]
    inner, outer = Guards(), Guards()
    inner.set(rows[1:])
    outer.set([rows[0], inner])
    assert outer.first_changed() == -1
    for place, items in enumerate(owner):
        before = dict(items)
        items.clear()
        assert outer.first_changed() == place
        items.update(before)
    assert outer.first_changed() == -1


def test_the_garbage_collector_sees_shared_guards():
    class Node:
        pass

    node = Node()
    inner, outer = Guards(), Guards()
    inner.set([(GuardKind.TYPE, node, None, Node, "")])
    outer.set([inner])
    node.guards = outer
    gone = ref(node)
    del node, inner, outer
    gc.collect()
    assert gone() is None
