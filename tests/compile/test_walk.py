"""The walk: what the core follows has the guards that Python makes; and what guards on classes compare."""

import dataclasses
import types

import pytest
import ranvier as rv
from ranvier import nn
from ranvier._core import Follower, Guards, _class_members
from ranvier.compile.guarding import library_guards, walk
from ranvier.compile.guarding.capturable import GuardKind
from ranvier.compile.guarding.traced_code import TracedCode

X = rv.ones(2, 3)


def guards_of(step):
    """The guards of a step, without those on the library's classes."""
    traced = TracedCode()
    with traced:
        step()
    found = walk.Walk(traced)
    found.run([(step, "the step")])
    assert not found.fault
    return found


def described(found):
    """Each guard, with ids in place of objects that are made anew in each walk, and the order left out."""
    lines = []
    for kind, owner, key, expected, text in found.guards:
        lines.append(
            (kind, id(owner), str(key), expected if isinstance(expected, tuple) else id(expected), text)
        )
    return sorted(lines, key=repr)


def with_attribute():
    x = rv.ones(2)
    x.note = "kept"
    return x


class Own(nn.Module):
    def __init__(self):
        super().__init__()
        self.layers = nn.ModuleList([nn.Linear(3, 3), nn.Linear(3, 3)])
        self.noted = with_attribute()
        self.table = {"a": [1.0, X], "b": {}}

    def forward(self, x):
        for layer in self.layers:
            x = layer(x) * self.table["a"][0]
        return x


MODELS = {
    "layers": lambda: nn.Sequential(nn.Linear(3, 3), nn.BatchNorm1d(3), nn.Dropout(0.5), nn.Linear(3, 3)),
    "own": Own,
    "encoder": lambda: nn.TransformerEncoderLayer(3, 1, 4),
    "recurrent": lambda: nn.GRU(3, 3),
    "quantized": lambda: rv.quantize(nn.Linear(3, 3)),
}


class Nothing:
    """In place of a Follower: all values are followed in Python, by the rules that hold for each."""

    def follow(self, stack, seen, guards, tensors, texts, layers, compares):
        while stack:
            x, text = stack.pop()
            if type(x) in walk.PLAIN or id(x) in seen:
                if type(x) is str:
                    texts.add(x)
                continue
            seen[id(x)] = x
            return x, text
        return None


@pytest.mark.parametrize("name", MODELS)
def test_the_core_makes_the_guards_that_python_makes(name, monkeypatch):
    model = MODELS[name]()

    def step():
        return model(X)

    by_core = [guards_of(step) for _ in range(2)]  # in the first walk Python follows one layer of each class
    assert library_guards.LAYERS or name == "own"
    monkeypatch.setattr(walk, "_COMMON", Nothing())
    by_python = guards_of(step)
    for found in by_core:
        assert described(found) == described(by_python)
        assert found.seen.keys() == by_python.seen.keys()
        assert found.texts == by_python.texts
        assert {id(t) for t in found.tensors} == {id(t) for t in by_python.tensors}


def test_tables_that_are_too_long_and_many_guards():
    follower = Follower((int,), dict, bool, (rv.Tensor,), 2, 3)

    def follow(stack):
        guards = []
        found = follower.follow(stack, {}, guards, [], set(), {}, True)
        return found, len(guards)

    table = {1: 2, 3: 4, 5: 6}
    assert follow([({}, "t"), (table, "t")]) == ((table, "t"), 0)
    assert follow([({1: 2}, "t")]) == (None, 1)
    stack = [({}, "t"), (X, "x"), ({}, "t")]
    assert follow(stack) == (None, 6)  # a table, and a Tensor with five
    assert len(stack) == 1


class Base:
    kept = 1

    def method(self):
        return 1


class Derived(Base):
    __slots__ = ()


@pytest.fixture
def restored():
    before = dict(vars(Base))
    yield
    for name in {*vars(Base)} - {"__dict__", "__weakref__"}:
        if name not in before:
            delattr(Base, name)
        elif vars(Base)[name] is not before[name]:
            setattr(Base, name, before[name])


@pytest.mark.usefixtures("restored")
@pytest.mark.parametrize("when", ["before", "after"])
@pytest.mark.parametrize("change", [("kept", 2), ("method", len), ("missing", 3)])
def test_a_change_of_a_class_is_noticed(change, when):
    """when: before or after the core has got the guard."""
    members = _class_members(Derived, ["kept", "method", "missing"])
    assert members[:-1] == ("kept", 1, "method", Base.method, "missing", NotImplemented)
    guards = Guards()
    if when == "after":
        guards.set([(GuardKind.NAMES, Derived, Derived.__mro__, members, "")])
        assert guards.first_changed() == -1
    setattr(Base, *change)
    if when == "before":
        guards.set([(GuardKind.NAMES, Derived, Derived.__mro__, members, "")])
    assert guards.first_changed() == 0


@pytest.mark.usefixtures("restored")
def test_another_change_of_a_class_is_none():
    guards = Guards()
    guards.set([(GuardKind.NAMES, Derived, "", _class_members(Derived, ["kept"]), "")])
    Base.other = 5
    assert guards.first_changed() == -1
    Base.kept = 1
    assert guards.first_changed() == -1


@dataclasses.dataclass
class Options:
    scale: float = 2.0


def named():
    return 2.0


class Reads(nn.Module):
    def forward(self, x):
        names = [field.name for field in dataclasses.fields(Options)]
        return x * (len(names) + len(named.__name__) + (named.__doc__ is None))


def test_names_of_functions_and_fields_of_dataclasses():
    model = Reads()
    step = rv.compile(lambda x: model(x))
    for _ in range(3):
        assert float(step(X)[0, 0].numpy()) == 7.0
    assert step.programs
    named.__name__ = "longer_name"
    assert float(step(X)[0, 0].numpy()) == 13.0
    named.__name__ = "named"
    named.__doc__ = "text"
    assert float(step(X)[0, 0].numpy()) == 6.0
    named.__doc__ = None
    for _ in range(3):
        assert float(step(X)[0, 0].numpy()) == 7.0
    field = Options.__dataclass_fields__["scale"]
    field.name = "other"
    try:
        assert float(step(X)[0, 0].numpy()) == 7.0
        assert not any(program.guards.changed() == "" and program.checks for program in step.programs[:1])
    finally:
        field.name = "scale"


def test_a_layer_of_another_kind_of_attributes():
    """A class of the library gets another list of constants while the program runs."""
    model = nn.Sequential(nn.Linear(3, 3), nn.Linear(3, 3))

    def step():
        return model(X)

    before = len(guards_of(step).guards)
    nn.Linear.step_constants = ("weight",)
    try:
        assert len(guards_of(step).guards) <= before
        assert library_guards.LAYERS[nn.Linear][1] == {"weight"}
    finally:
        del nn.Linear.step_constants
    assert len(guards_of(step).guards) == before
    assert library_guards.LAYERS[nn.Linear][1] == set()


WEIGHT = rv.ones(3, requires_grad=True)
MODULE = rv
PLAIN = types.SimpleNamespace(autograd=WEIGHT)


def alias():
    return MODULE.autograd.grad


READS = {
    "a function": (lambda: rv.autograd.grad((WEIGHT * 2.0).sum(), WEIGHT), False),
    "a function that is passed": (lambda: callable(rv.autograd.grad), False),
    "another name": (alias, False),
    "a Tensor": (lambda: WEIGHT.grad, True),
    "both": (lambda: (rv.autograd.grad, WEIGHT.grad), True),
    "one of two": (lambda: (rv.autograd if X is None else WEIGHT).grad, True),
    "an attribute": (lambda: PLAIN.autograd.grad, True),
    "a closure": ((lambda module: lambda: module.autograd.grad)(rv), True),
}


@pytest.mark.parametrize("name", READS)
def test_which_code_reads_gradients(name):
    step, reads = READS[name]
    traced = TracedCode()
    with traced:
        step()
    assert walk.Walk(traced).reads_gradients() is reads


def test_a_variable_that_is_no_module_any_more(monkeypatch):
    monkeypatch.setitem(globals(), "MODULE", PLAIN)
    assert guards_of(alias).reads_gradients()


def test_a_step_with_gradients_of_gradients_is_recorded_once():
    model = nn.Linear(3, 1)
    optimizer = rv.optim.SGD(model.parameters(), 0.1)

    def step():
        x = X.clone().requires_grad_()
        (slope,) = rv.autograd.grad(model(x).square().sum(), [x], create_graph=True)
        optimizer.zero_grad()
        slope.square().sum().backward()
        optimizer.step()

    compiled = rv.compile(step)
    for _ in range(4):
        compiled()
    assert [program.renewed for program in compiled.programs] == [False]
